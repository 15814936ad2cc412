// Batches of one row: matrix-vector products, whose time is that of reading the weights.
#pragma once

#include "net/learning.h"

namespace layerwise {

// `backward` for a batch of one row. With `update` it also brings the weights of the layers that it passes one step forward, where
// `updates_on_the_way` says so: they are read once for both.
template <class T>
void backward_single_row(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update);
template <class T>
bool updates_on_the_way(const Batch<T>& batch, int l);

}  // namespace layerwise
