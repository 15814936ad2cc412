// The room a batch needs: allocated once, for the largest number of rows, and reused for every batch.
#pragma once

#include <vector>

#include "base/buffer.h"
#include "net/network.h"

namespace layerwise {

// Rows a product reads its accumulators back for: deeper products and larger batches run in blocks, with the same bits.
inline constexpr index_t kDepthBlock = 256;
inline constexpr index_t kRowBlock = 1024;

// A batch of rows in panels: feature f of row r is data[(f / 32) * step + r * 32 + f % 32].
template <class T>
struct Panels {
  T* data = nullptr;
  index_t step = 0;
  T* at(index_t panel, index_t row) const { return data + panel * step + row * kPanel; }
};

template <class T>
struct LayerRoom {
  Panels<T> z;             // product + bias; the same memory as value when the slope is written with the value
  Panels<T> value;         // activation of z
  Panels<T> output;        // what the next layer reads: value, after dropout
  Panels<T> scale;         // dropout's 0 or 1 / (1 - rate)
  Panels<T> delta;         // d loss / d z
  Panels<T> by_parameter;  // each row's d loss / d activation parameter
};

template <class T>
class Workspace {
 public:
  // `recipe` null: forward passes only, without targets, noise or dropout.
  Workspace(const Network<T>& network, const Recipe* recipe, index_t rows, int threads, int first, int last);

  index_t rows;      // capacity
  Panels<T> input;   // what the first layer reads, after corruption
  Panels<T> target;  // the same memory as input when nothing is corrupted and the input is the target
  std::vector<LayerRoom<T>> layers;
  std::vector<T> row_scale;  // weight of a row divided by the sum of weights
  std::vector<double> row_loss;
  std::vector<T> shared_gradient;  // of a layer whose units share one activation parameter
  T* scratch(int thread) { return scratch_.data() + thread * scratch_step_; }

 private:
  Buffer<T> memory_;
  Buffer<T> scratch_;
  index_t scratch_step_;
};

}  // namespace layerwise
