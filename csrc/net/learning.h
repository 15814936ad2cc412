// The last phase of a step: weight gradients, and the optimiser that uses them.
#pragma once

#include "net/passes.h"

namespace layerwise {

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
