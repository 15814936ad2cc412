// The noise of a denoising autoencoder, worked out once for a network's inputs and then laid on row by row.
#pragma once

#include <vector>

#include "net/data.h"
#include "net/settings.h"

namespace layerwise {

template <class T>
class Corruption {
 public:
  // Throws std::invalid_argument if the noise is not one for `cols` columns.
  Corruption(const NoiseSpec& noise, std::uint64_t seed, index_t cols);

  bool any() const { return kind_ != NoiseKind::none; }
  // Whether what is 0 mostly stays so.
  bool keeps_zeros() const { return kind_ != NoiseKind::gaussian && kind_ != NoiseKind::salt_and_pepper; }
  // Corrupts row r of x, which is row `id` of the data; weights (unless its data is null) gets the weights of that row's cells in the loss.
  void apply(const Kernels<T>& k, const Panels<T>& x, index_t r, const Panels<T>& weights, const Data<T>& data, index_t id,
             std::uint32_t step) const;

 private:
  NoiseKind kind_;
  std::uint64_t seed_;
  index_t cols_;
  std::vector<std::uint64_t> thresholds_;
  std::vector<T> levels_;
  std::vector<index_t> leaders_;
  NoiseScalars<T> scalars_;
};

}  // namespace layerwise
