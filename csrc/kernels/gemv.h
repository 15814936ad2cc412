// Products with a single row: they read each weight once, so that memory sets their pace and not the multiply-adds.
#pragma once

#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

constexpr std::uint32_t first_bits(index_t n) { return n == kPanel ? ~std::uint32_t{0} : (std::uint32_t{1} << n) - 1; }

constexpr int kGroupMost = 4;  // panels of one call of gemv_t

// Panels at a time: as many chains as the registers hold.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kGemvPanels = 4;
#else
constexpr int kGemvPanels = 2;
#endif

// A bit for each of the first n numbers of a panel's row that are not 0; and each(i) for the bits, in order.
template <class T>
inline std::uint32_t nonzero_of(const T* x, index_t n) {
  std::uint32_t bits = 0;
  for (index_t v = 0; v < kPanelVectors<T>; ++v) bits |= nonzero(load(x + v * kLanes<T>)) << (v * kLanes<T>);
  return bits & first_bits(n);
}
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

// Each row's sum, and what `each_vector` does with its vectors: (row, place of the vector in w, its deltas). kPanels 0: a number of panels
// known only at run time.
template <class T, int kPanels, class EachVector>
inline void gemv_t_of(const T* w, index_t w_step, index_t n_panels, index_t rows, const T* delta, index_t delta_step, T* out,
                      EachVector each_vector) {
  Vec<T> right[kPanels > 0 ? kPanels : kGroupMost][kPanelVectors<T>];
  for (index_t p = 0; p < n_panels; ++p) {
    LAYERWISE_UNROLL
    for (index_t v = 0; v < kPanelVectors<T>; ++v) right[p][v] = load(delta + p * delta_step + v * kLanes<T>);
  }
  for (index_t i = 0; i < rows; ++i) {
    Vec<T> chain[kPanelVectors<T>] = {};
    for (index_t p = 0; p < (kPanels > 0 ? kPanels : n_panels); ++p) {
      LAYERWISE_UNROLL
      for (index_t v = 0; v < kPanelVectors<T>; ++v) {
        const index_t place = p * w_step + i * kPanel + v * kLanes<T>;
        chain[v] = fma(load(w + place), right[p][v], chain[v]);
        each_vector(i, place, right[p][v]);
      }
    }
    out[i] = column_tree<T>(chain);
  }
}

// Four panels have a loop of their own where their deltas fit into the registers.
template <class T, class EachVector>
inline void gemv_t_any(const T* w, index_t w_step, index_t n_panels, index_t rows, const T* delta, index_t delta_step, T* out,
                       EachVector each_vector) {
  if constexpr (kGroupMost * kPanelVectors<T> <= 8) {
    if (n_panels == kGroupMost) return gemv_t_of<T, kGroupMost>(w, w_step, n_panels, rows, delta, delta_step, out, each_vector);
  }
  gemv_t_of<T, 0>(w, w_step, n_panels, rows, delta, delta_step, out, each_vector);
}

template <class T>
void gemv_t(const T* w, index_t w_step, index_t n_panels, index_t rows, const T* delta, index_t delta_step, T* out) {
  gemv_t_any<T>(w, w_step, n_panels, rows, delta, delta_step, out, [](index_t, index_t, Vec<T>) {});
}

template <class T>
constexpr void fill_single_row(Kernels<T>& table) {
  table.gemv = gemv<T>;
  table.gemv_t = gemv_t<T>;
}

}  // namespace
}  // namespace layerwise
