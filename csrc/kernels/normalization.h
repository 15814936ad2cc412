// Batch normalisation of `rows` rows of one panel: each column is a unit, and its numbers stand alone. Sums over rows are four chains, of
// the rows r with the same r % 4: an order that depends on the number of rows alone.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

constexpr index_t kRowChains = 4;

// Calls add(chain, r) for each row with the chain it belongs to, and returns the sum of the chains.
template <class T, class Add>
inline Vec<T> sum_of_rows(index_t rows, Add add) {
  Vec<T> chain[kRowChains] = {};
  index_t r = 0;
  for (; r + kRowChains <= rows; r += kRowChains) {
    LAYERWISE_UNROLL
    for (index_t k = 0; k < kRowChains; ++k) chain[k] = add(chain[k], r + k);
  }
  for (index_t k = 0; r + k < rows; ++k) chain[k] = add(chain[k], r + k);
  return (chain[0] + chain[1]) + (chain[2] + chain[3]);
}

template <class T>
void batch_moments(const T* x, const T* row_scale, index_t rows, T* mean, T* variance) {
  for (index_t c = 0; c < kPanel; c += kLanes<T>) {
    const auto at = [=](index_t r) { return load(x + r * kPanel + c); };
    const Vec<T> center = sum_of_rows<T>(rows, [=](Vec<T> sum, index_t r) { return fma(set(row_scale[r]), at(r), sum); });
    const Vec<T> spread = sum_of_rows<T>(rows, [=](Vec<T> sum, index_t r) {
      const Vec<T> off = at(r) - center;
      return fma(row_scale[r] * off, off, sum);
    });
    store(mean + c, center);
    store(variance + c, spread);
  }
}

template <class T>
inline Vec<T> inverse_deviation(const Normalization<T>& unit, index_t c) {
  return T(1) / sqrt(load(unit.variance + c) + unit.epsilon);
}

template <class T>
void normalize(const Normalization<T>& unit, index_t rows, T* x, T* y) {
  for (index_t c = 0; c < kPanel; c += kLanes<T>) {
    const Vec<T> mean = load(unit.mean + c), inverse = inverse_deviation(unit, c), scale = load(unit.scale + c),
                 shift = load(unit.shift + c);
    for (index_t i = c; i < rows * kPanel; i += kPanel) {
      const Vec<T> normal = (load(x + i) - mean) * inverse;
      store(x + i, normal);
      store(y + i, fma(scale, normal, shift));
    }
  }
}

template <class T>
void normalization_sums(const T* x, const T* g, index_t rows, T* by_shift, T* by_scale) {
  for (index_t c = 0; c < kPanel; c += kLanes<T>) {
    const auto at = [=](const T* p, index_t r) { return load(p + r * kPanel + c); };
    store(by_shift + c, sum_of_rows<T>(rows, [=](Vec<T> sum, index_t r) { return sum + at(g, r); }));
    store(by_scale + c, sum_of_rows<T>(rows, [=](Vec<T> sum, index_t r) { return fma(at(g, r), at(x, r), sum); }));
  }
}

template <class T>
void normalization_slope(const Normalization<T>& unit, const T* x, const T* row_scale, const T* by_shift, const T* by_scale, index_t rows,
                         T* g) {
  for (index_t c = 0; c < kPanel; c += kLanes<T>) {
    const Vec<T> factor = load(unit.scale + c) * inverse_deviation(unit, c), shift = load(by_shift + c), scale = load(by_scale + c);
    for (index_t r = 0, i = c; r < rows; ++r, i += kPanel) {
      store(g + i, factor * fma(set(-row_scale[r]), fma(load(x + i), scale, shift), load(static_cast<const T*>(g + i))));
    }
  }
}

template <class T>
constexpr void fill_normalization(Kernels<T>& table) {
  table.batch_moments = batch_moments<T>;
  table.normalize = normalize<T>;
  table.normalization_sums = normalization_sums<T>;
  table.normalization_slope = normalization_slope<T>;
}

}  // namespace
}  // namespace layerwise
