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

// The vectors at i, brought one step forward.
template <class T, class O>
inline void update_vector(T* w, T* m, T* v, index_t i, Vec<T> g, const UpdateScalars<T>& s) {
  Vec<T> weight = load<T>(w + i), first{}, second{};
  if constexpr (O::kFirst) first = load<T>(m + i);
  if constexpr (O::kSecond) second = load<T>(v + i);
  O::step(weight, first, second, fma(set(s.l2), weight, g), s);
  store(w + i, weight);
  if constexpr (O::kFirst) store(m + i, first);
  if constexpr (O::kSecond) store(v + i, second);
}

template <class T, class O>
void update_all(T* w, T* m, T* v, const T* g, index_t n, const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;  // a copy: the compiler need not fear that a store changes it
  index_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) update_vector<T, O>(w, m, v, i, load(g + i), s);
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
void update_outer(T* w, T* m, T* v, const T* x, const T* delta, index_t rows, const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;
  for (index_t r = 0; r < rows; ++r) {
    for (index_t j = 0; j < kPanel; j += kLanes<T>) {
      const index_t i = r * kPanel + j;
      update_vector<T, O>(w, m, v, i, fma(set(x[r]), load(delta + j), Vec<T>{}), s);
    }
  }
}

template <class T, class O>
constexpr void fill_optimizer(Kernels<T>& table, OptimizerKind kind) {
  table.update[static_cast<int>(kind)] = update_all<T, O>;
  table.update_outer[static_cast<int>(kind)] = update_outer<T, O>;
}

template <class T>
constexpr void fill_optimizers(Kernels<T>& table) {
  fill_optimizer<T, Sgd<T>>(table, OptimizerKind::sgd);
  fill_optimizer<T, Momentum<T>>(table, OptimizerKind::momentum);
  fill_optimizer<T, Nesterov<T>>(table, OptimizerKind::nesterov);
  fill_optimizer<T, Adagrad<T>>(table, OptimizerKind::adagrad);
  fill_optimizer<T, RmsProp<T>>(table, OptimizerKind::rmsprop);
  fill_optimizer<T, Adam<T>>(table, OptimizerKind::adam);
  fill_optimizer<T, AdamW<T>>(table, OptimizerKind::adamw);
}

}  // namespace
}  // namespace layerwise
