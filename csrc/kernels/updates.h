// The optimisers' steps over arrays: on a gradient that is given, on one that a single row of the batch gives, and inside the product
// that makes it.
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

// The weight gradient together with the step that uses it: the gradient never leaves the first-level cache. With AVX-512 the
// step of one tile runs inside the product of the next, whose multiply-adds hide its square roots and divisions; with 16 registers there is
// no room for both, and each block's step follows its product (docs/decisions/0002). Same bits.
#if defined(__AVX512F__)

// A tile of the gradient that is known and whose weights still wait for their step.
template <class T>
struct Waiting {
  const T* gradient = nullptr;  // its rows are kPanel apart, as those of w, m and v; null: nothing waits
  T *w, *m, *v;
  bool fetches;  // what comes kFusedAhead later is this thread's too: another's must not be taken from it
};

constexpr index_t kFusedVectors = 2;                      // of a tile's row
constexpr index_t kFusedAhead = 3 * kPanel * kPanel / 2;  // numbers: how far ahead the step's arrays are fetched

// The two halves of the step of a waiting tile's row.
template <class T, class M, class O>
inline void begin_row(const Waiting<T>& tile, index_t row, const UpdateScalars<T>& s,
                      Change<typename M::Vector> (&changes)[kFusedVectors]) {
  LAYERWISE_UNROLL
  for (index_t c = 0; c < kFusedVectors; ++c) {
    const index_t place = row * kPanel + c * kLanesOf<T, M>;
    if (tile.fetches) {
      __builtin_prefetch(tile.w + place + kFusedAhead, 1);
      if constexpr (O::kFirst) __builtin_prefetch(tile.m + place + kFusedAhead, 1);
      if constexpr (O::kSecond) __builtin_prefetch(tile.v + place + kFusedAhead, 1);
    }
    changes[c] = begin_step<T, O>(tile.w, tile.m, tile.v, place, load_as<typename M::Vector>(tile.gradient + place), s);
  }
}
template <class T, class M, class O>
inline void end_row(const Waiting<T>& tile, index_t row, const UpdateScalars<T>& s,
                    const Change<typename M::Vector> (&changes)[kFusedVectors]) {
  LAYERWISE_UNROLL
  for (index_t c = 0; c < kFusedVectors; ++c) end_step<T, O>(tile.w, row * kPanel + c * kLanesOf<T, M>, changes[c], s);
}

// Steps a waiting tile row by row, with work() between the halves of each, so that no row's root or division is waited for.
template <class T, class M, class O, class Work>
inline void step_rows(const Waiting<T>& tile, const UpdateScalars<T>& s, Work work) {
#pragma GCC unroll 1
  for (index_t row = 0; row < kTileRows; ++row) {
    Change<typename M::Vector> changes[kFusedVectors];
    begin_row<T, M, O>(tile, row, s, changes);
    work();
    end_row<T, M, O>(tile, row, s, changes);
  }
}

// sum += a b over depth begin .. end - 1: a and b are one panel each, a's features are the tile's rows.
template <class T, class M>
inline void add_products_of(typename M::Vector (&sum)[kTileRows][kFusedVectors], const T* a, const T* b, index_t begin, index_t end) {
  using V = typename M::Vector;
#pragma GCC unroll 2
  for (index_t k = begin; k < end; ++k) {
    V right[kFusedVectors];
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kFusedVectors; ++c) right[c] = load_as<V>(b + k * kPanel + c * kLanesOf<T, M>);
    LAYERWISE_UNROLL
    for (int r = 0; r < kTileRows; ++r) {
      const V left = M::left(a + k * kPanel + r);
      LAYERWISE_UNROLL
      for (index_t c = 0; c < kFusedVectors; ++c) sum[r][c] = M::add(left, right[c], sum[r][c]);
    }
  }
}

// gradient = the sum over both sources, while the waiting tile is brought one step forward.
template <class T, class M, class O>
void fused_tile(const GradientSource<T> (&sources)[2], const Waiting<T>& waiting, const UpdateScalars<T>& s, T* gradient) {
  typename M::Vector sum[kTileRows][kFusedVectors];
  LAYERWISE_UNROLL
  for (int r = 0; r < kTileRows; ++r) {
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kFusedVectors; ++c) sum[r][c] = typename M::Vector{};
  }
  index_t done = 0;
  if (waiting.gradient != nullptr) {
    const index_t turn = sources[0].depth / kTileRows;
    step_rows<T, M, O>(waiting, s, [&] {
      add_products_of<T, M>(sum, sources[0].a, sources[0].b, done, done + turn);
      done += turn;
    });
  }
#pragma GCC unroll 1
  for (const GradientSource<T>& source : sources) {  // what is left of the first, and the second
    add_products_of<T, M>(sum, source.a, source.b, done, source.depth);
    done = 0;
  }
  LAYERWISE_UNROLL
  for (int r = 0; r < kTileRows; ++r) {
    LAYERWISE_UNROLL
    for (index_t c = 0; c < kFusedVectors; ++c) store_as(gradient + r * kPanel + c * kLanesOf<T, M>, sum[r][c]);
  }
}

// A strip of columns, as wide as a tile, of at least one block.
template <class T, class M, class O>
void fused_strip(const GradientSource<T> (&sources)[2], index_t blocks, T* w, T* m, T* v, const UpdateScalars<T>& s) {
  static_assert(kPanel % kTileRows == 0);
  alignas(64) T gradients[2][kTileRows * kPanel];
  Waiting<T> waiting{};
  for (index_t row = 0; row < blocks * kPanel; row += kTileRows) {
    const auto part_of = [&](const GradientSource<T>& source) {
      return GradientSource<T>{source.a + row / kPanel * source.a_step + row % kPanel, source.a_step, source.b, source.depth};
    };
    const GradientSource<T> parts[2] = {part_of(sources[0]), part_of(sources[1])};
    T* gradient = gradients[row / kTileRows % 2];
    fused_tile<T, M, O>(parts, waiting, s, gradient);
    const index_t place = row * kPanel;
    if (s.shape.any) shape<T>(gradient, w + place, kTileRows, kFusedVectors * kLanes<T>, s.shape, gradient);
    waiting = {gradient, w + place, O::kFirst ? m + place : nullptr, O::kSecond ? v + place : nullptr,
               place + kFusedAhead < blocks * kPanel * kPanel};
  }
  step_rows<T, M, O>(waiting, s, [] {});
}

template <class T, class M, class O>
void fused_inside(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v, const UpdateScalars<T>& given) {
  const UpdateScalars<T> s = given;
  for (index_t j = 0; j < cols; j += kFusedVectors * kLanes<T>) {
    GradientSource<T> strip[2] = {sources[0], sources[1]};
    for (GradientSource<T>& source : strip) source.b += j;
    fused_strip<T, M, O>(strip, blocks, w + j, O::kFirst ? m + j : nullptr, O::kSecond ? v + j : nullptr, s);
  }
}

#endif

// The columns of a block that count; rows of the gradient are kPanel apart.
template <class T, class O, class V>
inline void step_columns(T* w, T* m, T* v, const T* gradient, index_t cols, const UpdateScalars<T>& s) {
  for (index_t r = 0; r < kPanel; ++r) {
    for (index_t c = 0; c < cols; c += sizeof(V) / sizeof(T)) {
      update_vector<T, O, true, V>(w, m, v, r * kPanel + c, load_as<V>(gradient + r * kPanel + c), s);
    }
  }
}
template <class T, class O>
void step_block(T* w, T* m, T* v, const T* gradient, index_t cols, const UpdateScalars<T>& s, index_t far) {
  using Few = FewColumns<T>;
  if (cols > kPanel / 2) return update_numbers<T, O>(w, m, v, gradient, kPanel * kPanel, s, 4 * kPanel, far);
  if (cols > kLanesOf<T, Few>) return step_columns<T, O, Vec<T>>(w, m, v, gradient, cols, s);
  step_columns<T, O, typename Few::Vector>(w, m, v, gradient, cols, s);
}

// The step as an argument: the same code for all optimisers.
template <class T>
__attribute__((noinline)) void fused_after(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v,
                                           const UpdateScalars<T>& s,
                                           void (*step)(T*, T*, T*, const T*, index_t, const UpdateScalars<T>&, index_t)) {
  constexpr index_t kBlock = kPanel * kPanel;
  alignas(64) static constexpr T zeros[kPanel] = {};
  alignas(64) T gradient[kBlock] = {};
  const auto next = [](T*& array) { array = array == nullptr ? nullptr : array + kBlock; };
  for (index_t block = 0; block < blocks; ++block, next(w), next(m), next(v)) {
    gemm_t(sources[0].a + block * sources[0].a_step, 0, sources[0].b, kPanel, cols, sources[0].depth, zeros, 0, gradient);
    if (sources[1].depth > 0) {
      gemm_t(sources[1].a + block * sources[1].a_step, 0, sources[1].b, kPanel, cols, sources[1].depth, gradient, kPanel, gradient);
    }
    if (s.shape.any) shape<T>(gradient, w, kPanel, kPanel, s.shape, gradient);
    step(w, m, v, gradient, cols, s, block + 1 < blocks ? kBlock : 0);  // what comes after the last may be another thread's
  }
}

template <class T, class M, class O>
void fused_update(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v, const UpdateScalars<T>& s) {
#if defined(__AVX512F__)
  // Not of few columns: a tile of one vector a row hides nothing. (Of pairs they are padding like the others.)
  if (cols > kLanes<T> || M::kRow < kPanel) return fused_inside<T, M, O>(sources, blocks, cols, w, m, v, s);
#endif
  fused_after<T>(sources, blocks, cols, w, m, v, s, step_block<T, O>);
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

template <class T>
constexpr void fill_optimizers(Kernels<T>& table) {
  table.shape = shape<T>;
  for_each_optimizer<T>([&](auto optimizer, OptimizerKind kind) {
    using O = decltype(optimizer);
    const int k = static_cast<int>(kind);
    table.update[k] = update_all<T, O>;
    table.update_outer[k] = update_outer<T, O>;
    table.gemv_t_update[k] = gemv_t_update<T, O>;
    table.fused_update[k] = fused_update<T, ByNumbers<T>, O>;
  });
}

}  // namespace
}  // namespace layerwise
