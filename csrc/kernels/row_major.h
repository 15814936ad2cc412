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

template <class T>
void add_rows(const T* x, const T* b, index_t b_step, index_t depth, index_t cols, T* c) {
  constexpr index_t kAtOnce = 4;  // rows for which c is read and written once
  for (; depth >= kAtOnce; depth -= kAtOnce, x += kAtOnce, b += kAtOnce * b_step) {
    Vec<T> left[kAtOnce];  // read here: for all that the compiler knows, c is the same memory
    LAYERWISE_UNROLL
    for (index_t k = 0; k < kAtOnce; ++k) left[k] = set(x[k]);
    each(c, cols, [&](auto at) {
      Vec<T> sum = at(c);
      LAYERWISE_UNROLL
      for (index_t k = 0; k < kAtOnce; ++k) sum = fma(left[k], at(b + k * b_step), sum);
      return sum;
    });
  }
  for (; depth > 0; --depth, ++x, b += b_step) each(c, cols, [=](auto at) { return fma(set(*x), at(b), at(c)); });
}

// sum[i] += sum_k x[k] * b[i * b_step + k] where whole squares would reach beyond b: fewer rows, or fewer columns.
template <class T>
inline Side<T> add_edge(const T* x, const T* b, index_t b_step, index_t rows, index_t depth, Side<T> sum) {
  for (index_t k = 0; k < depth; k += kSide<T>) {
    const index_t n = depth - k < kSide<T> ? depth - k : kSide<T>;
    T square[kSide<T> * kSide<T>] = {};
    for (index_t i = 0; i < rows; ++i) {
      for (index_t j = 0; j < n; ++j) square[i * kSide<T> + j] = b[i * b_step + k + j];
    }
    Side<T> column[kSide<T>];
    load_columns(square, kSide<T>, column);
    for (index_t j = 0; j < n; ++j) sum = fma(set_as<Side<T>>(x[k + j]), column[j], sum);
  }
  return sum;
}

// So many squares below one another are so many chains side by side.
template <class T, int kSquares>
inline void add_rows_of_squares(const T* x, const T* b, index_t b_step, index_t depth, T* c) {
  const index_t whole = depth - depth % kSide<T>;
  Side<T> sum[kSquares];
  LAYERWISE_UNROLL
  for (int s = 0; s < kSquares; ++s) sum[s] = load_as<Side<T>>(c + s * kSide<T>);
  for (index_t k = 0; k < whole; k += kSide<T>) {
    LAYERWISE_UNROLL
    for (int s = 0; s < kSquares; ++s) {
      const T* square = b + s * kSide<T> * b_step + k;
      if (k % kLine<T> == 0) {
        LAYERWISE_UNROLL
        for (index_t i = 0; i < kSide<T>; ++i) __builtin_prefetch(square + i * b_step + 2 * kLine<T>);
      }
      Side<T> column[kSide<T>];
      load_columns(square, b_step, column);
      LAYERWISE_UNROLL
      for (index_t i = 0; i < kSide<T>; ++i) sum[s] = fma(set_as<Side<T>>(x[k + i]), column[i], sum[s]);
    }
  }
  LAYERWISE_UNROLL
  for (int s = 0; s < kSquares; ++s) {
    sum[s] = add_edge(x + whole, b + s * kSide<T> * b_step + whole, b_step, kSide<T>, depth - whole, sum[s]);
    store_as(c + s * kSide<T>, sum[s]);
  }
}

template <class T>
void add_rows_t(const T* x, const T* b, index_t b_step, index_t depth, index_t cols, T* c) {
  constexpr int kSquares = 4;
  for (; cols >= kSquares * kSide<T>; cols -= kSquares * kSide<T>, b += kSquares * kSide<T> * b_step, c += kSquares * kSide<T>) {
    add_rows_of_squares<T, kSquares>(x, b, b_step, depth, c);
  }
  for (; cols >= kSide<T>; cols -= kSide<T>, b += kSide<T> * b_step, c += kSide<T>) add_rows_of_squares<T, 1>(x, b, b_step, depth, c);
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
