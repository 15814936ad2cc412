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

// The optimiser's scalars for one kind of number of layer l.
template <class T>
UpdateScalars<T> scalars_for(const Update<T>& update, const Recipe& recipe, int l, bool weights) {
  UpdateScalars<T> s = update.scalars;
  if (!recipe.rate_scale.empty()) s.rate = static_cast<T>(static_cast<double>(s.rate) * recipe.rate_scale[at(l)]);
  if (!weights) s.l2 = s.weight_decay = 0;
  if (!weights) s.shape.l1 = s.shape.l2 = 0;
  if (recipe.penalties.contracts(l)) s.shape.l1 = 0;  // `add_weight_penalty` has added it
  return s;
}

// A part of one of the optimiser's moments; null where the optimiser has none.
template <class T>
T* part(T* moment, index_t begin) {
  return moment == nullptr ? nullptr : moment + begin;
}

// Gradients of all learning layers. With `gradient` null each 32 x 32 block is handed to the optimiser as soon as it is known and
// never travels to memory (what `backward_single_row` has updated is left out); else it is stored there (`accumulate`: continuing the
// chains of earlier row blocks; `last`: with the penalties of weights that the optimiser does not add, and for clip_norm with all of them
// and the sums of squares), same bits. Without `gradient` the weights' norms are brought within their bound, too. `begun` (null: none) is
// the next batch where `begins_next` says so: its first layer's sums are made here. Ends without a barrier.
template <class T>
void learn(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update, T* gradient, bool accumulate, bool last,
           const Batch<T>* begun);
// Completes a stored gradient: a shared activation parameter gets the sum over its units. One thread.
template <class T>
void share_gradients(const Network<T>& network, T* gradient);
// The optimiser over a stored gradient.
template <class T>
void apply_update(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>& update, const T* gradient);

}  // namespace layerwise
