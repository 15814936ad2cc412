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

// Whether layer l learns from a single row panel by panel, without a gradient: on the way, or by `learn_panel_by_row`. With `begun` the
// same reading of the weights of the first layer makes the sums of the next row, which has been gathered.
template <class T>
bool learns_by_row(const Batch<T>& batch, int l);
template <class T>
void learn_panel_by_row(const Batch<T>& batch, int l, index_t panel, Network<T>& network, const Update<T>& update, const Batch<T>* begun);

// Whether that can be done: both batches have a single row, nothing reads the first layer's sums any more when it learns, and there are two
// layers or more, so that the barriers of `backward_single_row` lie between the gathering of the next row and `learn`, which reads it.
template <class T>
bool begins_next(const Batch<T>& batch, index_t next_rows);

}  // namespace layerwise
