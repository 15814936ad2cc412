// One step of each optimiser. Formulas and papers: docs/numerics.md. Square roots and divisions are the IEEE ones.
#pragma once

#include "kernels/kernels.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

// What is divided by: sqrt(v) + epsilon, or sqrt(v + epsilon).
template <class V, class T>
inline V root(V v, const UpdateScalars<T>& s) {
  return s.epsilon_inside ? sqrt(v + s.epsilon) : sqrt(v) + s.epsilon;
}
// average <- decay * average + rest * x, rest being 1 - decay
template <class V, class T>
inline V averaged(V average, V x, T decay, T rest) {
  return fma(set_as<V>(decay), average, rest * x);
}

// What a step takes off a weight: the numerator, divided by the divisor where there is a second moment. A step in two halves, `change`
// and `changed`, so that other work can run while the square root and the division are on their way.
template <class V>
struct Change {
  V numerator, divisor{};
};

template <class T>
struct Sgd {
  static constexpr bool kFirst = false, kSecond = false;
  template <class V>
  static Change<V> change(V&, V&, V g, const UpdateScalars<T>& s) {
    return {s.rate * g};
  }
};
// The rate is inside the velocity (Polyak 1964; Sutskever 2013), so that a changed rate leaves the velocity's past alone.
template <class T>
struct Momentum {
  static constexpr bool kFirst = true, kSecond = false;
  template <class V>
  static Change<V> change(V& m, V&, V g, const UpdateScalars<T>& s) {
    m = fma(set_as<V>(s.momentum), m, s.rate * g);
    return {m};
  }
};
// Sutskever 2013, with w standing at the point that looks ahead.
template <class T>
struct Nesterov {
  static constexpr bool kFirst = true, kSecond = false;
  template <class V>
  static Change<V> change(V& m, V&, V g, const UpdateScalars<T>& s) {
    m = fma(set_as<V>(s.momentum), m, s.rate * g);
    return {fma(set_as<V>(s.momentum), m, s.rate * g)};
  }
};
template <class T>
struct Adagrad {
  static constexpr bool kFirst = false, kSecond = true;
  template <class V>
  static Change<V> change(V&, V& v, V g, const UpdateScalars<T>& s) {
    v = fma(g, g, v);
    return {s.rate * g, root(v, s)};
  }
};
template <class T>
struct RmsProp {
  static constexpr bool kFirst = false, kSecond = true;
  template <class V>
  static Change<V> change(V&, V& v, V g, const UpdateScalars<T>& s) {
    v = averaged(v, g * g, s.decay, s.decay_rest);
    return {s.rate * g, root(v, s)};
  }
};
template <class T>
struct Adam {
  static constexpr bool kFirst = true, kSecond = true;
  template <class V>
  static Change<V> change(V& m, V& v, V g, const UpdateScalars<T>& s) {
    m = averaged(m, g, s.momentum, s.momentum_rest);
    v = averaged(v, g * g, s.decay, s.decay_rest);
    return {s.rate * (m * s.first_correction), root(v * s.second_correction, s)};
  }
};
// Loshchilov and Hutter 2019: the decay is no part of the gradient; the weight decays before it is changed.
template <class T>
struct AdamW : Adam<T> {};
template <class T, class O>
constexpr bool kDecaysApart = false;
template <class T>
constexpr bool kDecaysApart<T, AdamW<T>> = true;

// The weight after the step.
template <class T, class O, class V>
inline V changed(V w, const Change<V>& change, const UpdateScalars<T>& s) {
  if constexpr (kDecaysApart<T, O>) w = fma(set_as<V>(-(s.rate * s.weight_decay)), w, w);
  if constexpr (O::kSecond) return w - change.numerator / change.divisor;
  return w - change.numerator;
}

}  // namespace
}  // namespace layerwise
