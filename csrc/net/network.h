// Weights, and nothing else: a chain of dense layers whose numbers lie in one buffer, each layer a window into it.
#pragma once

#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "net/settings.h"

namespace layerwise {

// Where a layer's numbers begin in the network's buffer; gradients and moments have the same layout.
struct Window {
  index_t weights;    // panels [n_out / 32][n_in][32]; of a tied layer: the owner's weights
  index_t bias;       // n_out, padded
  index_t parameter;  // n_out, padded: one number a unit, all equal when shared
  // Of a normalised layer, n_out each, padded: its learned scale, and the running statistics, which no optimiser moves.
  index_t scale, mean, variance;
};

// Into numbers of n features, with 0 in their padding: a run that diverged may have left infinity times 0 there, which is no 0 any more.
template <class T>
void copy_and_pad(const T* from, index_t n, T* to) {
  std::fill(std::copy_n(from, n, to), to + panels(n) * kPanel, T{0});
}

template <class T>
class Network {
 public:
  explicit Network(std::vector<LayerSpec> layers);

  int depth() const { return static_cast<int>(layers_.size()); }
  const LayerSpec& layer(int l) const { return layers_[static_cast<std::size_t>(l)]; }
  const Window& window(int l) const { return windows_[static_cast<std::size_t>(l)]; }
  // The later layer that uses this layer's transposed weights, or -1.
  int tied_user(int l) const { return users_[static_cast<std::size_t>(l)]; }
  bool owns_weights(int l) const { return layer(l).tied_to < 0; }
  bool normalizes() const {
    return std::any_of(layers_.begin(), layers_.end(), [](const LayerSpec& layer) { return layer.normalized; });
  }
  index_t inputs() const { return layers_.front().n_in; }
  index_t outputs() const { return layers_.back().n_out; }

  T* data() { return numbers_.data(); }
  const T* data() const { return numbers_.data(); }
  index_t size() const { return numbers_.size(); }
  index_t parameter_count() const { return parameter_count_; }

  // Plain matrices: weights row-major (n_in, n_out). A tied layer's weights are the transpose of its owner's.
  void get_weights(int l, T* out) const;
  void set_weights(int l, const T* values);
  // Flat order: for each layer W (row-major, unless tied), b, the learned parameter (1 number when shared), scale, mean and variance.
  // `numbers` has the layout of data(): the network's own, a gradient or a moment.
  void flatten(const T* numbers, T* flat) const;
  void unflatten(const T* flat, T* numbers) const;

 private:
  std::vector<LayerSpec> layers_;
  std::vector<Window> windows_;
  std::vector<int> users_;
  index_t parameter_count_ = 0;
  Buffer<T> numbers_;
};

// Of one row through the layers first .. last - 1.
template <class T>
double multiply_adds(const Network<T>& network, int first, int last) {
  double sum = 0;
  for (int l = first; l < last; ++l) sum += static_cast<double>(network.layer(l).n_in) * static_cast<double>(network.layer(l).n_out);
  return sum;
}

}  // namespace layerwise
