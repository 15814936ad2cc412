#include "net/array_functions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/buffer.h"
#include "base/parallel.h"
#include "kernels/dispatch.h"
#include "net/corruption.h"

namespace layerwise {
namespace {

template <class T>
class PanelMatrix {
 public:
  PanelMatrix(index_t rows, index_t cols) : rows_(rows), cols_(cols), numbers_(panels(cols) * rows * kPanel) {}
  explicit PanelMatrix(const Matrix<T>& m) : PanelMatrix(m.rows, m.cols) {
    for_each([&](T& to, index_t r, index_t c) { to = m.transposed ? m.data[c * rows_ + r] : m.data[r * cols_ + c]; });
  }
  void unpack(T* out) {
    for_each([&](const T& from, index_t r, index_t c) { out[r * cols_ + c] = from; });
  }
  T* at(index_t panel, index_t row = 0) { return numbers_.data() + (panel * rows_ + row) * kPanel; }
  index_t step() const { return rows_ * kPanel; }
  index_t count() const { return panels(cols_); }
  index_t width(index_t panel) const { return std::min(kPanel, cols_ - panel * kPanel); }

 private:
  template <class Visit>
  void for_each(Visit visit) {
    for (index_t p = 0; p < count(); ++p) {
      for (index_t r = 0; r < rows_; ++r) {
        for (index_t c = 0; c < width(p); ++c) visit(at(p, r)[c], r, p * kPanel + c);
      }
    }
  }

  index_t rows_, cols_;
  Buffer<T> numbers_;
};

// One number a column, padded to whole panels.
template <class T>
std::vector<T> padded(const T* values, index_t cols) {
  std::vector<T> out(static_cast<std::size_t>(panels(cols) * kPanel), T{0});
  if (values != nullptr) std::copy_n(values, cols, out.data());
  return out;
}

}  // namespace

template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, const T* bias, int threads, T* out) {
  const Kernels<T>& k = kernels<T>();
  const index_t rows = a.rows, depth = a.cols, cols = b.cols;
  PanelMatrix<T> left(a), right(b), result(rows, cols);
  const std::vector<T> init = padded(bias, cols);
  const double work = static_cast<double>(rows) * static_cast<double>(depth) * static_cast<double>(cols);
  parallel(threads_for(work, threads), [&](Team& team) {
    const index_t tiles = (rows + k.tile_rows - 1) / k.tile_rows;
    const Range units = team.share(tiles * result.count());
    for (index_t u = units.begin; u < units.end; ++u) {
      const index_t p = u / tiles, row = rows * (u % tiles) / tiles, end = rows * (u % tiles + 1) / tiles;
      k.gemm(left.at(0, row), left.step(), right.at(p), end - row, result.width(p), depth, init.data() + p * kPanel, 0, result.at(p, row),
             {nullptr, 0});
    }
  });
  result.unpack(out);
}

template <class T>
void activation(Activation f, const T* parameter, index_t rows, index_t cols, const T* z, T* a) {
  const Kernels<T>& k = kernels<T>();
  PanelMatrix<T> x(Matrix<T>{z, rows, cols});
  const std::vector<T> values = padded(parameter, cols);
  if (f == Activation::softmax) {
    k.softmax(x.at(0), x.step(), x.at(0), x.step(), rows, cols);
  } else {
    for (index_t p = 0; p < x.count(); ++p) k.value[static_cast<int>(f)](x.at(p), x.at(p), rows * kPanel, values.data() + p * kPanel);
  }
  x.unpack(a);
}

template <class T>
void activation_backward(Activation f, const T* parameter, index_t rows, index_t cols, const T* z, T* g, T* by_parameter) {
  const Kernels<T>& k = kernels<T>();
  PanelMatrix<T> x(Matrix<T>{z, rows, cols}), a(rows, cols), delta(Matrix<T>{g, rows, cols}), slope(rows, cols);
  const std::vector<T> values = padded(parameter, cols);
  if (f == Activation::softmax) {
    k.softmax(x.at(0), x.step(), a.at(0), a.step(), rows, cols);
    k.softmax_slope(a.at(0), a.step(), delta.at(0), delta.step(), rows, cols);
  } else {
    for (index_t p = 0; p < x.count(); ++p) {
      const index_t n = rows * kPanel;
      k.value[static_cast<int>(f)](x.at(p), a.at(p), n, values.data() + p * kPanel);
      k.slope[static_cast<int>(f)](x.at(p), a.at(p), delta.at(p), n, values.data() + p * kPanel, slope.at(p));
    }
  }
  delta.unpack(g);
  slope.unpack(by_parameter);
}

template <class T>
void column_sums(const T* x, index_t rows, index_t cols, T* sums) {
  PanelMatrix<T> packed(Matrix<T>{x, rows, cols});
  std::vector<T> total = padded<T>(nullptr, cols);
  for (index_t p = 0; p < packed.count(); ++p) kernels<T>().column_sums(packed.at(p), rows, total.data() + p * kPanel);
  std::copy_n(total.data(), cols, sums);
}

template <class T>
void loss(Loss kind, const T* p, const T* t, index_t rows, index_t cols, const std::vector<ColumnGroup>& groups, double* row_loss,
          T* delta) {
  PanelMatrix<T> outputs(Matrix<T>{p, rows, cols}), targets(Matrix<T>{t, rows, cols}), result(rows, cols);
  const std::vector<T> ones(static_cast<std::size_t>(rows), T{1});
  std::fill_n(row_loss, rows, 0.0);
  const auto run = [&](auto kernel, auto... more) {
    kernel(outputs.at(0), outputs.step(), targets.at(0), targets.step(), result.at(0), result.step(), rows, cols, ones.data(), row_loss,
           false, nullptr, 0, more...);
  };
  if (kind == Loss::mixed) {
    run(kernels<T>().mixed_loss, groups.data(), static_cast<index_t>(groups.size()));
  } else {
    run(kernels<T>().loss[static_cast<int>(kind)]);
  }
  result.unpack(delta);
}

template <class T>
UpdateScalars<T> update_scalars(const OptimizerSpec& spec, index_t t, double rate, double momentum, double alpha) {
  const bool adam = spec.kind == OptimizerKind::adam || spec.kind == OptimizerKind::adamw;
  // The kernel averages with beta rounded to T, so the correction is that number's.
  const auto correction = [&](double beta) {
    const auto rounded = static_cast<double>(static_cast<T>(beta));
    return static_cast<T>(adam && spec.bias_correction ? 1 / (1 - std::pow(rounded, static_cast<double>(t))) : 1);
  };
  UpdateScalars<T> s{};
  s.rate = static_cast<T>(rate);
  s.momentum = static_cast<T>(momentum);
  s.decay = static_cast<T>(spec.decay);
  s.epsilon = static_cast<T>(spec.epsilon);
  s.first_correction = correction(momentum);
  s.second_correction = correction(spec.decay);
  s.l2 = static_cast<T>(alpha);
  s.weight_decay = static_cast<T>(spec.kind == OptimizerKind::adamw ? spec.weight_decay : 0);
  s.epsilon_inside = spec.epsilon_inside_sqrt;
  return s;
}

template <class T>
void optimizer_step(const OptimizerSpec& spec, T* w, T* m, T* v, const T* g, index_t n, double rate, index_t step, double alpha) {
  kernels<T>().update[static_cast<int>(spec.kind)](w, m, v, g, n, update_scalars<T>(spec, step, rate, spec.momentum, alpha));
}

template <class T>
void corrupt(const NoiseSpec& noise, const index_t* ids, index_t rows, index_t cols, std::uint64_t seed, std::uint32_t step, const T* x,
             T* out) {
  const Corruption<T> corruption(noise, seed, cols);
  PanelMatrix<T> packed(Matrix<T>{x, rows, cols});
  const Panels<T> panels_of_x{packed.at(0), packed.step()};
  const Data<T> data{x, nullptr, nullptr, rows};
  for (index_t r = 0; r < rows; ++r) corruption.apply(kernels<T>(), panels_of_x, r, {}, data, ids[r], step);
  packed.unpack(out);
}

#define LAYERWISE_INSTANTIATE(T)                                                                                            \
  template void matmul<T>(const Matrix<T>&, const Matrix<T>&, const T*, int, T*);                                           \
  template void activation<T>(Activation, const T*, index_t, index_t, const T*, T*);                                        \
  template void activation_backward<T>(Activation, const T*, index_t, index_t, const T*, T*, T*);                           \
  template void column_sums<T>(const T*, index_t, index_t, T*);                                                             \
  template void loss<T>(Loss, const T*, const T*, index_t, index_t, const std::vector<ColumnGroup>&, double*, T*);          \
  template void optimizer_step<T>(const OptimizerSpec&, T*, T*, T*, const T*, index_t, double, index_t, double);            \
  template void corrupt<T>(const NoiseSpec&, const index_t*, index_t, index_t, std::uint64_t, std::uint32_t, const T*, T*); \
  template UpdateScalars<T> update_scalars<T>(const OptimizerSpec&, index_t, double, double, double);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
