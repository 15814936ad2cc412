// Inputs that are mostly 0, as pictures, counts of words and categories are: products of the first layer leave most of the zeros out.
#pragma once

#include "net/data.h"

namespace layerwise {

// Whether the data have enough zeros, by a sample of rows: as seen by a register tile, in whose rows a feature counts as 0 only where all
// of them are.
template <class T>
bool has_many_zeros(const Data<T>& data, index_t features);

}  // namespace layerwise
