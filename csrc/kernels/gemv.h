// Products with a single row: they read each weight once, so that memory sets their pace and not the multiply-adds.
#pragma once

#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

constexpr int kGroupMost = 4;  // panels of one call of gemv_t

// Panels at a time: as many chains as the registers hold.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kGemvPanels = 4;
#else
constexpr int kGemvPanels = 2;
#endif

// each(i) for the bits of the first n numbers, in order.
template <class Each>
inline void each_bit(std::uint32_t bits, index_t n, Each each) {
  if (bits == first_bits(n)) {
    for (index_t i = 0; i < n; ++i) each(i);
  } else {
    for (; bits != 0; bits &= bits - 1) each(static_cast<index_t>(__builtin_ctz(bits)));
  }
}

// Weights whose input is 0 are not read: they add nothing. (Of pictures most inputs are 0, of rectified units half.) Pairs are all read:
// few are 0 in both places, and adding 0 by the processor's rule for pairs may change a sum, of which it takes subnormal numbers as 0.
template <class T, class M, int kPanels>
void gemv_of(const T* x, index_t x_step, const T* w, index_t w_step, index_t rows, const T* init, T* out, index_t out_step) {
  Vec<T> sum[kPanels][kPanelVectors<T>];
  LAYERWISE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kPanelVectors<T>; ++v) sum[p][v] = load(init + p * kPanel + v * kLanes<T>);
  }
  for (index_t i0 = 0; i0 < rows; i0 += M::kRow, x += x_step, w += M::kRow * kPanel) {
    const index_t n = rows - i0 < M::kRow ? rows - i0 : M::kRow;
    each_bit(M::kRow == kPanel ? nonzero_of(x, n) : first_bits(n), n, [&](index_t i) {
      const Vec<T> left = M::left(x + i);
      const T* row = w + i * kPanel;
      LAYERWISE_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        LAYERWISE_UNROLL
        for (index_t v = 0; v < kPanelVectors<T>; ++v) sum[p][v] = M::add(left, load(row + p * w_step + v * kLanes<T>), sum[p][v]);
      }
    });
  }
  LAYERWISE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kPanelVectors<T>; ++v) store(out + p * out_step + v * kLanes<T>, sum[p][v]);
  }
}

template <class T, class M>
void gemv_any(const T* x, index_t x_step, const T* w, index_t w_step, index_t n_panels, index_t rows, const T* init, T* out,
              index_t out_step) {
  index_t p = 0;
  for (; p + kGemvPanels <= n_panels; p += kGemvPanels) {
    gemv_of<T, M, kGemvPanels>(x, x_step, w + p * w_step, w_step, rows, init + p * kPanel, out + p * out_step, out_step);
  }
  for (; p < n_panels; ++p) gemv_of<T, M, 1>(x, x_step, w + p * w_step, w_step, rows, init + p * kPanel, out + p * out_step, out_step);
}

template <class T>
void gemv(const T* x, index_t x_step, const T* w, index_t w_step, index_t n_panels, index_t rows, const T* init, T* out, index_t out_step) {
  gemv_any<T, ByNumbers<T>>(x, x_step, w, w_step, n_panels, rows, init, out, out_step);
}

// For each step of a tree over a vector's lanes, which lane each lane takes: the one half, a quarter, ... of the vector ahead.
template <class T>
struct LanesAhead {
  typename IntegerOf<T>::type pick[4][kLanes<T>] = {};
  constexpr LanesAhead() {
    for (index_t step = 0, half = kLanes<T> / 2; half > 0; ++step, half /= 2) {
      for (index_t c = 0; c < kLanes<T>; ++c) pick[step][c] = static_cast<typename IntegerOf<T>::type>((c + half) % kLanes<T>);
    }
  }
};
template <class T>
alignas(64) constexpr LanesAhead<T> kLanesAhead{};

// The sum of a panel's 32 columns: column c takes c + 16, then c + 8, and so on, whatever the vector's width.
template <class T>
inline T column_tree(Vec<T> (&chain)[kPanelVectors<T>]) {
  for (index_t n = kPanelVectors<T> / 2; n > 0; n /= 2) {
    for (index_t v = 0; v < n; ++v) chain[v] += chain[v + n];
  }
  Vec<T> sum = chain[0];
  for (index_t step = 0, half = kLanes<T> / 2; half > 0; ++step, half /= 2) {
    sum += __builtin_shuffle(sum, load(kLanesAhead<T>.pick[step]));
  }
  return sum[0];
}

// Panels of weights, and of the deltas that multiply them.
template <class T>
struct Weighted {
  const T* w;
  index_t w_step;
  const T* delta;
  index_t delta_step;
};

// Vectors of a panel's row in one turn: in float32 the deltas of kGroupMost panels stay in registers beside two chains; in float64, where
// twice as much has to come from memory, a row is worked on from end to end.
template <class T>
constexpr index_t kTurn = sizeof(T) == sizeof(float) ? 2 : kPanelVectors<T>;
template <class T>
constexpr bool kOneTurn = kTurn<T> == kPanelVectors<T>;
// So many rows take all their turns before the next rows begin: a line that two turns read is then still in the first-level cache.
template <class T>
constexpr index_t kTurnRows = kOneTurn<T> ? kPanel : 8;

// Continues chains[i][c] = sum_p w(row + i, p, c) * delta(p, c) by kPanels panels from `panel` on, for i < rows and kTurn vectors of
// columns c from `first` on; the first panel's begin at 0, and so do a whole group's (whose `panel` is 0). After each vector begin_row(row
// + i)(its place in w, its deltas) runs. Where that was all of a row, the sum of its chains is out[row + i]. (Inlined, so that what
// begin_row knows stays in registers.)
template <class T, int kPanels, class BeginRow>
__attribute__((always_inline)) inline void add_turn(const Weighted<T>& of, index_t n_panels, index_t panel, index_t first, index_t row,
                                                    index_t rows, T* chains, T* out, BeginRow begin_row) {
  Vec<T> right[kPanels][kTurn<T>];
  LAYERWISE_UNROLL
  for (int p = 0; p < kPanels; ++p) {
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kTurn<T>; ++v) right[p][v] = load(of.delta + (panel + p) * of.delta_step + first + v * kLanes<T>);
  }
  alignas(64) static constexpr T zeros[kPanel] = {};
  const T* before = panel == 0 ? zeros : chains + first;
  const index_t before_step = panel == 0 ? 0 : kPanel;
  for (index_t i = 0; i < rows; ++i, before += before_step) {
    const auto each_vector = begin_row(row + i);
    Vec<T> chain[kTurn<T>];
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kTurn<T>; ++v) chain[v] = kPanels == kGroupMost ? Vec<T>{} : load(before + v * kLanes<T>);
    LAYERWISE_UNROLL
    for (int p = 0; p < kPanels; ++p) {
      LAYERWISE_UNROLL
      for (index_t v = 0; v < kTurn<T>; ++v) {
        const index_t place = (panel + p) * of.w_step + (row + i) * kPanel + first + v * kLanes<T>;
        if (!kOneTurn<T> && (first + v * kLanes<T>) % kLine<T> == 0) __builtin_prefetch(of.w + place + kTurnRows<T> * kPanel, 1);
        chain[v] = fma(load(of.w + place), right[p][v], chain[v]);
        each_vector(place, right[p][v]);
      }
    }
    if constexpr (kOneTurn<T>) {
      if (panel + kPanels == n_panels) {
        out[row + i] = column_tree<T>(chain);
        continue;
      }
    }
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kTurn<T>; ++v) store(chains + i * kPanel + first + v * kLanes<T>, chain[v]);
  }
}

// Each row's sum, and what begin_row does on the way.
template <class T, class BeginRow>
__attribute__((always_inline)) inline void gemv_t_any(const Weighted<T>& of, index_t n_panels, index_t rows, T* out, BeginRow begin_row) {
  constexpr index_t kWidth = kTurn<T> * kLanes<T>;
  alignas(64) T chains[kTurnRows<T> * kPanel];
  for (index_t row = 0; row < rows; row += kTurnRows<T>) {
    const index_t n = rows - row < kTurnRows<T> ? rows - row : kTurnRows<T>;
    if (n_panels == kGroupMost) {
      for (index_t c = 0; c < kPanel; c += kWidth) add_turn<T, kGroupMost>(of, kGroupMost, 0, c, row, n, chains, out, begin_row);
    } else {
      for (index_t p = 0; p < n_panels; ++p) {
        for (index_t c = 0; c < kPanel; c += kWidth) add_turn<T, 1>(of, n_panels, p, c, row, n, chains, out, begin_row);
      }
    }
    for (index_t i = 0; i < n && !kOneTurn<T>; ++i) {
      Vec<T> chain[kPanelVectors<T>];
      LAYERWISE_UNROLL
      for (index_t v = 0; v < kPanelVectors<T>; ++v) chain[v] = load(chains + i * kPanel + v * kLanes<T>);
      out[row + i] = column_tree<T>(chain);
    }
  }
}

template <class T>
void gemv_t(const T* w, index_t w_step, index_t n_panels, index_t rows, const T* delta, index_t delta_step, T* out) {
  gemv_t_any<T>({w, w_step, delta, delta_step}, n_panels, rows, out, [](index_t) { return [](index_t, Vec<T>) {}; });
}

template <class T>
constexpr void fill_single_row(Kernels<T>& table) {
  table.gemv = gemv<T>;
  table.gemv_t = gemv_t<T>;
}

}  // namespace
}  // namespace layerwise
