// Matrices turned over, in small squares that stay in registers.
#pragma once

#include "kernels/simd.h"

namespace layerwise {
namespace {

// Rows and columns of a square: 8 of float32 with AVX2, else as many as 16 bytes hold.
template <class T>
constexpr index_t kSide = 16 / static_cast<index_t>(sizeof(T));
#if defined(__AVX2__)
template <>
constexpr index_t kSide<float> = 8;
#endif
// A column of a square.
template <class T>
struct SideOf {
  typedef T type __attribute__((vector_size(kSide<T> * sizeof(T))));
};
template <class T>
using Side = typename SideOf<T>::type;

// The columns of the square at `in`, whose rows are `step` apart.
#if defined(__AVX2__)
inline void load_columns(const float* in, index_t step, Side<float> (&out)[8]) {
  typedef std::int32_t Pick __attribute__((vector_size(32)));
  // Four columns of row k, and beside them those of row k + 4.
  const auto pair = [=](index_t column, index_t k) {
    const float* p = in + column + k * step;
    return (Side<float>)_mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4 * step), 1);
  };
  const Pick low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
  const Pick left = {0, 1, 8, 9, 4, 5, 12, 13}, right = {2, 3, 10, 11, 6, 7, 14, 15};
  LAYERWISE_UNROLL
  for (index_t i = 0; i < 8; i += 4) {
    const Side<float> r0 = pair(i, 0), r1 = pair(i, 1), r2 = pair(i, 2), r3 = pair(i, 3);
    const Side<float> a = __builtin_shuffle(r0, r1, low), b = __builtin_shuffle(r0, r1, high);
    const Side<float> c = __builtin_shuffle(r2, r3, low), d = __builtin_shuffle(r2, r3, high);
    out[i] = __builtin_shuffle(a, c, left);
    out[i + 1] = __builtin_shuffle(a, c, right);
    out[i + 2] = __builtin_shuffle(b, d, left);
    out[i + 3] = __builtin_shuffle(b, d, right);
  }
}
#else
inline void load_columns(const float* in, index_t step, Side<float> (&out)[4]) {
  typedef std::int32_t Pick __attribute__((vector_size(16)));
  const auto row = [=](index_t k) { return load_as<Side<float>>(in + k * step); };
  const Side<float> r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
  const Pick low = {0, 4, 1, 5}, high = {2, 6, 3, 7}, left = {0, 1, 4, 5}, right = {2, 3, 6, 7};
  const Side<float> a = __builtin_shuffle(r0, r1, low), b = __builtin_shuffle(r0, r1, high);
  const Side<float> c = __builtin_shuffle(r2, r3, low), d = __builtin_shuffle(r2, r3, high);
  out[0] = __builtin_shuffle(a, c, left);
  out[1] = __builtin_shuffle(a, c, right);
  out[2] = __builtin_shuffle(b, d, left);
  out[3] = __builtin_shuffle(b, d, right);
}
#endif
inline void load_columns(const double* in, index_t step, Side<double> (&out)[2]) {
  typedef std::int64_t Pick __attribute__((vector_size(16)));
  const auto r0 = load_as<Side<double>>(in), r1 = load_as<Side<double>>(in + step);
  out[0] = __builtin_shuffle(r0, r1, Pick{0, 2});
  out[1] = __builtin_shuffle(r0, r1, Pick{1, 3});
}

template <class T>
inline void transpose_square(const T* in, T* out, index_t step) {
  Side<T> column[kSide<T>];
  load_columns(in, step, column);
  LAYERWISE_UNROLL
  for (index_t i = 0; i < kSide<T>; ++i) store_as(out + i * kPanel, column[i]);
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
