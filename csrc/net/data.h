// Matrices as they come and as they are worked on: the caller's rows, and a batch of them in panels.
#pragma once

#include "base/types.h"

namespace layerwise {

constexpr index_t kPart = -2;  // in the place of an epoch's number: the rows of a part, in the order they have

// Rows of the caller's matrices (row-major) and what belongs to them.
template <class T>
struct Data {
  const T* x = nullptr;
  const T* y = nullptr;        // null: the clean x is the target
  const T* weights = nullptr;  // one per row, or null
  index_t rows = 0;
  // Where these rows are a part of a larger data set, the rows of some steps one after the other: their positions there. Else null.
  const index_t* ids = nullptr;
};

template <class T>
double weight_of(const Data<T>& data, index_t row) {
  return data.weights == nullptr ? 1.0 : static_cast<double>(data.weights[row]);
}

// A batch of rows in panels: feature f of row r is data[(f / 32) * step + r * 32 + f % 32].
template <class T>
struct Panels {
  T* data = nullptr;
  index_t step = 0;
  T* at(index_t panel, index_t row) const { return data + panel * step + row * kPanel; }
};

// One row of a panel. By vectors that every instruction set has, as the compiler makes a call of what is left to it.
template <class T>
inline void copy_panel(const T* from, T* to) {
  typedef T Vector __attribute__((vector_size(16), aligned(sizeof(T)), may_alias));
  constexpr index_t kVectors = kPanel * static_cast<index_t>(sizeof(T)) / 16;
#pragma GCC unroll 16
  for (index_t i = 0; i < kVectors; ++i) reinterpret_cast<Vector*>(to)[i] = reinterpret_cast<const Vector*>(from)[i];
}

}  // namespace layerwise
