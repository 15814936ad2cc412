// The only settings the engine knows: plain structs with defaults, filled by the bindings.
#pragma once

#include <vector>

#include "base/types.h"
#include "kernels/kernels.h"

namespace layerwise {

// Whether an activation's own parameter (alpha of PReLU, beta of Swish) is learned, and how many there are.
enum class Learn { fixed, shared, unit };

struct LayerSpec {
  index_t n_in = 0, n_out = 0;
  Activation activation = Activation::identity;
  double parameter = 0;  // the value, or the start when it is learned
  Learn learn = Learn::fixed;
  int tied_to = -1;  // uses the transposed weights of that earlier layer
};

struct OptimizerSpec {
  OptimizerKind kind = OptimizerKind::sgd;
  double momentum = 0.9;  // also beta_1
  double decay = 0.999;   // beta_2, or the decay of RMSProp's average
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool bias_correction = true;
  bool epsilon_inside_sqrt = false;
};

struct NoiseSpec {
  NoiseKind kind = NoiseKind::none;
  double level = 0;  // probability, or standard deviation
  double low = 0, high = 1;
};

struct Recipe {
  Loss loss = Loss::squared_error;
  OptimizerSpec optimizer;
  index_t batch_size = 1;
  std::uint64_t seed = 0;
  double alpha = 0;
  NoiseSpec noise;
  // One value a layer, or empty for the default everywhere.
  std::vector<double> dropout;
  std::vector<bool> frozen;
  std::vector<double> rate_scale;
  bool shuffle = true;
  bool missing_targets = false;
  int threads = 0;
};

// The cross-entropies are computed from the output layer's logits, so its activation is left to the loss.
inline bool loss_is_in_logits(const Recipe& recipe) { return recipe.loss != Loss::squared_error; }

// How a restricted Boltzmann machine's negative phase is made: k steps of Gibbs sampling, from the data or from chains that go on.
struct GibbsSpec {
  index_t k = 1;
  bool persistent = false;      // the chains, one a row of a batch, go on from where the step before left them
  bool sample_visible = false;  // the visible units take random states; else their means
  // Pulls a running mean of each hidden unit's probability towards the target (Hinton 2010, section 11); no cost, no pull.
  double sparsity_target = 0.1, sparsity_cost = 0, sparsity_decay = 0.9;
};

// Streams of random numbers: the last word of the Philox counter, so that no two uses share a number.
enum Stream : std::uint32_t { kShuffleStream = 0, kNoiseStream = 1, kDropoutStream = 16, kGibbsStream = 1u << 31 };

}  // namespace layerwise
