// The optimisers' steps inside the product that makes their gradient.
#pragma once

#include "kernels/gemm.h"
#include "kernels/optimizers.h"
#include "kernels/updates.h"

namespace layerwise {
namespace {

// The weight gradient together with the step that uses it: the gradient never leaves the first-level cache. With AVX-512 the
// step of one tile runs inside the product of the next, whose multiply-adds hide its square roots and divisions; with 16 registers there is
// no room for both, and each block's step follows its product (docs/decisions/0002). Same bits.
#if defined(__AVX512F__)

// A tile of the gradient that is known and whose weights still wait for their step.
template <class T>
struct Waiting {
  const T* gradient = nullptr;  // its rows are kPanel apart, as those of w, m and v; null: nothing waits
  T *w, *m, *v;
  bool fetches;  // what comes kFusedAhead later is this thread's too: another's must not be taken from it
};

constexpr index_t kFusedVectors = 2;                      // of a tile's row
constexpr index_t kFusedAhead = 3 * kPanel * kPanel / 2;  // numbers: how far ahead the step's arrays are fetched

// Rows of a waiting tile that are stepped at a time. Where products leave zeros out, each turn ends a loop whose length is not foreseen.
template <class M>
constexpr index_t kTurnRowsOf = M::kSparse ? 2 : 1;

// The two halves of the step of a waiting tile's row.
template <class T, class M, class O>
inline void begin_row(const Waiting<T>& tile, index_t row, const UpdateScalars<T>& s,
                      Change<typename M::Vector> (&changes)[kFusedVectors]) {
  LAYERWISE_UNROLL
  for (index_t c = 0; c < kFusedVectors; ++c) {
    const index_t place = row * kPanel + c * kLanesOf<T, M>;
    if (tile.fetches) {
      __builtin_prefetch(tile.w + place + kFusedAhead, 1);
      if constexpr (O::kFirst) __builtin_prefetch(tile.m + place + kFusedAhead, 1);
      if constexpr (O::kSecond) __builtin_prefetch(tile.v + place + kFusedAhead, 1);
    }
    changes[c] = begin_step<T, O>(tile.w, tile.m, tile.v, place, load_as<typename M::Vector>(tile.gradient + place), s);
  }
}
template <class T, class M, class O>
inline void end_row(const Waiting<T>& tile, index_t row, const UpdateScalars<T>& s,
                    const Change<typename M::Vector> (&changes)[kFusedVectors]) {
  LAYERWISE_UNROLL
  for (index_t c = 0; c < kFusedVectors; ++c) end_step<T, O>(tile.w, row * kPanel + c * kLanesOf<T, M>, changes[c], s);
}

// Steps a waiting tile by its rows, with work() between the halves of each, so that no row's root or division is waited for.
template <class T, class M, class O, class Work>
inline void step_rows(const Waiting<T>& tile, const UpdateScalars<T>& s, Work work) {
#pragma GCC unroll 1
  for (index_t row = 0; row < kRowsOf<M>; row += kTurnRowsOf<M>) {
    Change<typename M::Vector> changes[kTurnRowsOf<M>][kFusedVectors];
    LAYERWISE_UNROLL
    for (index_t r = 0; r < kTurnRowsOf<M>; ++r) begin_row<T, M, O>(tile, row + r, s, changes[r]);
    work();
    LAYERWISE_UNROLL
    for (index_t r = 0; r < kTurnRowsOf<M>; ++r) end_row<T, M, O>(tile, row + r, s, changes[r]);
  }
}

// sum += a b over depth begin .. end - 1: a and b are one panel each, a's features are the tile's rows, the first of them `first`.
template <class T, class M, int kRows>
inline void add_products_of(typename M::Vector (&sum)[kRows][kFusedVectors], const GradientSource<T>& source, index_t first, index_t begin,
                            index_t end) {
  using V = typename M::Vector;
  const T *a = source.a + first, *b = source.b;
  const auto add = [&](index_t k) __attribute__((always_inline)) {
    V right[kFusedVectors];
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kFusedVectors; ++c) right[c] = load_as<V>(b + k * kPanel + c * kLanesOf<T, M>);
    LAYERWISE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const V left = M::left(a + k * kPanel + r);
      LAYERWISE_UNROLL
      for (index_t c = 0; c < kFusedVectors; ++c) sum[r][c] = M::add(left, right[c], sum[r][c]);
    }
  };
  if constexpr (M::kSparse) {
    for (index_t k0 = begin; k0 < end; k0 += kPanel) {
      std::uint32_t bits = words_with(source.nonzero.words + k0, end - k0 < kPanel ? end - k0 : kPanel, first, kRows);
      for (; bits != 0; bits &= bits - 1) add(k0 + __builtin_ctz(bits));
    }
  } else {
#pragma GCC unroll 2
    for (index_t k = begin; k < end; ++k) add(k);
  }
}

// gradient = the sum over both sources, of the features from `first` on, while the waiting tile is brought one step forward.
template <class T, class M, class O>
void fused_tile(const GradientSource<T> (&sources)[2], index_t first, const Waiting<T>& waiting, const UpdateScalars<T>& s, T* gradient) {
  constexpr int kRows = kRowsOf<M>;
  typename M::Vector sum[kRows][kFusedVectors];
  LAYERWISE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kFusedVectors; ++c) sum[r][c] = typename M::Vector{};
  }
  index_t done = 0;
  if (waiting.gradient != nullptr) {
    const index_t turn = sources[0].depth / (kRows / kTurnRowsOf<M>);
    step_rows<T, M, O>(waiting, s, [&] {
      add_products_of<T, M>(sum, sources[0], first, done, done + turn);
      done += turn;
    });
  }
  if constexpr (M::kSparse) {
    add_products_of<T, M>(sum, sources[0], first, done, sources[0].depth);
    LAYERWISE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      LAYERWISE_UNROLL
      for (index_t c = 0; c < kFusedVectors; ++c) sum[r][c] += typename M::Vector{};  // as gemm_t ends
    }
    add_products_of<T, ByNumbers<T>>(sum, sources[1], first, 0, sources[1].depth);
  } else {
#pragma GCC unroll 1
    for (const GradientSource<T>& source : sources) {  // what is left of the first, and the second
      add_products_of<T, M>(sum, source, first, done, source.depth);
      done = 0;
    }
  }
  LAYERWISE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kFusedVectors; ++c) store_as(gradient + r * kPanel + c * kLanesOf<T, M>, sum[r][c]);
  }
}

// A strip of columns, as wide as a tile, of at least one block.
template <class T, class M, class O>
void fused_strip(const GradientSource<T> (&sources)[2], index_t blocks, T* w, T* m, T* v, const UpdateScalars<T>& s) {
  constexpr index_t kRows = kRowsOf<M>;
  static_assert(kPanel % kRows == 0);
  alignas(64) T gradients[2][kRows * kPanel];
  Waiting<T> waiting{};
  for (index_t row = 0; row < blocks * kPanel; row += kRows) {
    const auto part_of = [&](const GradientSource<T>& source) {
      const index_t panel = row / kPanel;
      GradientSource<T> part{source.a + panel * source.a_step, source.a_step, source.b, source.depth, source.nonzero};
      if constexpr (M::kSparse) part.nonzero.words += panel * source.nonzero.step;
      return part;
    };
    const GradientSource<T> parts[2] = {part_of(sources[0]), part_of(sources[1])};
    T* gradient = gradients[row / kRows % 2];
    fused_tile<T, M, O>(parts, row % kPanel, waiting, s, gradient);
    const index_t place = row * kPanel;
    if (s.shape.any) shape<T>(gradient, w + place, kRows, kFusedVectors * kLanes<T>, s.shape, gradient);
    waiting = {gradient, w + place, O::kFirst ? m + place : nullptr, O::kSecond ? v + place : nullptr,
               place + kFusedAhead < blocks * kPanel * kPanel};
  }
  step_rows<T, M, O>(waiting, s, [] {});
}

template <class T, class M, class O>
void fused_inside(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v, const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;
  for (index_t j = 0; j < cols; j += kFusedVectors * kLanes<T>) {
    GradientSource<T> strip[2] = {sources[0], sources[1]};
    for (GradientSource<T>& source : strip) source.b += j;
    fused_strip<T, M, O>(strip, blocks, w + j, O::kFirst ? m + j : nullptr, O::kSecond ? v + j : nullptr, s);
  }
}

#endif

// The columns of a block that count; rows of the gradient are kPanel apart.
template <class T, class O, class V>
inline void step_columns(T* w, T* m, T* v, const T* gradient, index_t cols, const UpdateScalars<T>& s) {
  for (index_t r = 0; r < kPanel; ++r) {
    for (index_t c = 0; c < cols; c += sizeof(V) / sizeof(T)) {
      update_vector<T, O, true, V>(w, m, v, r * kPanel + c, load_as<V>(gradient + r * kPanel + c), s);
    }
  }
}
template <class T, class O>
void step_block(T* w, T* m, T* v, const T* gradient, index_t cols, const UpdateScalars<T>& s, index_t far) {
  using Few = FewColumns<T>;
  if (cols > kPanel / 2) return update_numbers<T, O>(w, m, v, gradient, kPanel * kPanel, s, 4 * kPanel, far);
  if (cols > kLanesOf<T, Few>) return step_columns<T, O, Vec<T>>(w, m, v, gradient, cols, s);
  step_columns<T, O, typename Few::Vector>(w, m, v, gradient, cols, s);
}

// The step as an argument: the same code for all optimisers.
template <class T>
__attribute__((noinline)) void fused_after(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v,
                                           const UpdateScalars<T>& s,
                                           void (*step)(T*, T*, T*, const T*, index_t, const UpdateScalars<T>&, index_t)) {
  constexpr index_t kBlock = kPanel * kPanel;
  alignas(64) static constexpr T zeros[kPanel] = {};
  alignas(64) T gradient[kBlock] = {};
  NonzeroBits nonzero = sources[0].nonzero;
  const auto next = [](T*& array) { array = array == nullptr ? nullptr : array + kBlock; };
  for (index_t block = 0; block < blocks; ++block, next(w), next(m), next(v)) {
    gemm_t(sources[0].a + block * sources[0].a_step, sources[0].b, kPanel, cols, sources[0].depth, zeros, 0, gradient, nonzero);
    if (nonzero.words != nullptr) nonzero.words += nonzero.step;
    if (sources[1].depth > 0) {
      gemm_t(sources[1].a + block * sources[1].a_step, sources[1].b, kPanel, cols, sources[1].depth, gradient, kPanel, gradient, {});
    }
    if (s.shape.any) shape<T>(gradient, w, kPanel, kPanel, s.shape, gradient);
    step(w, m, v, gradient, cols, s, block + 1 < blocks ? kBlock : 0);  // what comes after the last may be another thread's
  }
}

template <class T, class M, class O>
void fused_update(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v, const UpdateScalars<T>& s) {
#if defined(__AVX512F__)
  if constexpr (M::kRow == kPanel) {
    if (sources[0].nonzero.words != nullptr && cols > kDenseColumns)
      return fused_inside<T, ByNonzero<T>, O>(sources, blocks, cols, w, m, v, s);
  }
  // Not of few columns: a tile of one vector a row hides nothing. (Of pairs they are padding like the others.)
  if (cols > kLanes<T> || M::kRow < kPanel) return fused_inside<T, M, O>(sources, blocks, cols, w, m, v, s);
#endif
  fused_after<T>(sources, blocks, cols, w, m, v, s, step_block<T, O>);
}

template <class T>
constexpr void fill_optimizers(Kernels<T>& table) {
  table.shape = shape<T>;
  for_each_optimizer<T>([&](auto optimizer, OptimizerKind kind) {
    using O = decltype(optimizer);
    const int k = static_cast<int>(kind);
    table.update[k] = update_all<T, O>;
    table.update_outer[k] = update_outer<T, O>;
    table.gemv_t_update[k] = gemv_t_update<T, O>;
    table.fused_update[k] = fused_update<T, ByNumbers<T>, O>;
  });
}

}  // namespace
}  // namespace layerwise
