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
  // Not empty: the outputs are columns of several kinds (the last layer's, of activation identity); the loss is then `mixed`.
  std::vector<ColumnGroup> groups;
  // Batch normalisation between product and activation, of any layer but the last; the bias is then its shift.
  bool normalized = false;
  double norm_momentum = 0.1;  // of a batch's statistics in the running ones
  double norm_epsilon = 1e-5;
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
  std::vector<double> levels;       // one a column, or empty: level for all
  bool exact = false;               // masking: level * columns (rounded, halves up) of each row's columns, no more and no fewer
  std::vector<ColumnGroup> groups;  // swap: the columns of a category are replaced together, or not at all
  double corrupted_weight = 1, clean_weight = 1;  // of the loss's cells (Vincent 2010: alpha and beta)

  bool emphasises() const { return corrupted_weight != 1 || clean_weight != 1; }
};

// What is added to the objective besides alpha's term, and the bounds on gradients and weights; 0 means none.
struct PenaltySpec {
  double l1 = 0;  // times the sum of all |weights|
  // One value a layer, or empty; 0 for the output layer.
  std::vector<double> activation_l1;
  std::vector<double> sparsity;
  std::vector<double> contraction;
  double sparsity_target = 0.05;
  double clip_value = 0, clip_norm = 0, max_norm = 0;

  bool of_activations() const { return !activation_l1.empty() || !sparsity.empty() || !contraction.empty(); }
  // Whether the weight gradient of layer l has a term of its own for each unit; whether it is not handed to the optimiser as it is.
  bool contracts(int l) const { return !contraction.empty() && contraction[static_cast<std::size_t>(l)] != 0; }
  bool of_weights(int l) const { return contracts(l) || l1 != 0 || clip_value != 0; }
  bool any() const { return l1 != 0 || of_activations() || clip_value != 0 || clip_norm != 0 || max_norm != 0; }
};

struct Recipe {
  Loss loss = Loss::squared_error;
  OptimizerSpec optimizer;
  index_t batch_size = 1;
  std::uint64_t seed = 0;
  double alpha = 0;
  NoiseSpec noise;
  PenaltySpec penalties;
  // One value a layer, or empty for the default everywhere.
  std::vector<double> dropout;
  std::vector<bool> frozen;
  std::vector<double> rate_scale;
  bool shuffle = true;
  bool missing_targets = false;
  int threads = 0;
  bool bfloat16 = false;  // products of batches of two rows and more; float32 networks only
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
enum Stream : std::uint32_t {
  kShuffleStream = 0,
  kNoiseStream = 1,  // and 2: which rows swap noise takes its values from
  kDropoutStream = 16,
  kGibbsStream = 1u << 31,
};

}  // namespace layerwise
