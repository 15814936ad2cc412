// The activations: a = f(z), the slope f' and, where it can be learned, the derivative by the parameter.
//
// One struct each; the formulas and their sources are in docs/numerics.md. `x` of slope() is z where catalog.cpp's
// needs_input says so and a = f(z) otherwise. Comparisons are written so that a NaN comes out as a NaN.
#pragma once

#include "kernels/kernels.h"
#include "kernels/rows.h"
#include "kernels/vmath.h"

namespace layerwise {
namespace {

// 1 where x > 0, `below` where x <= 0, NaN where x is NaN.
template <class T>
inline Vec<T> step(Vec<T> x, Vec<T> below) {
  return x > T(0) ? set(T(1)) : (x <= T(0) ? below : x);
}

template <class T>
struct Identity {
  static Vec<T> value(Vec<T> z) { return z; }
  static Vec<T> slope(Vec<T>) { return set(T(1)); }
};
template <class T>
struct Sigmoid {
  static Vec<T> value(Vec<T> z) { return sigmoid<T>(z); }
  static Vec<T> slope(Vec<T> a) { return a * (T(1) - a); }
};
template <class T>
struct Tanh {
  static Vec<T> value(Vec<T> z) { return tanh<T>(z); }
  static Vec<T> slope(Vec<T> a) { return fma(-a, a, set(T(1))); }
};
template <class T>
struct Relu {
  static Vec<T> value(Vec<T> z) { return z <= T(0) ? Vec<T>{} : z; }
  static Vec<T> slope(Vec<T> a) { return step<T>(a, Vec<T>{}); }
};
template <class T>
struct Softplus {
  static Vec<T> value(Vec<T> z) {
    const Vec<T> rest = log1p_of_fraction<T>(exp<T>(-abs<T>(z)));
    return z <= T(0) ? rest : z + rest;
  }
  static Vec<T> slope(Vec<T> a) { return -expm1<T>(-a); }  // 1 - e^-a = sigmoid(z)
};
template <class T>
struct Gelu {
  static Vec<T> value(Vec<T> z) { return at_least<T>(z, -Tables<T>::kReach) * normal<T>(z).cdf; }
  static Vec<T> slope(Vec<T> z) {
    const Normal<T> n = normal<T>(z);
    const Vec<T> near = at_most<T>(at_least<T>(z, -Tables<T>::kReach), Tables<T>::kReach);
    return fma(near * T(0.39894228040143267794), n.bell, n.cdf);  // 1 / sqrt(2 pi)
  }
};
// 1/2 z (1 + tanh(u)) = z sigmoid(2 u) with u = sqrt(2 / pi) (z + 0.044715 z^3).
template <class T>
struct GeluTanh {
  static constexpr T kLinear = T(1.5957691216057308), kCubic = T(0.044715 * 1.5957691216057308);
  static Vec<T> twice_u(Vec<T> z) { return z * fma(z * z, set(kCubic), set(kLinear)); }
  static Vec<T> value(Vec<T> z) { return times_sigmoid<T>(z, twice_u(z)); }
  static Vec<T> slope(Vec<T> z) { return times_sigmoid_slope<T>(z * fma(z * z, set(T(3) * kCubic), set(kLinear)), twice_u(z)); }
};
template <class T>
struct Silu {
  static Vec<T> value(Vec<T> z) { return times_sigmoid<T>(z, z); }
  static Vec<T> slope(Vec<T> z) { return times_sigmoid_slope<T>(z, z); }
};

// With a parameter p: alpha of leaky ReLU, PReLU and ELU, beta of Swish.
template <class T>
struct LeakyRelu {
  static Vec<T> value(Vec<T> z, Vec<T> p) { return z > T(0) ? z : p * z; }
  static Vec<T> slope(Vec<T> a, Vec<T> p) { return step<T>(a, p); }
};
template <class T>
struct Prelu {
  static Vec<T> value(Vec<T> z, Vec<T> p) { return z > T(0) ? z : p * z; }
  static Vec<T> slope(Vec<T> z, Vec<T> p) { return step<T>(z, p); }
  static Vec<T> by_parameter(Vec<T> z, Vec<T>) { return z > T(0) ? Vec<T>{} : z; }
};
template <class T>
struct Elu {
  static Vec<T> value(Vec<T> z, Vec<T> p) { return z > T(0) ? z : p * expm1<T>(z); }
  static Vec<T> slope(Vec<T> a, Vec<T> p) { return a > T(0) ? set(T(1)) : a + p; }
};
template <class T>
struct Swish {
  static Vec<T> value(Vec<T> z, Vec<T> p) { return times_sigmoid<T>(z, p * z); }
  static Vec<T> slope(Vec<T> z, Vec<T> p) { return times_sigmoid_slope<T>(p * z, p * z); }
  static Vec<T> by_parameter(Vec<T> z, Vec<T> p) {
    const Vec<T> bell = logistic<T>(p * z).slope;
    return bell == T(0) ? bell : z * z * bell;
  }
};

template <class T, class F>
void value_of(const T* z, T* a, index_t n, const T*) {
  each(a, n, [=](auto at) { return F::value(at(z)); });
}
template <class T, class F, bool kFromInput>
void slope_of(const T* z, const T* a, T* g, index_t n, const T*, T*) {
  const T* x = kFromInput ? z : a;
  each(g, n, [=](auto at) { return at(g) * F::slope(at(x)); });
}

// The same with the 32 numbers of `parameter` beside each row of a panel.
template <class T, class F>
void value_with(const T* z, T* a, index_t n, const T* parameter) {
  for (index_t i = 0; i < n; i += kPanel)
    each(a + i, n - i < kPanel ? n - i : kPanel, [=](auto at) { return F::value(at(z + i), at(parameter)); });
}
template <class T, class F, bool kFromInput>
void slope_with(const T* z, const T* a, T* g, index_t n, const T* parameter, T*) {
  const T* x = kFromInput ? z : a;
  for (index_t i = 0; i < n; i += kPanel)
    each(g + i, n - i < kPanel ? n - i : kPanel, [=](auto at) { return at(g + i) * F::slope(at(x + i), at(parameter)); });
}
template <class T, class F>
void slope_learned(const T* z, const T* a, T* g, index_t n, const T* parameter, T* by_parameter) {
  if (by_parameter != nullptr) {
    for (index_t i = 0; i < n; i += kPanel)
      each(by_parameter + i, n - i < kPanel ? n - i : kPanel,
           [=](auto at) { return at(g + i) * F::by_parameter(at(z + i), at(parameter)); });
  }
  slope_with<T, F, true>(z, a, g, n, parameter, nullptr);
}

template <class T>
void softmax(const T* z, index_t z_step, T* a, index_t a_step, index_t rows, index_t cols) {
  for (index_t r = 0; r < rows; ++r, z += kPanel, a += kPanel) {
    const T sum = static_cast<T>(row_exp<T>(z, z_step, row_max<T>(z, z_step, cols), a, a_step, cols));
    for (index_t panel = 0; panel < panels(cols); ++panel)
      each(a + panel * a_step, kPanel, [=](auto at) { return at(a + panel * a_step) / sum; });
  }
}

template <class T>
void softmax_slope(const T* a, index_t a_step, T* g, index_t g_step, index_t rows, index_t cols) {
  for (index_t r = 0; r < rows; ++r, a += kPanel, g += kPanel) {
    RowSum<T> sum;
    each_of_row<T>(
        cols,
        [&](index_t panel, index_t k, IntVec<T> valid) {
          const Vec<T> product = fma(load(g + panel * g_step + k * kLanes<T>), load(a + panel * a_step + k * kLanes<T>), sum.chain[k]);
          sum.chain[k] = valid ? product : sum.chain[k];
        },
        [](index_t, index_t) {});
    const T mean = static_cast<T>(sum.total(cols));
    each_of_row<T>(
        cols,
        [&](index_t panel, index_t k, IntVec<T> valid) {
          T* place = g + panel * g_step + k * kLanes<T>;
          const Vec<T> slope = load(a + panel * a_step + k * kLanes<T>) * (load(static_cast<const T*>(place)) - mean);
          store(place, valid ? slope : Vec<T>{});
        },
        [&](index_t panel, index_t k) { store(g + panel * g_step + k * kLanes<T>, Vec<T>{}); });
  }
}

template <class T>
constexpr void fill_activations(Kernels<T>& table) {
  auto set_entry = [&table](Activation kind, auto value, auto slope) {
    table.value[static_cast<int>(kind)] = value;
    table.slope[static_cast<int>(kind)] = slope;
  };
  set_entry(Activation::identity, value_of<T, Identity<T>>, slope_of<T, Identity<T>, false>);
  set_entry(Activation::sigmoid, value_of<T, Sigmoid<T>>, slope_of<T, Sigmoid<T>, false>);
  set_entry(Activation::tanh, value_of<T, Tanh<T>>, slope_of<T, Tanh<T>, false>);
  set_entry(Activation::relu, value_of<T, Relu<T>>, slope_of<T, Relu<T>, false>);
  set_entry(Activation::leaky_relu, value_with<T, LeakyRelu<T>>, slope_with<T, LeakyRelu<T>, false>);
  set_entry(Activation::prelu, value_with<T, Prelu<T>>, slope_learned<T, Prelu<T>>);
  set_entry(Activation::elu, value_with<T, Elu<T>>, slope_with<T, Elu<T>, false>);
  set_entry(Activation::softplus, value_of<T, Softplus<T>>, slope_of<T, Softplus<T>, false>);
  set_entry(Activation::gelu, value_of<T, Gelu<T>>, slope_of<T, Gelu<T>, true>);
  set_entry(Activation::gelu_tanh, value_of<T, GeluTanh<T>>, slope_of<T, GeluTanh<T>, true>);
  set_entry(Activation::silu, value_of<T, Silu<T>>, slope_of<T, Silu<T>, true>);
  set_entry(Activation::swish, value_with<T, Swish<T>>, slope_learned<T, Swish<T>>);
  set_entry(Activation::softmax, nullptr, nullptr);
  table.softmax = softmax<T>;
  table.softmax_slope = softmax_slope<T>;
}

}  // namespace
}  // namespace layerwise
