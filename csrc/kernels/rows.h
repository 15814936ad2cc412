// One row of a matrix in panels: its vectors, its columns that count, its sum, its largest number and its exponentials.
#pragma once

#include "kernels/vmath.h"

namespace layerwise {
namespace {

// A row's sum is 32 chains over the panels, one a column, and then a tree over the
// columns in double: the same order for every vector width.

// Of the tree, the columns that may add anything but 0: as many as a power of 2.
inline index_t columns_used(index_t cols) {
  index_t used = 1;
  while (used < cols && used < kPanel) used *= 2;
  return used;
}
// The tree over `used` columns, of which those from `cols` on are 0.
template <class T>
inline double sum_of_columns(const T* x, index_t step, index_t cols, index_t used) {
  double tree[kPanel];
  for (index_t c = 0; c < used; ++c) tree[c] = c < cols ? static_cast<double>(x[c * step]) : 0;
  for (index_t width = used / 2; width > 0; width /= 2)
    for (index_t c = 0; c < width; ++c) tree[c] += tree[c + width];
  return tree[0];
}

template <class T>
struct RowSum {
  Vec<T> chain[kPanelVectors<T>] = {};

  // Of a row of so many columns, the chains of others being 0.
  double total(index_t cols) const {
    const index_t used = columns_used(cols);
    T lane[kPanel];
    for (index_t k = 0; k * kLanes<T> < used; ++k) store(lane + k * kLanes<T>, chain[k]);
    return sum_of_columns(lane, 1, used, used);
  }
};

// All ones in the lanes that stand for columns < cols, the first lane being column `first`.
template <class T>
inline IntVec<T> columns_below(index_t first, index_t cols) {
  using Integer = typename IntegerOf<T>::type;
  Integer lane[kLanes<T>];
  for (index_t c = 0; c < kLanes<T>; ++c) lane[c] = static_cast<Integer>(first + c);
  return load<Integer>(lane) < static_cast<Integer>(cols);
}

// body(panel, k, valid) for each vector of a row that holds a column < cols: its panel, its place in the panel's row,
// and the lanes that count. rest(panel, k) for the vectors of padding after them.
template <class T, class Body, class Rest>
inline void each_of_row(index_t cols, Body body, Rest rest) {
  index_t panel = 0;
  const IntVec<T> all = ~IntVec<T>{};
  for (; (panel + 1) * kPanel <= cols; ++panel)
    for (index_t k = 0; k < kPanelVectors<T>; ++k) body(panel, k, all);
  const index_t left = cols - panel * kPanel;
  if (left == 0) return;
  for (index_t k = 0; k < kPanelVectors<T>; ++k) {
    if (k * kLanes<T> < left)
      body(panel, k, columns_below<T>(k * kLanes<T>, left));
    else
      rest(panel, k);
  }
}

// Among the first `lanes`.
template <class T>
inline T largest_lane(Vec<T> x, index_t lanes = kLanes<T>) {
  T lane[kLanes<T>];
  store(lane, x);
  T top = lane[0];
  for (index_t c = 1; c < lanes; ++c) top = lane[c] > top ? lane[c] : top;
  return top;
}

// The largest of the first `cols` numbers of a row; a NaN may be passed over (its exponential is NaN all the same).
template <class T>
inline T row_max(const T* z, index_t z_step, index_t cols) {
  Vec<T> largest = set(-T(__builtin_inf()));
  each_of_row<T>(
      cols,
      [&](index_t panel, index_t k, IntVec<T> valid) {
        const Vec<T> x = load(z + panel * z_step + k * kLanes<T>);
        largest = (valid & (x > largest)) ? x : largest;
      },
      [](index_t, index_t) {});
  return largest_lane<T>(largest, cols < kLanes<T> ? cols : kLanes<T>);
}

// a = exp(z - top) with padding 0; returns the sum of a.
template <class T>
inline double row_exp(const T* z, index_t z_step, T top, T* a, index_t a_step, index_t cols) {
  RowSum<T> sum;
  each_of_row<T>(
      cols,
      [&](index_t panel, index_t k, IntVec<T> valid) {
        const Vec<T> e = exp_of_difference<T>(load(z + panel * z_step + k * kLanes<T>), set(top));
        const Vec<T> kept = valid ? e : Vec<T>{};
        store(a + panel * a_step + k * kLanes<T>, kept);
        sum.chain[k] += kept;
      },
      [&](index_t panel, index_t k) { store(a + panel * a_step + k * kLanes<T>, Vec<T>{}); });
  return sum.total(cols);
}

}  // namespace
}  // namespace layerwise
