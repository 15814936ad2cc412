// One batch through the network: gather, forward, loss, backward, weight gradients. Each function is a phase (or a few with
// barriers between) that every thread of the team runs; a thread works on whole panels and rows, never on a part of a sum.
#pragma once

#include "base/parallel.h"
#include "net/workspace.h"

namespace layerwise {

// Rows of the caller's matrices (row-major) and what belongs to them.
template <class T>
struct Data {
  const T* x = nullptr;
  const T* y = nullptr;        // null: the clean x is the target
  const T* weights = nullptr;  // one per row, or null
  index_t rows = 0;
};

// What the phases of one batch share.
template <class T>
struct Batch {
  const Kernels<T>& k;
  const Network<T>& network;
  Workspace<T>& room;
  const Recipe* recipe;  // null: forward only
  index_t rows = 0;
  const index_t* ids = nullptr;  // positions of the rows in the data; null: first_row, first_row + 1, ...
  index_t first_row = 0;
  std::uint32_t step = 0;   // for noise and dropout
  bool train = false;       // noise and dropout on
  int first = 0, last = 0;  // layers first .. last - 1
  bool logits = false;      // leave out the very last activation
  bool input_is_target = false;

  index_t id(index_t row) const { return ids != nullptr ? ids[row] : first_row + row; }
};

template <class T>
void gather(Team& team, const Batch<T>& batch, const Data<T>& data);
template <class T>
void forward(Team& team, const Batch<T>& batch);
// Fills row_loss and the output layer's delta (with `train`) from row_scale.
template <class T>
void loss(Team& team, const Batch<T>& batch);
// Deltas of every layer from the output down to the lowest one that learns.
template <class T>
void backward(Team& team, const Batch<T>& batch);

// The lowest layer with anything to learn.
template <class T>
int lowest_learning(const Network<T>& network, const Recipe& recipe);

// The optimiser's memory and this step's scalars; layout of both moments: the network's.
template <class T>
struct Update {
  OptimizerKind kind;
  UpdateScalars<T> scalars;  // rate without the layer's factor
  T* first;
  T* second;
};

// Gradients of all learning layers. With `gradient` null each 32 x 32 block is handed to the optimiser as soon as it is known and
// never travels to memory; else it is stored there (`accumulate`: continuing the chains of earlier row blocks), same bits.
template <class T>
void learn(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update, T* gradient, bool accumulate);
// Completes a stored gradient: a shared activation parameter gets the sum over its units. One thread.
template <class T>
void share_gradients(const Network<T>& network, T* gradient);
// The optimiser over a stored gradient.
template <class T>
void apply_update(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>& update, const T* gradient);

}  // namespace layerwise
