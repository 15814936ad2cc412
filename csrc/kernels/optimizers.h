// One step of each optimiser. Formulas and papers: docs/numerics.md. Square roots and divisions are the IEEE ones.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

// What is divided by: sqrt(v) + epsilon, or sqrt(v + epsilon).
template <class T>
inline Vec<T> root(Vec<T> v, const UpdateScalars<T>& s) {
  return s.epsilon_inside ? sqrt(v + s.epsilon) : sqrt(v) + s.epsilon;
}
// average <- decay * average + (1 - decay) * x
template <class T>
inline Vec<T> averaged(Vec<T> average, Vec<T> x, T decay) {
  return fma(set(decay), average, (T(1) - decay) * x);
}

template <class T>
struct Sgd {
  static constexpr bool kFirst = false, kSecond = false;
  static void step(Vec<T>& w, Vec<T>&, Vec<T>&, Vec<T> g, const UpdateScalars<T>& s) { w -= s.rate * g; }
};
// The rate is inside the velocity (Polyak 1964; Sutskever 2013), so that a changed rate leaves the velocity's past alone.
template <class T>
struct Momentum {
  static constexpr bool kFirst = true, kSecond = false;
  static void step(Vec<T>& w, Vec<T>& m, Vec<T>&, Vec<T> g, const UpdateScalars<T>& s) {
    m = fma(set(s.momentum), m, s.rate * g);
    w -= m;
  }
};
// Sutskever 2013, with w standing at the point that looks ahead.
template <class T>
struct Nesterov {
  static constexpr bool kFirst = true, kSecond = false;
  static void step(Vec<T>& w, Vec<T>& m, Vec<T>&, Vec<T> g, const UpdateScalars<T>& s) {
    m = fma(set(s.momentum), m, s.rate * g);
    w -= fma(set(s.momentum), m, s.rate * g);
  }
};
template <class T>
struct Adagrad {
  static constexpr bool kFirst = false, kSecond = true;
  static void step(Vec<T>& w, Vec<T>&, Vec<T>& v, Vec<T> g, const UpdateScalars<T>& s) {
    v = fma(g, g, v);
    w -= s.rate * g / root<T>(v, s);
  }
};
template <class T>
struct RmsProp {
  static constexpr bool kFirst = false, kSecond = true;
  static void step(Vec<T>& w, Vec<T>&, Vec<T>& v, Vec<T> g, const UpdateScalars<T>& s) {
    v = averaged<T>(v, g * g, s.decay);
    w -= s.rate * g / root<T>(v, s);
  }
};
template <class T>
struct Adam {
  static constexpr bool kFirst = true, kSecond = true;
  static void step(Vec<T>& w, Vec<T>& m, Vec<T>& v, Vec<T> g, const UpdateScalars<T>& s) {
    m = averaged<T>(m, g, s.momentum);
    v = averaged<T>(v, g * g, s.decay);
    w -= s.rate * (m * s.first_correction) / root<T>(v * s.second_correction, s);
  }
};
// Loshchilov and Hutter 2019: the decay is no part of the gradient.
template <class T>
struct AdamW {
  static constexpr bool kFirst = true, kSecond = true;
  static void step(Vec<T>& w, Vec<T>& m, Vec<T>& v, Vec<T> g, const UpdateScalars<T>& s) {
    w = fma(set(-(s.rate * s.weight_decay)), w, w);
    Adam<T>::step(w, m, v, g, s);
  }
};

// As each() of simd.h, for the up to three arrays a step changes.
template <class T, class O>
void update_all(T* w, T* m, T* v, const T* g, index_t n, const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;  // a copy: the compiler need not fear that a store changes it
  auto step_at = [&s](Vec<T>& weight, Vec<T>& first, Vec<T>& second, Vec<T> gradient) {
    O::step(weight, first, second, fma(set(s.l2), weight, gradient), s);
  };
  index_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) {
    Vec<T> weight = load<T>(w + i), first{}, second{};
    if constexpr (O::kFirst) first = load<T>(m + i);
    if constexpr (O::kSecond) second = load<T>(v + i);
    step_at(weight, first, second, load(g + i));
    store(w + i, weight);
    if constexpr (O::kFirst) store(m + i, first);
    if constexpr (O::kSecond) store(v + i, second);
  }
  if (i < n) {
    const index_t left = n - i;
    Vec<T> weight = load_some<T>(w + i, left), first{}, second{};
    if constexpr (O::kFirst) first = load_some<T>(m + i, left);
    if constexpr (O::kSecond) second = load_some<T>(v + i, left);
    step_at(weight, first, second, load_some(g + i, left));
    store_some(w + i, weight, left);
    if constexpr (O::kFirst) store_some(m + i, first, left);
    if constexpr (O::kSecond) store_some(v + i, second, left);
  }
}

template <class T>
constexpr void fill_optimizers(Kernels<T>& table) {
  table.update[static_cast<int>(OptimizerKind::sgd)] = update_all<T, Sgd<T>>;
  table.update[static_cast<int>(OptimizerKind::momentum)] = update_all<T, Momentum<T>>;
  table.update[static_cast<int>(OptimizerKind::nesterov)] = update_all<T, Nesterov<T>>;
  table.update[static_cast<int>(OptimizerKind::adagrad)] = update_all<T, Adagrad<T>>;
  table.update[static_cast<int>(OptimizerKind::rmsprop)] = update_all<T, RmsProp<T>>;
  table.update[static_cast<int>(OptimizerKind::adam)] = update_all<T, Adam<T>>;
  table.update[static_cast<int>(OptimizerKind::adamw)] = update_all<T, AdamW<T>>;
}

}  // namespace
}  // namespace layerwise
