// The one product everything is made of: a register tile of accumulators, each a chain of fused multiply-adds in depth order.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

// Rows of the register tile, of two vectors each. Eight fill the pipeline, and more are more loops to compile and no faster (on Zen 4); 16
// registers hold six. Rows of the wide tile, of four vectors: three have as many sums as six of two, from fewer loads, and of float32 read
// b's panel from end to end and each number of a once; two are for products of no more rows. And how deep a product is at a time: a strip
// of b stays in the first-level cache for all rows.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileRows = 8, kWideRows = 2, kSparseRows = 4;
constexpr index_t kDepth = kDepthBlock;
#elif defined(__AVX2__)
constexpr int kTileRows = 6, kWideRows = 3, kSparseRows = 6;
constexpr index_t kDepth = kDepthBlock / 2;
#else  // without a fused multiply-add each product needs a register of its own, for which three rows leave none
constexpr int kTileRows = 6, kWideRows = 2, kSparseRows = 6;
constexpr index_t kDepth = kDepthBlock / 2;
#endif
static_assert(kDepth % kPanel == 0 && kDepth <= kDepthBlock);
// How deep a product that leaves zeros out is at a time, at most.
constexpr index_t kSparseDepth = 512;
static_assert(kDepthBlock <= kSparseDepth);

// How a tile's sums grow: by the product of two numbers, or (kernels/bfloat16.cpp) of two pairs. kRow: numbers of a panel's row, along the
// depth of `a`.
template <class T, class V = Vec<T>>
struct ByNumbers {
  using Vector = V;
  static constexpr index_t kRow = kPanel;
  static constexpr bool kSparse = false;
  static V left(const T* a) { return set_as<V>(*a); }
  static V add(V left, V right, V sum) { return fma(left, right, sum); }
};
// By those products alone in which not all numbers of the tile's rows are 0.
template <class T>
struct ByNonzero : ByNumbers<T> {
  static constexpr bool kSparse = true;
};
template <class M>
constexpr int kRowsOf = M::kSparse ? kSparseRows : kTileRows;
template <class T, class M>
constexpr index_t kLanesOf = sizeof(typename M::Vector) / sizeof(T);

template <class T>
constexpr int kWideVectors = kPanelVectors<T> < 4 ? static_cast<int>(kPanelVectors<T>) : 4;
// Whether the wide tile is for any number of rows: not with fewer sums than the other.
template <class T>
constexpr bool kAnyRowsWide = kWideRows * kWideVectors<T> >= kTileRows * 2;

// For panels of few columns, as the outputs of most networks for tables are: narrow vectors, in float32, where they are worth their code.
template <class T>
struct FewColumnsOf {
  using type = ByNumbers<T>;
};
template <>
struct FewColumnsOf<float> {
  using type = ByNumbers<float, Narrow<float>>;
};
template <class T>
using FewColumns = typename FewColumnsOf<T>::type;

constexpr std::uint32_t first_bits(index_t n) { return n == kPanel ? ~std::uint32_t{0} : (std::uint32_t{1} << n) - 1; }

// A bit for each of the first n <= 32 words that has one of the bits first .. first + rows - 1. (32 words are read.)
inline std::uint32_t words_with(const std::uint32_t* words, index_t n, index_t first, index_t rows) {
  std::uint32_t bits = 0;
  for (index_t i = 0; i < kPanel; i += kLanes<float>) bits |= lanes_with(first_bits(rows) << first, words + i) << i;
  return bits & first_bits(n);
}
// The bits of all of the words.
inline std::uint32_t any_of(const std::uint32_t* words, index_t n) {
  std::uint32_t bits = 0;
  for (index_t i = 0; i < n; ++i) bits |= words[i];
  return bits;
}

// What a tile needs besides its operands: its part of what is fetched ahead, so many cache lines for each panel of the depth; and, where
// zeros are left out, what is not: a bit for each step of the depth, and a word for each 32. Handed on by reference: a copy is written in
// words and read as a vector, for which the processor waits until the words and all stores before them have left its queue.
template <class T>
struct Aside {
  const T* lines;
  index_t count, step;
  std::uint32_t used[kSparseDepth / kPanel];
};

// For `rows` rows from `row` on.
template <bool kByColumn>
inline void find_used(const NonzeroBits& nonzero, index_t row, index_t rows, index_t depth, std::uint32_t* used) {
  for (index_t k = 0; k < depth; k += kPanel, ++used) {
    const index_t n = depth - k < kPanel ? depth - k : kPanel;
    if constexpr (kByColumn) {
      *used = words_with(nonzero.words + k, n, row, rows);
    } else {
      *used = any_of(nonzero.words + k / kPanel * nonzero.step + row, rows) & first_bits(n);
    }
  }
}

// sum[r][v] += left(r) * right(v). Of what there are fewer of, all are kept in registers beside the sums; of the others, one at a time.
template <class M, int kRows, int kVectors, class V, class Left, class Right>
inline void add_outer(V (&sum)[kRows][kVectors], Left left, Right right) {
  if constexpr (kRows < kVectors) {
    V lefts[kRows];
    LAYERWISE_UNROLL
    for (int r = 0; r < kRows; ++r) lefts[r] = left(r);
    LAYERWISE_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      const V one = right(v);
      LAYERWISE_UNROLL
      for (int r = 0; r < kRows; ++r) sum[r][v] = M::add(lefts[r], one, sum[r][v]);
    }
  } else {
    V rights[kVectors];
    LAYERWISE_UNROLL
    for (int v = 0; v < kVectors; ++v) rights[v] = right(v);
    LAYERWISE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V one = left(r);
      LAYERWISE_UNROLL
      for (int v = 0; v < kVectors; ++v) sum[r][v] = M::add(one, rights[v], sum[r][v]);
    }
  }
}

// c = init + a b for kRows rows and kVectors vectors of columns. kByColumn: a(r, k) = a[k * 32 + r], else panels of rows. (No part of the
// loops over tiles, before which GCC would fetch the 0 that a sparse one ends with: with 16 registers a sum would lose its own.)
template <class T, class M, bool kByColumn, int kRows, int kVectors>
__attribute__((noinline)) void gemm_tile(const T* a, index_t a_step, const T* b, index_t depth, const T* init, index_t init_step, T* c,
                                         const Aside<T>& aside) {
  using V = typename M::Vector;
  const index_t lines = aside.count, ahead_step = aside.step;
  const T* ahead = aside.lines;
  V sum[kRows][kVectors];
  LAYERWISE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LAYERWISE_UNROLL
    for (int v = 0; v < kVectors; ++v) sum[r][v] = load_as<V>(init + r * init_step + v * kLanesOf<T, M>);
  }
  for (index_t k0 = 0; k0 < depth; k0 += M::kRow, a += kByColumn ? M::kRow * kPanel : a_step) {
    const index_t n = depth - k0 < M::kRow ? depth - k0 : M::kRow;
    for (index_t i = 0; i < lines; ++i) __builtin_prefetch(ahead + i * kLine<T>, 0, 2);
    ahead += ahead_step;
    if constexpr (!kByColumn) {
      for (index_t i = 0; i < kRows * M::kRow / kLine<T>; ++i) __builtin_prefetch(a + a_step + i * kLine<T>);
    }
    const auto add = [&](index_t k, const T* row) {
      add_outer<M>(
          sum, [&](int r) { return M::left(a + (kByColumn ? k * kPanel + r : r * M::kRow + k)); },
          [&](int v) { return load_as<V>(row + v * kLanesOf<T, M>); });
    };
    if constexpr (M::kSparse) {
      for (std::uint32_t bits = aside.used[k0 / kPanel]; bits != 0; bits &= bits - 1) {
        const index_t k = __builtin_ctz(bits);
        add(k, b + k * kPanel);
      }
      b += n * kPanel;
    } else {
#pragma GCC unroll 2
      for (index_t k = 0; k < n; ++k, b += kPanel) add(k, b);
    }
  }
  LAYERWISE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LAYERWISE_UNROLL
    for (int v = 0; v < kVectors; ++v) store_as(c + r * kPanel + v * kLanesOf<T, M>, M::kSparse ? sum[r][v] + V{} : sum[r][v]);
  }
}

// Calls the tile with a number of rows known only at run time.
template <class T, class M, bool kByColumn, int kVectors, int kRows>
void gemm_rows(index_t rows, const T* a, index_t a_step, const T* b, index_t depth, const T* init, index_t init_step, T* c,
               const Aside<T>& aside) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      gemm_tile<T, M, kByColumn, kRows, kVectors>(a, a_step, b, depth, init, init_step, c, aside);
    } else {
      gemm_rows<T, M, kByColumn, kVectors, kRows - 1>(rows, a, a_step, b, depth, init, init_step, c, aside);
    }
  }
}

// Columns in strips of kVectors vectors, rows in even tiles (100 rows are 15 tiles of 6 and 2 of 5, not 16 of 6 and one of 4).
template <class T, class M, bool kByColumn, int kVectors, int kMaxRows>
void gemm_strips(const T* a, index_t a_step, const T* b, index_t rows, index_t cols, index_t depth, const T* init, index_t init_step, T* c,
                 const Ahead<T>& ahead, const NonzeroBits& nonzero) {
  constexpr index_t kWidth = kVectors * kLanesOf<T, M>;
  const index_t tiles = (rows + kMaxRows - 1) / kMaxRows, height = rows / tiles, higher = rows % tiles;
  constexpr index_t kLines = kPanel * kPanel / kLine<T>;  // of a block that is fetched ahead
  const index_t all = tiles * ((cols + kWidth - 1) / kWidth), lines = (kLines + all - 1) / all;
  index_t left = ahead.block == nullptr ? 0 : kLines;
  Aside<T> aside;
  aside.lines = ahead.block;
  aside.count = 0;
  aside.step = ahead.step;
  for (index_t j = 0; j < cols; j += kWidth) {
    for (index_t t = 0, r = 0, n; t < tiles; ++t, r += n) {
      n = height + (t < higher ? 1 : 0);
      aside.lines += aside.count * kLine<T>;
      aside.count = left < lines ? left : lines;
      left -= aside.count;
      if constexpr (M::kSparse) find_used<kByColumn>(nonzero, r, n, depth, aside.used);
      gemm_rows<T, M, kByColumn, kVectors, kMaxRows>(n, a + (kByColumn ? r : r * M::kRow), a_step, b + j, depth, init + r * init_step + j,
                                                     init_step, c + r * kPanel + j, aside);
    }
  }
}

template <class T, class M, bool kByColumn>
void gemm_any(const T* a, index_t a_step, const T* b, index_t rows, index_t cols, index_t depth, const T* init, index_t init_step, T* c,
              const Ahead<T>& ahead, const NonzeroBits& nonzero = {nullptr, 0}) {
  if constexpr (kLanesOf<T, FewColumns<T>> < kLanes<T> && M::kRow == kPanel && !M::kSparse) {
    if (cols <= kLanesOf<T, FewColumns<T>>) {
      return gemm_strips<T, FewColumns<T>, kByColumn, 1, kTileRows>(a, a_step, b, rows, cols, depth, init, init_step, c, ahead, nonzero);
    }
  }
  if constexpr (!M::kSparse) {
    if (cols <= kLanes<T>) {
      return gemm_strips<T, M, kByColumn, 1, kTileRows>(a, a_step, b, rows, cols, depth, init, init_step, c, ahead, nonzero);
    }
  }
  // A wide strip is worth it where it adds no padding, or where rows of two vectors are too few chains to fill the pipeline.
  const index_t pairs = (cols + 2 * kLanes<T> - 1) / (2 * kLanes<T>);
  if (pairs > 1 && (rows <= kWideRows || (kAnyRowsWide<T> && pairs % 2 == 0))) {
    gemm_strips<T, M, kByColumn, kWideVectors<T>, kWideRows>(a, a_step, b, rows, cols, depth, init, init_step, c, ahead, nonzero);
  } else {
    gemm_strips<T, M, kByColumn, 2, kRowsOf<M>>(a, a_step, b, rows, cols, depth, init, init_step, c, ahead, nonzero);
  }
}

// Panels of up to so many columns count all numbers of a, so that tiles without the others need not be made for every width.
constexpr index_t kDenseColumns = kPanel / 2;

template <class T>
void gemm(const T* a, index_t a_step, const T* b, index_t rows, index_t cols, index_t depth, const T* init, index_t init_step, T* c,
          const Ahead<T>& ahead, const NonzeroBits& nonzero) {
  if (nonzero.words != nullptr && cols > kDenseColumns) {
    gemm_any<T, ByNonzero<T>, false>(a, a_step, b, rows, cols, depth, init, init_step, c, ahead, nonzero);
  } else {
    gemm_any<T, ByNumbers<T>, false>(a, a_step, b, rows, cols, depth, init, init_step, c, ahead);
  }
}

template <class T>
void gemm_t(const T* a, const T* b, index_t rows, index_t cols, index_t depth, const T* init, index_t init_step, T* c,
            const NonzeroBits& nonzero) {
  if (nonzero.words == nullptr || cols <= kDenseColumns) {
    return gemm_any<T, ByNumbers<T>, true>(a, 0, b, rows, cols, depth, init, init_step, c, {nullptr, 0});
  }
  for (index_t k = 0; k < depth; k += kSparseDepth, init = c, init_step = kPanel) {
    const index_t n = depth - k < kSparseDepth ? depth - k : kSparseDepth;
    const NonzeroBits part{nonzero.words + k, nonzero.step};
    gemm_any<T, ByNonzero<T>, true>(a + k * kPanel, 0, b + k * kPanel, rows, cols, n, init, init_step, c, {nullptr, 0}, part);
  }
}

// A bit for each of the first n numbers of a panel's row that are not 0.
template <class T>
inline std::uint32_t nonzero_of(const T* x, index_t n) {
  std::uint32_t bits = 0;
  for (index_t v = 0; v < kPanelVectors<T>; ++v) bits |= nonzero(load(x + v * kLanes<T>)) << (v * kLanes<T>);
  return bits & first_bits(n);
}

template <class T>
void nonzero_bits(const T* x, index_t x_step, index_t cols, std::uint32_t* words, index_t words_step) {
  for (; cols > 0; cols -= kPanel, x += x_step, words += words_step) *words = nonzero_of(x, cols < kPanel ? cols : kPanel);
}

template <class T>
void column_sums(const T* x, index_t rows, T* sums) {
  Vec<T> sum[kPanelVectors<T>];  // side by side, so that one chain need not wait for another's end
  LAYERWISE_UNROLL
  for (index_t v = 0; v < kPanelVectors<T>; ++v) sum[v] = load(sums + v * kLanes<T>);
  for (index_t r = 0; r < rows; ++r, x += kPanel) {
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kPanelVectors<T>; ++v) sum[v] += load(x + v * kLanes<T>);
  }
  LAYERWISE_UNROLL
  for (index_t v = 0; v < kPanelVectors<T>; ++v) store(sums + v * kLanes<T>, sum[v]);
}

template <class T>
constexpr void fill_products(Kernels<T>& k) {
  k.tile_rows = kAnyRowsWide<T> ? kWideRows : kTileRows;
  k.depth_block = kDepth;
  k.gemm = gemm<T>;
  k.gemm_t = gemm_t<T>;
  k.nonzero_bits = nonzero_bits<T>;
  k.column_sums = column_sums<T>;
}

}  // namespace
}  // namespace layerwise
