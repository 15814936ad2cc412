// A float32 network's weights rounded to bfloat16 once, for predictions: they need no others, and of few rows the rounding would cost more
// than the product (docs/decisions/0008).
#pragma once

#include <vector>

#include "base/buffer.h"
#include "kernels/kernels.h"
#include "net/network.h"

namespace layerwise {

class RoundedWeights {
 public:
  // Of the weights as they are now. Throws where the processor has no products in bfloat16.
  explicit RoundedWeights(const Network<float>& network);

  // Whether they are those of this very network.
  bool are_of(const void* network) const { return network_ == network; }
  const BFloat16Kernels& kernels() const { return kernels_; }
  // What layer l multiplies a panel of its outputs by: pairs of rows.
  const float* panel(int l, index_t panel) const { return pairs_.data() + begins_[static_cast<std::size_t>(l)] + panel * panel_step(l); }
  index_t panel_step(int l) const { return panel_steps_[static_cast<std::size_t>(l)]; }

 private:
  const Network<float>* network_;
  const BFloat16Kernels& kernels_;
  std::vector<index_t> begins_, panel_steps_;
  Buffer<float> pairs_;
};

}  // namespace layerwise
