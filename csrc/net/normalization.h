// Batch normalisation between a layer's product and its activation (Ioffe & Szegedy 2015). Formulas: docs/numerics.md.
//
// In training a layer takes mean and variance from the batch's rows, weighted as the loss is. Where fewer than two rows weigh anything
// there is no variance, so that the running statistics stand in and do not move; and so they do in a frozen layer and outside training.
#pragma once

#include "net/passes.h"

namespace layerwise {

template <class T>
bool by_own_rows(const Batch<T>& batch, int l) {
  return batch.own_statistics && !is_frozen(*batch.recipe, l);
}

// Mean and variance of a panel's products, of which all rows are there.
template <class T>
void take_moments(const Batch<T>& batch, int l, index_t panel);
// What the product left in `normal`, normalised there, and scaled and shifted in z.
template <class T>
void normalize_piece(const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end);
// A panel's delta, of all rows, from the derivative by z to that by the product; the derivatives by scale and shift on the way.
template <class T>
void normalize_delta(const Batch<T>& batch, int l, index_t panel);
// The running statistics of a panel after a step.
template <class T>
void move_statistics(const Batch<T>& batch, int l, index_t panel, Network<T>& network);

}  // namespace layerwise
