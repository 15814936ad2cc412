#include "net/array_functions.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/buffer.h"
#include "base/parallel.h"
#include "kernels/catalog.h"
#include "kernels/dispatch.h"
#include "net/corruption.h"
#include "net/products.h"

namespace layerwise {
namespace {

constexpr index_t kBlock = 4096;      // numbers that are worked on at once: a few such blocks fit the first-level cache
constexpr double kWorkOfNumber = 10;  // an element-wise function's number, in multiply-adds of a product
// A product's block of rows, for each of which b is packed anew: as many as make kBlockNumbers numbers of a, within these two bounds.
constexpr index_t kFewestRows = 256, kMostRows = 1024, kBlockNumbers = index_t{1} << 20;

// One number a column, padded to whole panels, of which there is at least one.
template <class T>
std::vector<T> padded(const T* values, index_t cols) {
  std::vector<T> out(static_cast<std::size_t>(std::max(panels(cols), index_t{1}) * kPanel), T{0});
  if (values != nullptr) std::copy_n(values, cols, out.data());
  return out;
}

// Rows row .. row + rows - 1 of one panel of a matrix, side by side in `out`, padded with 0 (so
// that no product is made of what memory held before).
template <class T>
void pack(const Matrix<T>& m, index_t row, index_t rows, index_t panel, T* out) {
  const index_t first = panel * kPanel, width = width_of(m.cols, panel);
  if (m.transposed) return kernels<T>().transpose(m.data + first * m.rows + row, kPanel, m.rows, width, rows, out);
  const T* from = m.data + row * m.cols + first;
  if (width == kPanel) return kernels<T>().copy_rows(from, m.cols, rows, out, kPanel);
  for (index_t r = 0; r < rows; ++r) std::fill(std::copy_n(from + r * m.cols, width, out + r * kPanel), out + (r + 1) * kPanel, T{0});
}
template <class T>
void unpack(const T* from, index_t rows, index_t cols, index_t row, index_t panel, T* out) {
  const index_t width = width_of(cols, panel);
  T* to = out + row * cols + panel * kPanel;
  if (width == kPanel) return kernels<T>().copy_rows(from, kPanel, rows, to, cols);
  for (index_t r = 0; r < rows; ++r) std::copy_n(from + r * kPanel, width, to + r * cols);
}

int threads_for_numbers(index_t numbers) { return threads_for(kWorkOfNumber * static_cast<double>(numbers), 0); }

// A single row times b, which is read as it lies; each thread takes columns of the result.
template <class T>
void multiply_row(const T* x, const Matrix<T>& b, const T* init, int threads, T* out) {
  parallel(threads, [&](Team& team) {
    const Range share = team.share(panels(b.cols));
    const index_t first = share.begin * kPanel, cols = std::min(b.cols, share.end * kPanel) - first;
    if (cols <= 0) return;
    std::copy_n(init + first, cols, out + first);
    if (b.transposed) {
      kernels<T>().add_rows_t(x, b.data + first * b.rows, b.rows, b.rows, cols, out + first);
    } else {
      kernels<T>().add_rows(x, b.data + first, b.cols, b.rows, cols, out + first);
    }
  });
}

// Calls run(first number, numbers, 32 parameters that repeat) for pieces of a row-major matrix with one parameter a column, or with none.
template <class T, class Run>
void for_each_run(const T* parameter, index_t rows, index_t cols, Run run) {
  const std::vector<T> values = padded(parameter, parameter == nullptr ? 1 : cols);
  const bool one = parameter == nullptr || std::all_of(parameter, parameter + cols, [&](T x) { return x == parameter[0]; });
  const std::vector<T> repeated(static_cast<std::size_t>(kPanel), values[0]);
  const index_t all = rows * cols;
  const index_t units = one ? (all + kBlock - 1) / kBlock : rows * panels(cols);
  parallel(
      threads_for_numbers(all),
      [&](Team& team) {
        const Range share = team.share(units);
        for (index_t u = share.begin; u < share.end; ++u) {
          if (one) {
            run(u * kBlock, std::min(kBlock, all - u * kBlock), repeated.data());
          } else {
            const index_t row = u / panels(cols), panel = u % panels(cols);
            run(row * cols + panel * kPanel, width_of(cols, panel), values.data() + panel * kPanel);
          }
        }
      },
      Subnormals::kept);
}

// Calls body(first row, rows, rooms) for blocks of whole rows, with so many rooms in panels for a block.
template <class T, int kRooms, class Body>
void for_each_row_block(index_t rows, index_t cols, Body body) {
  const index_t width = std::max(panels(cols), index_t{1}) * kPanel, block = std::max(index_t{1}, std::min(rows, kBlock / width));
  const int threads = threads_for_numbers(rows * cols);
  Buffer<T> memory(kRooms * threads * block * width);
  parallel(
      threads,
      [&](Team& team) {
        Panels<T> rooms[kRooms];
        for (int i = 0; i < kRooms; ++i) rooms[i] = {memory.data() + (team.rank() * kRooms + i) * block * width, block * kPanel};
        const Range share = team.share((rows + block - 1) / block);
        for (index_t b = share.begin; b < share.end; ++b) body(b * block, std::min(block, rows - b * block), rooms);
      },
      Subnormals::kept);
}
template <class T>
void pack_rows(const T* x, index_t rows, index_t cols, index_t row, index_t n, const Panels<T>& to) {
  for (index_t p = 0; p < panels(cols); ++p) pack(Matrix<T>{x, rows, cols}, row, n, p, to.at(p, 0));
}
template <class T>
void unpack_rows(const Panels<T>& from, index_t cols, index_t row, index_t n, T* out) {
  for (index_t p = 0; p < panels(cols); ++p) unpack(from.at(p, 0), n, cols, row, p, out);
}

template <class T>
void column_sums(const T* x, index_t rows, index_t cols, T* sums) {
  std::vector<T> total = padded<T>(nullptr, cols);
  parallel(
      threads_for_numbers(rows * cols),
      [&](Team& team) {
        alignas(64) T block[kBlock];
        const Range share = team.share(panels(cols));
        for (index_t p = share.begin; p < share.end; ++p) {
          for (index_t row = 0; row < rows; row += kBlock / kPanel) {
            const index_t n = std::min(kBlock / kPanel, rows - row);
            pack(Matrix<T>{x, rows, cols}, row, n, p, block);
            kernels<T>().column_sums(block, n, total.data() + p * kPanel);
          }
        }
      },
      Subnormals::kept);
  std::copy_n(total.data(), cols, sums);
}

}  // namespace

template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, const T* bias, int asked, T* out) {
  const Kernels<T>& k = kernels<T>();
  const index_t depth = a.cols, cols = b.cols;
  const std::vector<T> init = padded(bias, cols);
  if (depth == 0) {
    for (index_t row = 0; row < a.rows; ++row) std::copy_n(init.data(), cols, out + row * cols);
    return;
  }
  // A single row waits for memory, of which a second core has more.
  const double work = static_cast<double>(a.rows) * static_cast<double>(depth) * static_cast<double>(cols);
  const int threads = threads_for(work, asked, a.rows == 1 ? kLeastWorkByRows : kLeastWork);
  if (a.rows == 1) return multiply_row(a.data, b, init.data(), threads, out);
  // Of `a` a block of rows, which all threads read; of `b` and of the result what a thread is working on.
  const index_t block = std::min(a.rows, std::clamp(kBlockNumbers / depth, kFewestRows, kMostRows)), a_step = (block | 1) * kPanel;
  const index_t scratch = (kDepthBlock + block) * kPanel;
  Buffer<T> left(panels(depth) * a_step, 0, Contents::unset), memory(threads * scratch, 1, Contents::unset);
  parallel(threads, [&](Team& team) {
    T *right = memory.data() + team.rank() * scratch, *result = right + kDepthBlock * kPanel;
    for (index_t first = 0; first < a.rows; first += block) {
      const index_t rows = std::min(block, a.rows - first);
      const Range share = team.share(panels(depth));
      for (index_t p = share.begin; p < share.end; ++p) pack(a, first, rows, p, left.data() + p * a_step);
      team.barrier();
      share_pieces(team, k.tile_rows, rows, panels(cols), [&](index_t panel, index_t row, index_t row_end) {
        for_each_depth_block(depth, k.depth_block, [&](index_t k0, index_t n) {
          pack(b, k0, n, panel, right);
          k.gemm(left.data() + k0 / kPanel * a_step + row * kPanel, a_step, right, row_end - row, width_of(cols, panel), n,
                 k0 == 0 ? init.data() + panel * kPanel : result, k0 == 0 ? 0 : kPanel, result, {nullptr, 0}, {nullptr, 0});
        });
        unpack(result, row_end - row, cols, first + row, panel, out);
      });
      team.barrier();
    }
  });
}

template <class T>
void activation(Activation f, const T* parameter, index_t rows, index_t cols, const T* z, T* a) {
  const Kernels<T>& k = kernels<T>();
  if (f == Activation::softmax) {
    return for_each_row_block<T, 1>(rows, cols, [&](index_t row, index_t n, const Panels<T>* rooms) {
      const Panels<T>& x = rooms[0];
      pack_rows(z, rows, cols, row, n, x);
      k.softmax(x.at(0, 0), x.step, x.at(0, 0), x.step, n, cols);
      unpack_rows(x, cols, row, n, a);
    });
  }
  for_each_run(parameter, rows, cols,
               [&](index_t i, index_t n, const T* values) { k.value[static_cast<int>(f)](z + i, a + i, n, values); });
}

template <class T>
void activation_backward(Activation f, const T* parameter, index_t rows, index_t cols, const T* z, const T* g, T* gz, T* by_parameter) {
  const Kernels<T>& k = kernels<T>();
  if (f == Activation::softmax) {
    return for_each_row_block<T, 2>(rows, cols, [&](index_t row, index_t n, const Panels<T>* rooms) {
      const Panels<T>&a = rooms[0], &delta = rooms[1];
      pack_rows(z, rows, cols, row, n, a);
      pack_rows(g, rows, cols, row, n, delta);
      k.softmax(a.at(0, 0), a.step, a.at(0, 0), a.step, n, cols);
      k.softmax_slope(a.at(0, 0), a.step, delta.at(0, 0), delta.step, n, cols);
      unpack_rows(delta, cols, row, n, gz);
      std::fill_n(by_parameter + row * cols, n * cols, T{0});
    });
  }
  for_each_run(parameter, rows, cols, [&](index_t i, index_t n, const T* values) {
    alignas(64) T a[kBlock];
    if (!needs_input(f)) k.value[static_cast<int>(f)](z + i, a, n, values);
    std::copy_n(g + i, n, gz + i);
    k.slope[static_cast<int>(f)](z + i, a, gz + i, n, values, by_parameter + i);
    if (!learnable(f)) std::fill_n(by_parameter + i, n, T{0});
  });
}

template <class T>
void dense_backward(Activation f, const T* parameter, const Matrix<T>& x, const Matrix<T>& w, const T* z, const T* g, int threads, T* by_x,
                    T* by_w, T* by_b, T* by_parameter) {
  const index_t rows = x.rows, cols = w.cols;
  Buffer<T> delta(rows * cols, 0, Contents::unset), each_by_parameter(rows * cols, 1, Contents::unset);
  activation_backward(f, parameter, rows, cols, z, g, delta.data(), each_by_parameter.data());
  const Matrix<T> d{delta.data(), rows, cols};
  matmul<T>(d, Matrix<T>{w.data, w.cols, w.rows, true}, nullptr, threads, by_x);
  matmul<T>(Matrix<T>{x.data, x.cols, x.rows, true}, d, nullptr, threads, by_w);
  column_sums(d.data, rows, cols, by_b);
  column_sums<T>(each_by_parameter.data(), rows, cols, by_parameter);
}

template <class T>
void loss(Loss kind, const T* p, const T* t, index_t rows, index_t cols, const std::vector<ColumnGroup>& groups, double* row_loss,
          T* delta) {
  const std::vector<T> ones(static_cast<std::size_t>(std::min(rows, kBlock)), T{1});
  std::fill_n(row_loss, rows, 0.0);
  for_each_row_block<T, 3>(rows, cols, [&](index_t row, index_t n, const Panels<T>* rooms) {
    const Panels<T>&outputs = rooms[0], &targets = rooms[1], &result = rooms[2];
    pack_rows(p, rows, cols, row, n, outputs);
    pack_rows(t, rows, cols, row, n, targets);
    const auto run = [&](auto kernel, auto... more) {
      kernel(outputs.at(0, 0), outputs.step, targets.at(0, 0), targets.step, result.at(0, 0), result.step, n, cols, ones.data(),
             row_loss + row, false, nullptr, 0, more...);
    };
    if (kind == Loss::mixed) {
      run(kernels<T>().mixed_loss, groups.data(), static_cast<index_t>(groups.size()));
    } else {
      run(kernels<T>().loss[static_cast<int>(kind)]);
    }
    unpack_rows(result, cols, row, n, delta);
  });
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
  s.momentum_rest = 1 - s.momentum;
  s.decay_rest = 1 - s.decay;
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
  const UpdateScalars<T> s = update_scalars<T>(spec, step, rate, spec.momentum, alpha);
  for_each_run<T>(nullptr, 1, n, [&](index_t i, index_t count, const T*) {
    kernels<T>().update[static_cast<int>(spec.kind)](w + i, m + i, v + i, g + i, count, s);
  });
}

template <class T>
void corrupt(const NoiseSpec& noise, const index_t* ids, index_t rows, index_t cols, std::uint64_t seed, std::uint32_t step, const T* x,
             T* out) {
  const Corruption<T> corruption(noise, seed, cols);
  const Data<T> data{x, nullptr, nullptr, rows};
  for_each_row_block<T, 1>(rows, cols, [&](index_t row, index_t n, const Panels<T>* rooms) {
    pack_rows(x, rows, cols, row, n, rooms[0]);
    for (index_t r = 0; r < n; ++r) corruption.apply(kernels<T>(), rooms[0], r, {}, data, ids[row + r], step);
    unpack_rows(rooms[0], cols, row, n, out);
  });
}

// On one thread: what follows decides how many it is worth.
template <class T>
bool squares_are_finite(const T* x, index_t n) {
  const index_t rows = n / kPanel;
  return std::isfinite(kernels<T>().square_sum(x, rows)) &&
         std::all_of(x + rows * kPanel, x + n, [](T number) { return std::isfinite(number); });
}

#define LAYERWISE_INSTANTIATE(T)                                                                                                      \
  template void matmul<T>(const Matrix<T>&, const Matrix<T>&, const T*, int, T*);                                                     \
  template void activation<T>(Activation, const T*, index_t, index_t, const T*, T*);                                                  \
  template void activation_backward<T>(Activation, const T*, index_t, index_t, const T*, const T*, T*, T*);                           \
  template void dense_backward<T>(Activation, const T*, const Matrix<T>&, const Matrix<T>&, const T*, const T*, int, T*, T*, T*, T*); \
  template void loss<T>(Loss, const T*, const T*, index_t, index_t, const std::vector<ColumnGroup>&, double*, T*);                    \
  template void optimizer_step<T>(const OptimizerSpec&, T*, T*, T*, const T*, index_t, double, index_t, double);                      \
  template void corrupt<T>(const NoiseSpec&, const index_t*, index_t, index_t, std::uint64_t, std::uint32_t, const T*, T*);           \
  template bool squares_are_finite<T>(const T*, index_t);                                                                             \
  template UpdateScalars<T> update_scalars<T>(const OptimizerSpec&, index_t, double, double, double);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
