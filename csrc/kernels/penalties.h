// What penalties and constraints need: the curvature of each activation, sums over rows and columns, and a few products. All on panels:
// rows of 32 numbers, of which an argument `by_unit` has one row.
#pragma once

#include "kernels/activations.h"
#include "kernels/kernels.h"
#include "kernels/rows.h"
#include "kernels/vmath.h"

namespace layerwise {
namespace {

// The second derivative f'' by z, and where the parameter can be learned, the derivative of f' by it. `x` is z or a = f(z), as for the
// slope in activations.h. Piecewise linear ones have curvature 0, also at the kink.
template <class T>
struct Flat {
  static Vec<T> curvature(Vec<T>, Vec<T>) { return Vec<T>{}; }
};
template <class T>
struct SigmoidCurvature {
  static Vec<T> curvature(Vec<T> a, Vec<T>) { return a * (T(1) - a) * fma(a, set(T(-2)), set(T(1))); }
};
template <class T>
struct TanhCurvature {
  static Vec<T> curvature(Vec<T> a, Vec<T>) { return a * T(-2) * fma(-a, a, set(T(1))); }
};
template <class T>
struct PreluCurvature : Flat<T> {
  static Vec<T> by_parameter(Vec<T> z, Vec<T>) { return z > T(0) ? Vec<T>{} : set(T(1)); }
};
template <class T>
struct EluCurvature {
  static Vec<T> curvature(Vec<T> a, Vec<T> p) { return a > T(0) ? Vec<T>{} : a + p; }
};
template <class T>
struct SoftplusCurvature {
  static Vec<T> curvature(Vec<T> a, Vec<T>) {
    const Vec<T> s = -expm1<T>(-a);
    return s * (T(1) - s);
  }
};
template <class T>
struct GeluCurvature {  // density(z) (2 - z^2)
  static Vec<T> curvature(Vec<T> z, Vec<T>) {
    const Vec<T> near = at_most<T>(at_least<T>(z, -Tables<T>::kReach), Tables<T>::kReach);
    return normal<T>(z).bell * T(0.39894228040143267794) * fma(-near, near, set(T(2)));
  }
};
// Of z sigmoid(v): with s' = s (1 - s) and s'' = s' (1 - 2 s), f'' = s' (2 v' + z v'' + z v'^2 (1 - 2 s)).
template <class T>
struct GeluTanhCurvature {
  static Vec<T> curvature(Vec<T> z, Vec<T>) {
    constexpr T linear = GeluTanh<T>::kLinear, cubic = GeluTanh<T>::kCubic;
    const Logistic<T> s = logistic<T>(GeluTanh<T>::twice_u(z));
    const Vec<T> first = fma(z * z, set(T(3) * cubic), set(linear)), bend = fma(s.value, set(T(-2)), set(T(1)));
    const Vec<T> factor = fma(z * first * first, bend, fma(z * z, set(T(6) * cubic), first * T(2)));
    return s.slope == T(0) ? Vec<T>{} : s.slope * factor;
  }
};
// s' (2 + u (1 - 2 s)) with u = p z: the curvature of Swish is p times this, its derivative of f' by p is z times this.
template <class T>
inline Vec<T> swish_bend(Vec<T> u) {
  const Logistic<T> s = logistic<T>(u);
  return s.slope == T(0) ? Vec<T>{} : s.slope * fma(u, fma(s.value, set(T(-2)), set(T(1))), set(T(2)));
}
template <class T>
struct SiluCurvature {
  static Vec<T> curvature(Vec<T> z, Vec<T>) { return swish_bend<T>(z); }
};
template <class T>
struct SwishCurvature {
  static Vec<T> curvature(Vec<T> z, Vec<T> p) { return p * swish_bend<T>(p * z); }
  static Vec<T> by_parameter(Vec<T> z, Vec<T> p) {
    const Vec<T> bend = swish_bend<T>(p * z);
    return bend == T(0) ? bend : z * bend;
  }
};

// Applies body(vectors of a row's place) to `rows` rows of a panel: out[r][c] = body(r, loader), the loader adding the place to a pointer.
template <class T, class Body>
inline void each_row(T* out, index_t rows, Body body) {
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < kPanel; c += kLanes<T>) {
      store(out + r * kPanel + c,
            body(r, [r, c](const T* p) { return load(p + r * kPanel + c); }, [c](const T* p) { return load(p + c); }));
    }
  }
}

template <class T, class F, bool kFromInput, bool kLearned>
void curvature_of(const T* z, const T* a, T* out, index_t rows, const T* parameter, T* by_parameter) {
  const T* x = kFromInput ? z : a;
  each_row(out, rows, [=](index_t, auto at, auto unit) { return F::curvature(at(x), unit(parameter)); });
  if constexpr (kLearned) {
    if (by_parameter != nullptr)
      each_row(by_parameter, rows, [=](index_t, auto at, auto unit) { return F::by_parameter(at(x), unit(parameter)); });
  }
}

template <class T>
void add_activation_penalty(const T* a, const T* row_scale, const T* by_unit, const T* l1, index_t rows, T* g) {
  each_row(g, rows,
           [=](index_t r, auto at, auto unit) { return fma(set(row_scale[r]), unit(by_unit) + sign_times<T>(at(a), unit(l1)), at(g)); });
}

template <class T>
void add_products(const T* row_scale, const T* by_unit, const T* x, const T* y, index_t rows, T* out) {
  each_row(out, rows, [=](index_t r, auto at, auto unit) { return fma(row_scale[r] * unit(by_unit), at(x) * at(y), at(out)); });
}

template <class T>
void add_weight_penalty(const T* w, const T* by_unit, T l1, index_t rows, T* g) {
  each_row(g, rows, [=](index_t, auto at, auto unit) { return fma(unit(by_unit), at(w), at(g) + sign_times<T>(at(w), set(l1))); });
}

template <class T>
void scale_columns(const T* by_unit, index_t rows, T* x) {
  each_row(x, rows, [=](index_t, auto at, auto unit) { return at(x) * unit(by_unit); });
}

// sums[c] = sums[c] + (row_scale[r] *) x[r][c] (or its square), one chain over r.
template <class T, bool kScaled, bool kSquared>
void column_sums_of(const T* x, const T* row_scale, index_t rows, T* sums) {
  Vec<T> sum[kPanelVectors<T>];  // side by side, so that one chain need not wait for another's end
  LAYERWISE_UNROLL
  for (index_t k = 0; k < kPanelVectors<T>; ++k) sum[k] = load(sums + k * kLanes<T>);
  for (index_t r = 0; r < rows; ++r) {
    LAYERWISE_UNROLL
    for (index_t k = 0; k < kPanelVectors<T>; ++k) {
      const Vec<T> value = load(x + r * kPanel + k * kLanes<T>);
      const Vec<T> factor = kSquared ? value : set(T(1));
      sum[k] = fma(kScaled ? factor * row_scale[r] : factor, value, sum[k]);
    }
  }
  LAYERWISE_UNROLL
  for (index_t k = 0; k < kPanelVectors<T>; ++k) store(sums + k * kLanes<T>, sum[k]);
}
template <class T>
void weighted_sums(const T* x, const T* row_scale, index_t rows, T* sums) {
  column_sums_of<T, true, false>(x, row_scale, rows, sums);
}
template <class T>
void weighted_squares(const T* x, const T* row_scale, index_t rows, T* sums) {
  column_sums_of<T, true, true>(x, row_scale, rows, sums);
}
template <class T>
void column_squares(const T* x, index_t rows, T* sums) {
  column_sums_of<T, false, true>(x, nullptr, rows, sums);
}

// As a row's sum: 32 chains, one a column, then a tree in double.
template <class T>
double square_sum(const T* x, index_t rows) {
  RowSum<T> sum;
  for (index_t r = 0; r < rows; ++r) {
    LAYERWISE_UNROLL
    for (index_t k = 0; k < kPanelVectors<T>; ++k) {
      const Vec<T> value = load(x + r * kPanel + k * kLanes<T>);
      sum.chain[k] = fma(value, value, sum.chain[k]);
    }
  }
  return sum.total(kPanel);
}

template <class T>
double row_squares(const T* x, index_t step, index_t cols) {
  RowSum<T> sum;
  each_of_row<T>(
      cols,
      [&](index_t panel, index_t k, IntVec<T> valid) {
        const Vec<T> value = load(x + panel * step + k * kLanes<T>), counted = valid ? value : Vec<T>{};
        sum.chain[k] = fma(counted, counted, sum.chain[k]);
      },
      [](index_t, index_t) {});
  return sum.total(cols);
}

template <class T>
constexpr void fill_penalties(Kernels<T>& table) {
  auto curvature = [&table](Activation kind, auto function) { table.curvature[static_cast<int>(kind)] = function; };
  curvature(Activation::identity, curvature_of<T, Flat<T>, false, false>);
  curvature(Activation::sigmoid, curvature_of<T, SigmoidCurvature<T>, false, false>);
  curvature(Activation::tanh, curvature_of<T, TanhCurvature<T>, false, false>);
  curvature(Activation::relu, curvature_of<T, Flat<T>, false, false>);
  curvature(Activation::leaky_relu, curvature_of<T, Flat<T>, false, false>);
  curvature(Activation::prelu, curvature_of<T, PreluCurvature<T>, true, true>);
  curvature(Activation::elu, curvature_of<T, EluCurvature<T>, false, false>);
  curvature(Activation::softplus, curvature_of<T, SoftplusCurvature<T>, false, false>);
  curvature(Activation::gelu, curvature_of<T, GeluCurvature<T>, true, false>);
  curvature(Activation::gelu_tanh, curvature_of<T, GeluTanhCurvature<T>, true, false>);
  curvature(Activation::silu, curvature_of<T, SiluCurvature<T>, true, false>);
  curvature(Activation::swish, curvature_of<T, SwishCurvature<T>, true, true>);
  curvature(Activation::softmax, nullptr);
  table.add_activation_penalty = add_activation_penalty<T>;
  table.add_products = add_products<T>;
  table.add_weight_penalty = add_weight_penalty<T>;
  table.scale_columns = scale_columns<T>;
  table.weighted_sums = weighted_sums<T>;
  table.weighted_squares = weighted_squares<T>;
  table.column_squares = column_squares<T>;
  table.square_sum = square_sum<T>;
  table.row_squares = row_squares<T>;
}

}  // namespace
}  // namespace layerwise
