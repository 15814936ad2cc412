// Calls every kernel of one instruction set on fixed inputs and prints a hash of what each wrote: two processors whose lines are
// equal give the same bits. Built once per instruction set by tests/test_cross.py, with the name of the table as LAYERWISE_KERNELS.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/catalog.h"
#include "kernels/kernels.h"

using namespace layerwise;

namespace {

std::uint64_t state = 1;
double number() {  // in [-4, 4), with every exponent on the way
  state = state * 6364136223846793005u + 1442695040888963407u;
  const double x = static_cast<double>(state >> 11) * 0x1p-53 * 8 - 4;
  return (state >> 5 & 7u) == 0 ? x * 1e-3 : x;
}

template <class T>
std::vector<T> numbers(index_t n, double scale = 1, double shift = 0) {
  std::vector<T> out(static_cast<std::size_t>(n));
  for (T& x : out) x = static_cast<T>(number() * scale + shift);
  return out;
}

template <class V>
void show(const std::string& name, const V& values) {
  std::uint64_t hash = 14695981039346656037u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (std::size_t i = 0; i < values.size() * sizeof values[0]; ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  std::printf("%s %016llx\n", name.c_str(), static_cast<unsigned long long>(hash));
}

template <class T>
UpdateScalars<T> scalars(int optimizer, T l2) {
  UpdateScalars<T> s{};
  s.rate = T(0.01);
  s.momentum = T(0.9);
  s.decay = T(0.99);
  s.momentum_rest = 1 - s.momentum;
  s.decay_rest = 1 - s.decay;
  s.epsilon = T(1e-8);
  s.first_correction = T(1.5);
  s.second_correction = T(2.5);
  s.l2 = l2;
  s.weight_decay = T(0.02);
  s.epsilon_inside = optimizer % 2 == 1;
  return s;
}

// The optimisers' kernels that make their gradient themselves: of panels with many columns and few, in a shape and as it is.
template <class T>
void learning(const Kernels<T>& k, const std::string& name, int o, const std::vector<T>& a, const std::vector<T>& bias) {
  constexpr index_t kBlocks = 2, kRows = 23, kStep = kRows * kPanel, kNumbers = kBlocks * kPanel * kPanel;
  const auto run = [&](const std::string& kernel, T l2, auto step) {
    const UpdateScalars<T> s = scalars(o, l2);
    auto w = numbers<T>(kNumbers), m = numbers<T>(kNumbers), v = numbers<T>(kNumbers, 0.1, 0.5);
    const auto kind = static_cast<OptimizerKind>(o);
    step(w.data(), has_first_moment(kind) ? m.data() : nullptr, has_second_moment(kind) ? v.data() : nullptr, s);
    for (const std::vector<T>* part : {&w, &m, &v}) show(name + " " + kernel, *part);
  };
  const GradientSource<T> sources[2] = {{a.data(), kStep, a.data() + 2 * kStep, kRows, {}}, {a.data() + kStep, kStep, a.data(), 5, {}}};
  for (const index_t cols : {kPanel, index_t{20}, index_t{16}, index_t{3}}) {
    for (const bool shaped : {false, true}) {
      run("fused " + std::to_string(cols), T(0.001), [&](T* w, T* m, T* v, UpdateScalars<T> s) {
        if (shaped) s.shape = {true, T(0.3), T(0.1), T(0.9), T(2)};
        k.fused_update[o](sources, kBlocks, cols, w, m, v, s);
        for (T* x : {w, m, v}) {  // columns without a gradient may be left out
          for (index_t r = 0; x != nullptr && r < kBlocks * kPanel; ++r)
            std::memset(x + r * kPanel + cols, 0, sizeof(T) * static_cast<std::size_t>(kPanel - cols));
        }
      });
    }
  }
  for (const T l2 : {T(0), T(0.001)}) {
    std::vector<T> next(kPanel), out(kBlocks * kPanel);
    for (const bool two : {false, true}) {
      run("outer", l2, [&](T* w, T* m, T* v, const UpdateScalars<T>& s) {
        const OuterProduct<T> products[2] = {{a.data(), kStep, bias.data()}, {two ? a.data() + 7 : nullptr, kStep, bias.data()}};
        k.update_outer[o](w, m, v, 50, products, {a.data() + 3, kStep, bias.data(), next.data()}, s);
      });
      show(name + " next row", next);
    }
    run("gemv_t_update", l2, [&](T* w, T* m, T* v, const UpdateScalars<T>& s) {
      k.gemv_t_update[o](w, m, v, kPanel * kPanel, kBlocks, kPanel, a.data(), kStep, a.data() + 5, kStep, out.data(), s);
    });
    show(name + " gemv_t_update's product", out);
    run("gemv_t_update of a group", l2, [&](T* w, T* m, T* v, const UpdateScalars<T>& s) {
      k.gemv_t_update[o](w, m, v, 13 * kPanel, 4, 13, a.data(), kStep, a.data() + 5, kPanel, out.data(), s);
    });
    show(name + " gemv_t_update's product of a group", out);
  }
}

// Products that leave zeros out, and the same that do not: test_cross.py compares the two.
template <class T>
void products_of_zeros(const Kernels<T>& k, const std::string& type, const std::vector<T>& w, const std::vector<T>& bias) {
  constexpr index_t kRows = 45, kFeatures = 77, kPanels = 3, kStep = kRows * kPanel, kWords = 3 * kPanel, kBlocks = 2;
  auto a = numbers<T>(kPanels * kStep);
  std::vector<std::uint32_t> words(kPanels * kWords, ~std::uint32_t{0});  // of rows that there are not: they must not count
  for (index_t r = 0; r < kRows; ++r) {
    for (index_t p = 0; p < kPanels; ++p) {
      for (index_t c = 0; c < kPanel; ++c) {
        T& x = a[static_cast<std::size_t>(p * kStep + r * kPanel + c)];
        const index_t patch = (c / 3 * 5 + r / 4 * 3 + p) % 7;
        if (patch > 1) x = patch == 2 ? -T(0) : T(0);
      }
    }
    k.nonzero_bits(a.data() + r * kPanel, kStep, kFeatures, words.data() + r, kWords);
  }
  show(type + " nonzero_bits", words);
  const NonzeroBits nonzero{words.data(), kWords};
  for (const index_t cols : {index_t{12}, index_t{17}, index_t{24}, kPanel}) {
    const auto show_columns = [&](const std::string& name, std::vector<T>& c) {
      for (std::size_t r = 0; r < c.size() / kPanel; ++r)
        std::memset(c.data() + r * kPanel + cols, 0, static_cast<std::size_t>(kPanel - cols) * sizeof(T));
      show(name + " " + std::to_string(cols), c);
    };
    for (const index_t rows : {index_t{1}, index_t{2}, index_t{7}, index_t{31}}) {
      const std::string size = " " + std::to_string(rows);
      std::vector<T> c(kStep), sparse(kStep);
      k.gemm(a.data() + 9 * kPanel, kStep, w.data(), rows, cols, kFeatures, bias.data(), 0, c.data(), {nullptr, 0}, {});
      k.gemm(a.data() + 9 * kPanel, kStep, w.data(), rows, cols, kFeatures, bias.data(), 0, sparse.data(), {w.data(), kPanel},
             {nonzero.words + 9, kWords});
      show_columns(type + " whole gemm" + size, c);
      show_columns(type + " sparse gemm" + size, sparse);
      for (const index_t depth : {index_t{3}, index_t{33}, kRows}) {
        std::vector<T> d = numbers<T>(kPanel * kPanel), e = d;
        k.gemm_t(a.data(), w.data(), rows, cols, depth, d.data(), kPanel, d.data(), {});
        k.gemm_t(a.data(), w.data(), rows, cols, depth, e.data(), kPanel, e.data(), nonzero);
        show_columns(type + " whole gemm_t" + size + " " + std::to_string(depth), d);
        show_columns(type + " sparse gemm_t" + size + " " + std::to_string(depth), e);
      }
    }
    if (cols > kPanel / 2) {
      // Whatever signs its zeros had, and whichever of them were read.
      std::vector<T> zeros(kPanel), minus(kPanel, -T(0)), c(kStep), sparse(kStep);
      k.gemm(a.data(), kStep, zeros.data(), 7, cols, 1, zeros.data(), 0, c.data(), {nullptr, 0}, {});
      k.gemm(a.data(), kStep, minus.data(), 7, cols, 1, minus.data(), 0, sparse.data(), {nullptr, 0}, nonzero);
      show_columns(type + " whole gemm of zeros", c);
      show_columns(type + " sparse gemm of zeros", sparse);
      // A first row whose products are too small for the type, and rows of 0 whose other side is finite or not.
      const T tiny = sizeof(T) == sizeof(float) ? T(1e-30) : T(1e-300);
      std::vector<T> few(kStep), finite(kStep, T(1)), infinite(kStep, T(HUGE_VAL));
      std::fill_n(few.begin(), kPanel, tiny);
      for (std::vector<T>* b : {&finite, &infinite}) std::fill_n(b->begin(), kPanel, -tiny);
      std::vector<std::uint32_t> first(kWords);
      first[0] = ~std::uint32_t{0};
      for (const bool leaves_out : {false, true}) {
        const T* b = (leaves_out ? infinite : finite).data();
        const NonzeroBits bits = leaves_out ? NonzeroBits{first.data(), kWords} : NonzeroBits{};
        std::vector<T> gradient(kPanel * kPanel), weights(kPanel * kPanel, -T(0)), moment(kPanel * kPanel);
        k.gemm_t(few.data(), b, kPanel, cols, kRows, zeros.data(), 0, gradient.data(), bits);
        const GradientSource<T> sources[2] = {{few.data(), kStep, b, kRows, bits}, {few.data(), kStep, b, 0, {}}};
        k.fused_update[static_cast<int>(OptimizerKind::sgd)](sources, 1, cols, weights.data(), nullptr, nullptr, scalars(0, T(0)));
        const std::string kind = leaves_out ? " sparse" : " whole";
        show_columns(type + kind + " gemm_t of one row", gradient);
        show_columns(type + kind + " fused of one row", weights);
      }
    }
    for (int o = 0; o < kOptimizers; ++o) {
      const UpdateScalars<T> s = scalars(o, T(0.001));
      const auto kind = static_cast<OptimizerKind>(o);
      for (const index_t depth : {index_t{3}, kRows}) {
        for (const index_t tied : {index_t{0}, index_t{5}}) {
          for (const bool sparse : {false, true}) {
            state = 7;
            auto weights = numbers<T>(kBlocks * kPanel * kPanel), m = numbers<T>(kBlocks * kPanel * kPanel),
                 v = numbers<T>(kBlocks * kPanel * kPanel, 0.1, 0.5);
            const GradientSource<T> sources[2] = {{a.data(), kStep, w.data(), depth, sparse ? nonzero : NonzeroBits{}},
                                                  {w.data(), kStep, a.data(), tied, {}}};
            k.fused_update[o](sources, kBlocks, cols, weights.data(), has_first_moment(kind) ? m.data() : nullptr,
                              has_second_moment(kind) ? v.data() : nullptr, s);
            const std::string name = type + (sparse ? " sparse" : " whole") + " fused " + std::to_string(o) + " " + std::to_string(depth);
            for (std::vector<T>* part : {&weights, &m, &v}) show_columns(name + " " + std::to_string(tied), *part);
          }
        }
      }
    }
  }
}

template <class T>
void all(const Kernels<T>& k, const std::string& type) {
  constexpr index_t kRows = 23, kDepth = 77, kStep = kRows * kPanel, kCount = 3 * kStep;
  state = 1;
  const auto a = numbers<T>(kCount), w = numbers<T>(3 * kDepth * kPanel), bias = numbers<T>(kPanel);
  for (const index_t rows : {index_t{1}, index_t{2}, index_t{5}, kRows}) {
    for (const index_t cols : {index_t{3}, index_t{17}, kPanel}) {
      std::vector<T> c(kStep), d(kPanel * kPanel);
      k.gemm(a.data(), kStep, w.data(), rows, cols, kDepth, bias.data(), 0, c.data(), {nullptr, 0}, {});
      k.gemm_t(a.data(), a.data() + kStep, kPanel, cols, rows, bias.data(), 0, d.data(), {});
      // Only the columns asked for are promised.
      for (index_t r = 0; r < kRows; ++r) std::memset(c.data() + r * kPanel + cols, 0, static_cast<std::size_t>(kPanel - cols) * sizeof(T));
      for (index_t r = 0; r < kPanel; ++r)
        std::memset(d.data() + r * kPanel + cols, 0, static_cast<std::size_t>(kPanel - cols) * sizeof(T));
      const std::string size = " " + std::to_string(rows) + " " + std::to_string(cols);
      show(type + " gemm" + size, c);
      show(type + " gemm_t" + size, d);
    }
  }
  products_of_zeros(k, type, w, bias);
  std::vector<T> out(3 * kDepth * kPanel);
  k.gemv_t(w.data(), kDepth * kPanel, 3, 29, a.data(), kStep, out.data());
  show(type + " gemv_t", out);
  k.gemv_t(w.data(), 50 * kPanel, 4, 45, a.data(), kPanel, out.data());
  show(type + " gemv_t of a group", out);
  for (const index_t rows : {kPanel, index_t{19}, index_t{3}}) {
    k.transpose(w.data(), kDepth * kPanel, kPanel, rows, 80, out.data());
    show(type + " transpose " + std::to_string(rows), out);
    k.transpose(w.data(), kPanel, 85, rows, 77, out.data());
    show(type + " transpose row-major " + std::to_string(rows), out);
  }
  for (const index_t panels : {index_t{1}, index_t{3}}) {
    std::vector<T> row(static_cast<std::size_t>(panels * kPanel));
    k.gemv(a.data(), kStep, w.data(), kDepth * kPanel, panels, kDepth, a.data(), row.data(), kPanel);
    show(type + " gemv " + std::to_string(panels), row);
  }
  auto added = numbers<T>(kStep);
  k.add_rows(a.data(), w.data(), 80, kRows, 70, added.data());
  show(type + " add_rows", added);
  for (const index_t cols : {index_t{3}, index_t{9}, index_t{67}}) {
    k.add_rows_t(a.data(), w.data(), 79, kRows, cols, added.data());
    show(type + " add_rows_t " + std::to_string(cols), added);
  }
  k.add_rows_t(a.data(), w.data(), 4, kRows, 37, added.data());  // rows that compete for places in the cache
  show(type + " add_rows_t of few rows at a time", added);
  k.copy_rows(w.data(), 75, kRows, out.data(), kPanel + 3);
  show(type + " copy_rows", out);
  k.multiply(a.data(), w.data(), added.data(), kStep - 3);
  show(type + " multiply", added);
  std::vector<T> sums(kPanel);
  k.column_sums(a.data(), kRows, sums.data());
  show(type + " column_sums", sums);

  const auto parameter = numbers<T>(kPanel, 0.1, 0.9);
  for (int f = 0; f < kActivations; ++f) {
    if (k.value[f] == nullptr) continue;
    std::vector<T> value(kCount - 3), g = numbers<T>(kCount - 3), by_parameter(kCount - 3);
    k.value[f](a.data(), value.data(), kCount - 3, parameter.data());
    k.slope[f](a.data(), value.data(), g.data(), kCount - 3, parameter.data(), by_parameter.data());
    show(type + " value " + std::to_string(f), value);
    show(type + " slope " + std::to_string(f), g);
    show(type + " by_parameter " + std::to_string(f), by_parameter);
  }
  std::vector<T> soft(kCount), g = numbers<T>(kCount);
  k.softmax(a.data(), kStep, soft.data(), kStep, kRows, 70);
  show(type + " softmax", soft);
  k.softmax_slope(soft.data(), kStep, g.data(), kStep, kRows, 70);
  show(type + " softmax_slope", g);

  const auto targets = numbers<T>(kCount, 0.125, 0.5), scale = numbers<T>(kRows, 0.1, 1);
  for (int l = 0; l < kLosses; ++l) {
    if (k.loss[l] == nullptr) continue;
    std::vector<T> delta(kCount);
    std::vector<double> losses(kRows);
    k.loss[l](a.data(), kStep, targets.data(), kStep, delta.data(), kStep, kRows, 70, scale.data(), losses.data(), false, nullptr, 0);
    show(type + " delta " + std::to_string(l), delta);
    show(type + " loss " + std::to_string(l), losses);
    k.loss[l](a.data(), kStep, targets.data(), kStep, delta.data(), kStep, kRows, 70, scale.data(), losses.data(), false, a.data(), kStep);
    show(type + " weighted delta " + std::to_string(l), delta);
    show(type + " weighted loss " + std::to_string(l), losses);
  }
  for (int o = 0; o < kOptimizers; ++o) {
    const UpdateScalars<T> s = scalars(o, T(0.001));
    auto weights = numbers<T>(101), m = numbers<T>(101), v = numbers<T>(101, 0.1, 0.5);
    k.update[o](weights.data(), m.data(), v.data(), a.data(), 101, s);
    show(type + " update " + std::to_string(o), weights);
    show(type + " moments " + std::to_string(o), m);
    show(type + " squares " + std::to_string(o), v);
  }
  for (int o = 0; o < kOptimizers; ++o) learning(k, type + " " + std::to_string(o), o, a, bias);
  const ColumnGroup groups[] = {{GroupKind::number, 0, 31}, {GroupKind::category, 31, 7}, {GroupKind::flag, 38, 32}};
  std::vector<T> mixed_delta(kCount);
  auto mixed = numbers<T>(kCount);
  std::vector<double> mixed_losses(kRows);
  k.mixed_loss(mixed.data(), kStep, targets.data(), kStep, mixed_delta.data(), kStep, kRows, 70, scale.data(), mixed_losses.data(), true,
               nullptr, 0, groups, 3);
  k.mixed(mixed.data(), kStep, kRows, groups, 3);
  show(type + " mixed", mixed);
  show(type + " mixed delta", mixed_delta);
  show(type + " mixed loss", mixed_losses);
  const RandomPlace place{0x123456789abcdefu, 0x1ffffffffu, 7, 3};
  const auto data = numbers<T>(5 * 70), levels = numbers<T>(3 * kPanel, 0.1, 0.5);
  std::vector<std::uint64_t> thresholds(3 * kPanel);
  for (std::size_t c = 0; c < thresholds.size(); ++c) thresholds[c] = static_cast<std::uint64_t>(c) << 25;
  for (int n = 0; n < kNoises; ++n) {
    if (k.noise[n] == nullptr) continue;
    for (const bool by_column : {false, true}) {
      for (const index_t count : {index_t{-1}, index_t{20}}) {
        auto x = numbers<T>(3 * kPanel);
        std::vector<T> weights(3 * kPanel);
        const NoiseScalars<T> s{std::uint64_t{1} << 30,
                                T(0.3),
                                T(0),
                                T(1),
                                by_column ? thresholds.data() : nullptr,
                                by_column ? levels.data() : nullptr,
                                nullptr,
                                count,
                                T(1),
                                T(0.5),
                                T(1.25)};
        k.noise[n]({x.data(), kPanel, 70, place, weights.data(), kPanel, data.data(), 5, 2}, s);
        const std::string kind = std::to_string(n) + (by_column ? " by column " : " ") + std::to_string(count);
        show(type + " noise " + kind, x);
        show(type + " weights of noise " + kind, weights);
      }
    }
  }
  std::vector<T> grown = numbers<T>(kStep), bent(kStep), sum(kPanel);
  const T* x = a.data();
  for (int f = 0; f < kActivations; ++f) {
    if (k.curvature[f] == nullptr) continue;
    k.curvature[f](x, x, bent.data(), kRows, parameter.data(), grown.data());
    show(type + " curvature " + std::to_string(f), bent);
  }
  k.add_activation_penalty(x, scale.data(), bias.data(), parameter.data(), kRows, grown.data());
  k.add_products(scale.data(), bias.data(), x, bent.data(), kRows, grown.data());
  k.add_weight_penalty(x, bias.data(), T(0.3), kRows, grown.data());
  k.scale_columns(parameter.data(), kRows, grown.data());
  k.shape(grown.data(), x, kRows, kPanel, {true, T(0.3), T(0.1), T(0.9), T(2)}, grown.data());
  show(type + " penalties", grown);
  k.weighted_sums(x, scale.data(), kRows, sum.data());
  k.weighted_squares(x, scale.data(), kRows, sum.data());
  k.column_squares(x, kRows, sum.data());
  show(type + " sums", sum);
  show(type + " square_sum", std::vector<double>{k.square_sum(x, kRows), k.row_squares(x, kStep, 70)});
  std::vector<T> mean(kPanel), variance(kPanel), by_shift(kPanel), by_scale(kPanel), z(kStep);
  auto normal = numbers<T>(kStep), delta = numbers<T>(kStep, 0.3);
  k.batch_moments(normal.data(), scale.data(), kRows, mean.data(), variance.data());
  const Normalization<T> unit{mean.data(), variance.data(), parameter.data(), bias.data(), T(1e-5)};
  k.normalize(unit, kRows, normal.data(), z.data());
  k.normalization_sums(normal.data(), delta.data(), kRows, by_shift.data(), by_scale.data());
  k.normalization_slope(unit, normal.data(), scale.data(), by_shift.data(), by_scale.data(), kRows, delta.data());
  for (const std::vector<T>* part : {&mean, &variance, &normal, &z, &by_shift, &by_scale, &delta}) show(type + " normalization", *part);
  std::vector<T> mask(kPanel);
  const std::uint32_t kept = k.dropout(x, mask.data(), place, std::uint64_t{1} << 31, T(2));
  k.dropout_slope(&kept, T(3), 1, mask.data());
  show(type + " dropout", mask);
  const auto p = numbers<T>(kPanel, 0.25, 0.5);
  k.bernoulli(p.data(), mask.data(), place);
  show(type + " bernoulli", mask);
}

}  // namespace

int main() {
  const KernelSet& set = LAYERWISE_KERNELS;
  all(set.f32, "float");
  all(set.f64, "double");
  std::vector<std::uint32_t> words(kPanel);
  set.random_words(RandomPlace{1, 2, 3, 4}, words.data());
  show("words", words);
}
