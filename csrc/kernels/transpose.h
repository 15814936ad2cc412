// Matrices turned over, in small tiles that stay in registers.
#pragma once

#include "kernels/simd.h"

namespace layerwise {
namespace {

// A small tile has 16 bytes of each of as many rows as a column fits in 32 bytes with AVX2, else in 16.
#if defined(__AVX2__)
constexpr index_t kSideBytes = 32;
#else
constexpr index_t kSideBytes = 16;
#endif
template <class T>
constexpr index_t kSide = kSideBytes / static_cast<index_t>(sizeof(T));
template <class T>
constexpr index_t kStrip = 16 / static_cast<index_t>(sizeof(T));
// A column of it.
template <class T>
struct SideOf {
  typedef T type __attribute__((vector_size(kSideBytes)));
};
template <class T>
using Side = typename SideOf<T>::type;

// Of the rows at `in`, `step` apart, row k and, with AVX2, beside it the one half a side further.
inline Side<float> two_rows(const float* in, index_t step, index_t k) {
#if defined(__AVX2__)
  const __m128 here = _mm_loadu_ps(in + k * step), there = _mm_loadu_ps(in + (k + kSide<float> / 2) * step);
  return (Side<float>)_mm256_insertf128_ps(_mm256_castps128_ps256(here), there, 1);
#else
  return load_as<Side<float>>(in + k * step);
#endif
}
inline Side<double> two_rows(const double* in, index_t step, index_t k) {
#if defined(__AVX2__)
  const __m128d here = _mm_loadu_pd(in + k * step), there = _mm_loadu_pd(in + (k + kSide<double> / 2) * step);
  return (Side<double>)_mm256_insertf128_pd(_mm256_castpd128_pd256(here), there, 1);
#else
  return load_as<Side<double>>(in + k * step);
#endif
}

// The columns of the small tile at `in`, whose rows are `step` apart.
inline void load_columns(const float* in, index_t step, Side<float> (&out)[4]) {
  typedef std::int32_t Pick __attribute__((vector_size(kSideBytes)));
#if defined(__AVX2__)
  const Pick low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
  const Pick left = {0, 1, 8, 9, 4, 5, 12, 13}, right = {2, 3, 10, 11, 6, 7, 14, 15};
#else
  const Pick low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
#endif
  const Side<float> r0 = two_rows(in, step, 0), r1 = two_rows(in, step, 1), r2 = two_rows(in, step, 2), r3 = two_rows(in, step, 3);
  const Side<float> a = __builtin_shuffle(r0, r1, low), b = __builtin_shuffle(r0, r1, high);
  const Side<float> c = __builtin_shuffle(r2, r3, low), d = __builtin_shuffle(r2, r3, high);
  out[0] = __builtin_shuffle(a, c, left);
  out[1] = __builtin_shuffle(a, c, right);
  out[2] = __builtin_shuffle(b, d, left);
  out[3] = __builtin_shuffle(b, d, right);
}
inline void load_columns(const double* in, index_t step, Side<double> (&out)[2]) {
  typedef std::int64_t Pick __attribute__((vector_size(kSideBytes)));
#if defined(__AVX2__)
  const Pick left = {0, 4, 2, 6}, right = {1, 5, 3, 7};
#else
  const Pick left = {0, 2}, right = {1, 3};
#endif
  const Side<double> r0 = two_rows(in, step, 0), r1 = two_rows(in, step, 1);
  out[0] = __builtin_shuffle(r0, r1, left);
  out[1] = __builtin_shuffle(r0, r1, right);
}

// Of a tile with as many rows as columns, a side of each.
template <class T>
inline void transpose_square(const T* in, T* out, index_t step) {
  LAYERWISE_UNROLL
  for (index_t j = 0; j < kSide<T>; j += kStrip<T>) {
    Side<T> column[kStrip<T>];
    load_columns(in + j, step, column);
    LAYERWISE_UNROLL
    for (index_t i = 0; i < kStrip<T>; ++i) store_as(out + (j + i) * kPanel, column[i]);
  }
}

// The squares of `rows` x `cols` numbers, both multiples of their side. `ahead`: where the next block begins, or null.
template <class T>
inline void transpose_squares(const T* w, index_t step, index_t rows, index_t cols, const T* ahead, T* out) {
  for (index_t i = 0; i < rows; i += kSide<T>) {
    for (index_t r = i; ahead != nullptr && r < i + kSide<T>; ++r) {
      for (index_t j = 0; j < kPanel; j += kLine<T>) __builtin_prefetch(ahead + r * step + j);
    }
    for (index_t j = 0; j < cols; j += kSide<T>) transpose_square(w + i * step + j, out + j * kPanel + i, step);
  }
}
// Of a row-major matrix the next block is fetched: its rows are more streams than the processor itself follows.
template <class T, bool kOfPanels>
inline void transpose_blocks(const T* w, index_t w_step, index_t row_step, index_t rows, index_t n, T* out) {
  const index_t step = kOfPanels ? kPanel : row_step;
  for (index_t p = 0; p < n; p += kPanel, w += w_step, out += kPanel * kPanel) {
    const index_t cols = n - p < kPanel ? n - p : kPanel;
    const T* ahead = kOfPanels ? nullptr : w + w_step;
    if (rows == kPanel && cols == kPanel) {
      transpose_squares(w, step, kPanel, kPanel, ahead, out);
      continue;
    }
    const index_t whole_rows = rows - rows % kSide<T>, whole_cols = cols - cols % kSide<T>;
    transpose_squares(w, step, whole_rows, whole_cols, ahead, out);
    for (index_t j = 0; j < cols; ++j) {  // what is left beside and below the squares, and 0 after the rows
      for (index_t i = j < whole_cols ? whole_rows : 0; i < rows; ++i) out[j * kPanel + i] = w[i * step + j];
      for (index_t i = rows; i < kPanel; ++i) out[j * kPanel + i] = 0;
    }
  }
}
template <class T>
void transpose(const T* w, index_t w_step, index_t row_step, index_t rows, index_t n, T* out) {
  if (row_step == kPanel) return transpose_blocks<T, true>(w, w_step, row_step, rows, n, out);
  transpose_blocks<T, false>(w, w_step, row_step, rows, n, out);
}

}  // namespace
}  // namespace layerwise
