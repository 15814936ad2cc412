// What only reads a network: predictions, and the loss of rows.
#pragma once

#include "net/passes.h"

namespace layerwise {

// Layers first .. last - 1 applied to the rows of x; out is row-major. With the network's rounded `weights` the products are in bfloat16.
template <class T>
void apply(const Network<T>& network, const RoundedWeights* weights, const T* x, index_t rows, int first, int last, bool logits, int asked,
           T* out);
// Mean loss without noise, dropout or alpha.
template <class T>
double evaluate(const Network<T>& network, const Recipe& recipe, const Data<T>& data);

}  // namespace layerwise
