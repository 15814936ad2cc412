#include "net/rounded_weights.h"

#include "kernels/dispatch.h"
#include "net/bfloat16.h"

namespace layerwise {

RoundedWeights::RoundedWeights(const Network<float>& network) : network_(&network), kernels_(require_bfloat16_kernels()) {
  index_t end = 0;
  for (int l = 0; l < network.depth(); ++l) {
    begins_.push_back(end);
    panel_steps_.push_back(pairs_of(panels(network.layer(l).n_in) * kPanel) * kPanel);
    end += panels(network.layer(l).n_out) * panel_steps_.back();
  }
  pairs_ = Buffer<float>(end, 6);
  for (int l = 0; l < network.depth(); ++l) {
    const index_t n_in = network.layer(l).n_in, n_out = network.layer(l).n_out;
    const float* w = network.data() + network.window(l).weights;
    for (index_t p = 0; p < panels(n_out); ++p) {
      float* pairs = pairs_.data() + begins_[at(l)] + p * panel_steps_[at(l)];
      if (network.owns_weights(l)) {
        kernels_.pair_rows(w + p * n_in * kPanel, n_in, pairs);
      } else {
        kernels_.pair_transposed(w + p * kPanel * kPanel, n_out * kPanel, width_of(n_out, p), n_in, pairs);
      }
    }
  }
}

}  // namespace layerwise
