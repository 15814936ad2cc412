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

}  // namespace
}  // namespace layerwise
