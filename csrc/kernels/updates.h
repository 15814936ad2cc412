// The optimisers' steps over arrays: on a gradient that is given, and on one that a single row of the batch gives.
#pragma once

#include "kernels/gemm.h"
#include "kernels/gemv.h"
#include "kernels/optimizers.h"
#include "kernels/vmath.h"

namespace layerwise {
namespace {

// No part of the optimisers' loops, so that these need no more registers and there is one of it, not one for each optimiser.
template <class T>
__attribute__((noinline)) void shape(const T* g, const T* w, index_t rows, index_t cols, const GradientShape<T>& s, T* out) {
  const Vec<T> l1 = set(s.l1), l2 = set(s.l2), factor = set(s.factor);
  const T limit = s.limit;
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < cols; c += kLanes<T>) {
      const index_t i = r * kPanel + c;
      const Vec<T> weight = load(w + i), whole = fma(l2, weight, load(g + i) + sign_times<T>(weight, l1)) * factor;
      store(out + i, at_least<T>(at_most<T>(whole, limit), -limit));
    }
  }
}

// A step's first half at the vectors at i: moves the moments. Without kDecays l2 must be 0.
template <class T, class O, bool kDecays = true, class V = Vec<T>>
inline Change<V> begin_step(const T* w, T* m, T* v, index_t i, V g, const UpdateScalars<T>& s) {
  V first{}, second{};
  if constexpr (O::kFirst) first = load_as<V>(m + i);
  if constexpr (O::kSecond) second = load_as<V>(v + i);
  const Change<V> change = O::change(first, second, kDecays ? fma(set_as<V>(s.l2), load_as<V>(w + i), g) : g, s);
  if constexpr (O::kFirst) store_as(m + i, first);
  if constexpr (O::kSecond) store_as(v + i, second);
  return change;
}
// The second half: the weights as they are then.
template <class T, class O, class V>
inline V end_step(T* w, index_t i, const Change<V>& change, const UpdateScalars<T>& s) {
  const V weight = changed<T, O>(load_as<V>(w + i), change, s);
  store_as(w + i, weight);
  return weight;
}
// Both at once.
template <class T, class O, bool kDecays = true, class V = Vec<T>>
inline V update_vector(T* w, T* m, T* v, index_t i, V g, const UpdateScalars<T>& s) {
  return end_step<T, O>(w, i, begin_step<T, O, kDecays>(w, m, v, i, g, s), s);
}

// Fetches what comes `near` numbers later and, where `far` is not 0, into the second-level cache what comes `far` later; then the gradient
// is at hand.
template <class T, class O>
__attribute__((noinline)) void update_numbers(T* w, T* m, T* v, const T* g, index_t n, const UpdateScalars<T>& given, index_t near,
                                              index_t far) {
  const UpdateScalars<T> s = given;  // a copy: the compiler need not fear that a store changes it
  index_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) {
    if (kLanes<T> == kLine<T> || i % kLine<T> == 0) {
      __builtin_prefetch(w + i + near);
      if constexpr (O::kFirst) __builtin_prefetch(m + i + near);
      if constexpr (O::kSecond) __builtin_prefetch(v + i + near);
      if (far == 0) {
        __builtin_prefetch(g + i + near);
      } else {
        __builtin_prefetch(w + i + far, 0, 2);
        if constexpr (O::kFirst) __builtin_prefetch(m + i + far, 0, 2);
        if constexpr (O::kSecond) __builtin_prefetch(v + i + far, 0, 2);
      }
    }
    update_vector<T, O>(w, m, v, i, load(g + i), s);
  }
  if (i < n) {  // the last few numbers, by way of a whole vector each
    T lanes[3][kLanes<T>];
    const auto copy = [](T* to, const T* from, index_t k) {
      for (index_t j = 0; j < k; ++j) to[j] = from[j];
    };
    const index_t left = n - i;
    store(lanes[0], load_some<T>(w + i, left));
    if constexpr (O::kFirst) store(lanes[1], load_some<T>(m + i, left));
    if constexpr (O::kSecond) store(lanes[2], load_some<T>(v + i, left));
    update_vector<T, O>(lanes[0], lanes[1], lanes[2], 0, load_some(g + i, left), s);
    copy(w + i, lanes[0], left);
    if constexpr (O::kFirst) copy(m + i, lanes[1], left);
    if constexpr (O::kSecond) copy(v + i, lanes[2], left);
  }
}

template <class T, class O>
void update_all(T* w, T* m, T* v, const T* g, index_t n, const UpdateScalars<T>& s) {
  update_numbers<T, O>(w, m, v, g, n, s, kPanel * kPanel, 0);
}

// The steps of single rows have few operations to hide behind, so that plain SGD leaves out its decay where that is 0, which changes no
// bit of finite weights (in float32, where it is worth its code). Calls run(Constant<whether it decays>).
template <bool kValue>
struct Constant {
  static constexpr bool value = kValue;
};
template <class T, class O, class Run>
inline void with_decay(const UpdateScalars<T>& s, Run run) {
  if constexpr (!O::kFirst && !O::kSecond && sizeof(T) == sizeof(float)) {
    if (s.l2 == 0) return run(Constant<false>{});
  }
  run(Constant<true>{});
}

template <class T>
constexpr index_t kOuterVectors = sizeof(T) == sizeof(float) ? 4 : 2;  // of a panel's row, at most, at a time

// Plain SGD has loops of its own for one product and for two, and leaves weights out; others wait for memory all the same.
template <class T, class O, bool kDecays, bool kTwo>
inline void update_outer_of(T* w, T* m, T* v, index_t rows, const OuterProduct<T> (&products)[2], const NextRow<T>& next,
                            const UpdateScalars<T>& s) {
  constexpr index_t kVectors = kPanelVectors<T> < kOuterVectors<T> ? kPanelVectors<T> : kOuterVectors<T>;
  alignas(64) static constexpr T zeros[kPanel] = {};
  const bool two = kDecays ? products[1].x != nullptr : kTwo, reads_next = next.x != nullptr;
  for (index_t j = 0; j < kPanel; j += kVectors * kLanes<T>) {
    const T *x = products[0].x, *second_x = two ? products[1].x : zeros, *next_x = reads_next ? next.x : zeros;
    Vec<T> delta[kVectors], second[kVectors] = {}, sum[kVectors] = {};
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kVectors; ++c) {
      delta[c] = load(products[0].delta + j + c * kLanes<T>);
      if (two) second[c] = load(products[1].delta + j + c * kLanes<T>);
      if (reads_next) sum[c] = load(next.init + j + c * kLanes<T>);
    }
    for (index_t i0 = 0; i0 < rows; i0 += kPanel) {
      const index_t n = rows - i0 < kPanel ? rows - i0 : kPanel;
      const auto learn_row = [&](index_t i) {
        const Vec<T> left = set(x[i]), second_left = set(second_x[i]), next_left = set(next_x[i]);
        LAYERWISE_UNROLL
        for (index_t c = 0; c < kVectors; ++c) {
          Vec<T> g = fma(left, delta[c], Vec<T>{});
          if (two) g = fma(second_left, second[c], g);
          sum[c] = fma(next_left, update_vector<T, O, kDecays>(w, m, v, (i0 + i) * kPanel + j + c * kLanes<T>, g, s), sum[c]);
        }
      };
      if constexpr (kDecays || kTwo) {
        for (index_t i = 0; i < n; ++i) learn_row(i);
      } else {  // all but the weights that neither learn from this row nor are read by the next one
        each_bit(nonzero_of(x, n) | nonzero_of(next_x, n), n, learn_row);
      }
      x += products[0].x_step;
      if (two) second_x += products[1].x_step;
      if (reads_next) next_x += next.x_step;
    }
    if (!reads_next) continue;
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kVectors; ++c) store(next.out + j + c * kLanes<T>, sum[c]);
  }
}

template <class T, class O>
void update_outer(T* w, T* m, T* v, index_t rows, const OuterProduct<T> (&products)[2], const NextRow<T>& next,
                  const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;
  with_decay<T, O>(s, [&](auto decays) {
    if (decays.value || products[1].x == nullptr) {
      update_outer_of<T, O, decays.value, false>(w, m, v, rows, products, next, s);
    } else if constexpr (!decays.value) {
      update_outer_of<T, O, false, true>(w, m, v, rows, products, next, s);
    }
  });
}

template <class T, class O>
void gemv_t_update(T* w, T* m, T* v, index_t w_step, index_t n_panels, index_t rows, const T* x, index_t x_step, const T* delta,
                   index_t delta_step, T* out, const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;
  with_decay<T, O>(s, [&](auto decays) {
    for (index_t row = 0; row < rows; row += kPanel, x += x_step, out += kPanel) {
      const index_t n = rows - row < kPanel ? rows - row : kPanel, begin = row * kPanel;
      const T* const inputs = x;
      T *const weights = w + begin, *const first = O::kFirst ? m + begin : nullptr, *const second = O::kSecond ? v + begin : nullptr;
      gemv_t_any<T>({weights, w_step, delta, delta_step}, n_panels, n, out, [=](index_t i) {
        const Vec<T> left = set(inputs[i]);
        return [=](index_t place, Vec<T> right) {
          update_vector<T, O, decays.value>(weights, first, second, place, fma(left, right, Vec<T>{}), s);
        };
      });
    }
  });
}

// Calls each(step, kind) for every optimiser.
template <class T, class Each>
constexpr void for_each_optimizer(Each each) {
  each(Sgd<T>{}, OptimizerKind::sgd);
  each(Momentum<T>{}, OptimizerKind::momentum);
  each(Nesterov<T>{}, OptimizerKind::nesterov);
  each(Adagrad<T>{}, OptimizerKind::adagrad);
  each(RmsProp<T>{}, OptimizerKind::rmsprop);
  each(Adam<T>{}, OptimizerKind::adam);
  each(AdamW<T>{}, OptimizerKind::adamw);
}

}  // namespace
}  // namespace layerwise
