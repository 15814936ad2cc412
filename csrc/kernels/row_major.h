// Row-major matrices, as callers have them: into panels and out of these, and what multiplies a single row by one as it lies.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"
#include "kernels/transpose.h"

namespace layerwise {
namespace {

template <class T>
void copy_rows(const T* from, index_t from_step, index_t rows, T* to, index_t to_step) {
  for (index_t r = 0; r < rows; ++r, from += from_step, to += to_step) {
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kPanelVectors<T>; ++v) store(to + v * kLanes<T>, load(from + v * kLanes<T>));
  }
}

// kAtOnce rows, for which c is read and written once, at a time, as long as there are so many left.
template <class T, int kAtOnce>
inline void add_rows_at_once(const T*& x, const T*& b, index_t b_step, index_t& depth, index_t cols, T* c) {
  for (; depth >= kAtOnce; depth -= kAtOnce, x += kAtOnce, b += kAtOnce * b_step) {
    Vec<T> left[kAtOnce];  // read here: for all that the compiler knows, c is the same memory
    LAYERWISE_UNROLL
    for (index_t k = 0; k < kAtOnce; ++k) left[k] = set(x[k]);
    const T* rows = b;
    each(c, cols, [&](auto at) {
      Vec<T> sum = at(c);
      LAYERWISE_UNROLL
      for (index_t k = 0; k < kAtOnce; ++k) sum = fma(left[k], at(rows + k * b_step), sum);
      return sum;
    });
  }
}
template <class T>
void add_rows(const T* x, const T* b, index_t b_step, index_t depth, index_t cols, T* c) {
  add_rows_at_once<T, 6>(x, b, b_step, depth, cols, c);
  add_rows_at_once<T, 2>(x, b, b_step, depth, cols, c);
  add_rows_at_once<T, 1>(x, b, b_step, depth, cols, c);
}

// sum[i] += sum_k x[k] * b[i * b_step + k] where whole small tiles would reach beyond b: fewer rows, or fewer columns.
template <class T>
inline Side<T> add_edge(const T* x, const T* b, index_t b_step, index_t rows, index_t depth, Side<T> sum) {
  for (index_t k = 0; k < depth; k += kStrip<T>) {
    const index_t n = depth - k < kStrip<T> ? depth - k : kStrip<T>;
    T tile[kSide<T> * kStrip<T>] = {};
    for (index_t i = 0; i < rows; ++i) {
      for (index_t j = 0; j < n; ++j) tile[i * kStrip<T> + j] = b[i * b_step + k + j];
    }
    Side<T> column[kStrip<T>];
    load_columns(tile, kStrip<T>, column);
    for (index_t j = 0; j < n; ++j) sum = fma(set_as<Side<T>>(x[k + j]), column[j], sum);
  }
  return sum;
}

// The same for c, of kSides sides, so many chains side by side. Each number of x is a vector for all of them.
template <class T, int kSides>
void add_sides(const T* x, const T* b, index_t b_step, index_t depth, T* c) {
  const index_t whole = depth - depth % kStrip<T>;
  Side<T> sum[kSides];
  LAYERWISE_UNROLL
  for (int s = 0; s < kSides; ++s) sum[s] = load_as<Side<T>>(c + s * kSide<T>);
  for (index_t k = 0; k < whole; k += kStrip<T>) {
    if (k % kLine<T> == 0) {
      LAYERWISE_UNROLL
      for (index_t i = 0; i < kSides * kSide<T>; ++i) __builtin_prefetch(b + i * b_step + k + 2 * kLine<T>);
    }
    Side<T> left[kStrip<T>];
    LAYERWISE_UNROLL
    for (index_t i = 0; i < kStrip<T>; ++i) left[i] = set_as<Side<T>>(x[k + i]);
    LAYERWISE_UNROLL
    for (int s = 0; s < kSides; ++s) {
      Side<T> column[kStrip<T>];
      load_columns(b + s * kSide<T> * b_step + k, b_step, column);
      LAYERWISE_UNROLL
      for (index_t i = 0; i < kStrip<T>; ++i) sum[s] = fma(left[i], column[i], sum[s]);
    }
  }
  LAYERWISE_UNROLL
  for (int s = 0; s < kSides; ++s) {
    sum[s] = add_edge(x + whole, b + s * kSide<T> * b_step + whole, b_step, kSide<T>, depth - whole, sum[s]);
    store_as(c + s * kSide<T>, sum[s]);
  }
}

// Whether rows so far apart compete for places in the first-level cache, where lines 4 KB apart share a set of at least eight. A line is
// needed several times, so that more rows than these would push it out before the last.
template <class T>
inline bool rows_compete(index_t step) {
  constexpr index_t kPeriod = 2048 / static_cast<index_t>(sizeof(T));
  return (step + kLine<T>) % kPeriod < 2 * kLine<T>;
}

template <class T>
void add_rows_t(const T* x, const T* b, index_t b_step, index_t depth, index_t cols, T* c) {
  constexpr int kMany = kSide<T> == 2 ? 4 : 3, kFew = 8 / kSide<T>;
  const bool few = rows_compete<T>(b_step);
  const index_t rows = (few ? kFew : kMany) * kSide<T>;
  for (; cols >= rows; cols -= rows, b += rows * b_step, c += rows) {
    (few ? add_sides<T, kFew> : add_sides<T, kMany>)(x, b, b_step, depth, c);
  }
  for (; cols >= kSide<T>; cols -= kSide<T>, b += kSide<T> * b_step, c += kSide<T>) add_sides<T, 1>(x, b, b_step, depth, c);
  if (cols == 0) return;
  T lane[kSide<T>] = {};
  for (index_t i = 0; i < cols; ++i) lane[i] = c[i];
  store_as(lane, add_edge(x, b, b_step, cols, depth, load_as<Side<T>>(lane)));
  for (index_t i = 0; i < cols; ++i) c[i] = lane[i];
}

template <class T>
constexpr void fill_row_major(Kernels<T>& k) {
  k.copy_rows = copy_rows<T>;
  k.add_rows = add_rows<T>;
  k.add_rows_t = add_rows_t<T>;
  k.transpose = transpose<T>;
}

}  // namespace
}  // namespace layerwise
