// The room a batch needs: allocated once, for the largest number of rows, and reused for every batch.
#pragma once

#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "net/data.h"
#include "net/network.h"
#include "net/zeros.h"

namespace layerwise {

// Rows a product reads its accumulators back for: larger batches run in blocks, with the same bits.
inline constexpr index_t kRowBlock = 1024;

// With a single row: panels of weights that a thread reads side by side, and whose part of an input gradient is summed before others'.
inline constexpr index_t kGroupPanels = 4;
constexpr index_t panel_groups(index_t features) { return (panels(features) + kGroupPanels - 1) / kGroupPanels; }

// What a batch is given: rows of the data, after corruption.
template <class T>
struct Given {
  Panels<T> input;         // what the first layer reads
  Panels<T> target;        // the same memory as input where there is only one
  Panels<T> cell_weights;  // of the loss's cells, where the recipe's noise emphasises some
};

template <class T>
struct LayerRoom {
  Panels<T> z;                      // product + bias; the same memory as value when the slope is written with the value
  Panels<T> value;                  // activation of z
  Panels<T> output;                 // what the next layer reads: value, after dropout
  Panels<T> delta;                  // d loss / d z
  Panels<T> x_pairs, delta_pairs;   // with bfloat16: what the layer reads and its delta, in pairs of rows
  Panels<T> by_parameter;           // each row's d loss / d activation parameter
  Panels<T> normal;                 // of a normalised layer: the product, then what normalisation makes of it before scale and shift
  std::vector<std::uint32_t> kept;  // what dropout leaves: a word for 32 units, panel after panel; empty: no dropout
};

// Of a normalised layer, a number for each unit, padded: see normalization.h.
template <class T>
struct NormalizationRoom {
  std::vector<T> mean, variance;      // of the batch's rows
  std::vector<T> by_shift, by_scale;  // d loss / d shift and d scale
};

// Of a layer whose activations have a penalty, a number for each unit, padded: see penalties.h.
template <class T>
struct PenaltyRoom {
  std::vector<T> mean;           // activation over the batch
  std::vector<T> by_activation;  // derivative of the sparsity term by each activation, without the row's share
  std::vector<T> l1;             // activation_l1; 0 in the padding
  std::vector<T> contraction;    // 2 lambda sum_i w_ij^2
  std::vector<T> slope_squares;  // f'(z_j)^2, mean over the batch
};

template <class T>
class Workspace {
 public:
  // `recipe` null: forward passes only, without targets, noise or dropout. `ahead`: with room for what the next batch is given.
  Workspace(const Network<T>& network, const Recipe* recipe, index_t rows, int threads, int first, int last, bool ahead = false);

  index_t rows;  // capacity
  // Where batches are whole, one of the two is filled for the next batch while this one is learned.
  Given<T> given[2];
  NonzeroRoom nonzero[2];  // of the input of each
  std::vector<LayerRoom<T>> layers;
  Panels<std::uint16_t> rounded;          // with bfloat16: what the product of the moment reads
  Panels<T> partial;                      // of a single row: each group of panels' part of a product with transposed weights, a plain row
  std::vector<PenaltyRoom<T>> penalties;  // one a layer, or none at all
  std::vector<NormalizationRoom<T>> normalizations;  // likewise
  std::vector<double> squares;                       // of the parts of a gradient that is clipped by its norm
  std::vector<double> row_norms;                     // for `is_surely_short`: two a row for each layer
  std::vector<T> row_scale;                          // weight of a row divided by the sum of weights
  std::vector<double> row_loss;
  std::vector<T> shared_gradient;  // of a layer whose units share one activation parameter
  // For products in bfloat16 without a recipe.
  void reserve_rounded(const Network<T>& network, int first, int last);
  // As it was made. After numbers that were not finite: what is left of them in the padding would make NaN of later batches' zeros.
  void clear() { std::fill_n(memory_.data(), memory_.size(), T{0}); }
  T* scratch(int thread) { return scratch_.data() + thread * scratch_step_; }
  // Where there is contraction, three rooms for a panel's rows: slopes, curvature, and its derivative by the activation's parameter.
  T* curves(int thread, int which) { return scratch(thread) + kScratch + which * rows * kPanel; }

 private:
  // A transposed block of weights (32 columns of kDepthBlock rows) and a 32 x 32 block of the gradient.
  static constexpr index_t kScratch = (kDepthBlock + kPanel + 8) * kPanel;

  // An odd number of rows between panels: with a power of two all panels of a row would compete for the same cache sets.
  index_t row_step() const { return (rows | 1) * kPanel; }
  void reserve_penalties(const Network<T>& network, const PenaltySpec& penalties);
  void reserve_normalizations(const Network<T>& network);

  Buffer<T> memory_;
  Buffer<std::uint16_t> rounded_;
  Buffer<T> scratch_;
  index_t scratch_step_;
};

}  // namespace layerwise
