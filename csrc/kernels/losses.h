// The losses, stable, with their deltas. One convention: the sum over a row's outputs, the squared error without 1/2.
#pragma once

#include "kernels/kernels.h"
#include "kernels/rows.h"
#include "kernels/vmath.h"

namespace layerwise {
namespace {

// One number's loss and its derivative.
template <class T>
struct Cell {
  Vec<T> loss, slope;
};

template <class T>
struct SquaredError {
  static Cell<T> at(Vec<T> a, Vec<T> t) {
    const Vec<T> difference = a - t;
    return {difference * difference, difference * T(2)};
  }
};

// max(z, 0) - z t + log1p(e^-|z|), without the cancellation of its first two terms.
template <class T>
struct SigmoidCrossEntropy {
  static Cell<T> at(Vec<T> z, Vec<T> t) {
    const Vec<T> e = exp<T>(-abs<T>(z));
    const Vec<T> s = (z < T(0) ? e : set(T(1))) / (e + T(1));
    return {fma(abs<T>(z), z > T(0) ? T(1) - t : t, log1p_of_fraction<T>(e)), s - t};
  }
};

template <class T, class L, bool kWeighted>
void loss_of_rows(const T* p, index_t p_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t rows, index_t cols,
                  const T* row_scale, double* row_loss, bool masked, const T* weights, index_t weights_step) {
  const IntVec<T> count_nan = masked ? IntVec<T>{} : ~IntVec<T>{};
  for (index_t r = 0; r < rows; ++r, p += kPanel, t += kPanel) {
    RowSum<T> sum;
    T* out = delta == nullptr ? nullptr : delta + r * kPanel;
    const T scale = out == nullptr ? T(0) : row_scale[r];
    each_of_row<T>(
        cols,
        [&](index_t panel, index_t k, IntVec<T> valid) {
          const Vec<T> target = load(t + panel * t_step + k * kLanes<T>);
          const IntVec<T> counts = valid & ((target == target) | count_nan);
          Cell<T> cell = L::at(load(p + panel * p_step + k * kLanes<T>), target);
          if constexpr (kWeighted) {
            const Vec<T> weight = load(weights + panel * weights_step + r * kPanel + k * kLanes<T>);
            cell = {cell.loss * weight, cell.slope * weight};
          }
          sum.chain[k] += counts ? cell.loss : Vec<T>{};
          if (out != nullptr) store(out + panel * delta_step + k * kLanes<T>, counts ? cell.slope * scale : Vec<T>{});
        },
        [&](index_t panel, index_t k) {
          if (out != nullptr) store(out + panel * delta_step + k * kLanes<T>, Vec<T>{});
        });
    row_loss[r] += sum.total(cols);
  }
}

template <class T, class L>
void loss_of_cells(const T* p, index_t p_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t rows, index_t cols,
                   const T* row_scale, double* row_loss, bool masked, const T* weights, index_t weights_step) {
  const auto run = weights == nullptr ? loss_of_rows<T, L, false> : loss_of_rows<T, L, true>;
  run(p, p_step, t, t_step, delta, delta_step, rows, cols, row_scale, row_loss, masked, weights, weights_step);
}

template <class T>
inline void clear_row(T* x, index_t step, index_t cols) {
  for (index_t panel = 0; panel < panels(cols); ++panel) each(x + panel * step, kPanel, [](auto) { return Vec<T>{}; });
}

// What a row's loss is made of.
template <class T>
struct RowExponentials {
  T top, sum, target_sum;  // the largest z, sum_j e^(z_j - top), sum_j t_j
};

// e^(z - top) is left in the row's delta, where there is one.
template <class T>
RowExponentials<T> row_exponentials(const T* z, index_t z_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t cols) {
  const T top = row_max<T>(z, z_step, cols);
  RowSum<T> exponentials, targets;
  each_of_row<T>(
      cols,
      [&](index_t panel, index_t k, IntVec<T> valid) {
        const Vec<T> e = exp_of_difference<T>(load(z + panel * z_step + k * kLanes<T>), set(top));
        if (delta != nullptr) store(delta + panel * delta_step + k * kLanes<T>, e);
        exponentials.chain[k] += valid ? e : Vec<T>{};
        targets.chain[k] += valid ? load(t + panel * t_step + k * kLanes<T>) : Vec<T>{};
      },
      [](index_t, index_t) {});
  return {top, static_cast<T>(exponentials.total(cols)), static_cast<T>(targets.total(cols))};
}

// Turns what `row_exponentials` has left in the row's delta into the delta; returns the loss. A target of 0 counts nothing, even where
// z_j is -infinity.
template <class T>
double softmax_cross_entropy_of_row(const T* z, index_t z_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t cols,
                                    const RowExponentials<T>& row, T log_sum, T scale) {
  const T share = row.target_sum / row.sum;
  RowSum<T> loss;
  each_of_row<T>(
      cols,
      [&](index_t panel, index_t k, IntVec<T> valid) {
        const Vec<T> target = load(t + panel * t_step + k * kLanes<T>);
        const Vec<T> x = load(z + panel * z_step + k * kLanes<T>);
        loss.chain[k] += (valid & (target != T(0))) ? target * (log_sum - (x - row.top)) : Vec<T>{};
        if (delta == nullptr) return;
        T* out = delta + panel * delta_step + k * kLanes<T>;
        store(out, valid ? fma(load(out), set(share), -target) * scale : Vec<T>{});
      },
      [&](index_t panel, index_t k) {
        if (delta != nullptr) store(delta + panel * delta_step + k * kLanes<T>, Vec<T>{});
      });
  return loss.total(cols);
}

constexpr index_t kLossRows = 16;   // rows at a time, so that one vector has the logarithms of several
constexpr index_t kFewColumns = 8;  // of so few, a vector has one column of several rows, instead of a row and much padding

// `softmax_cross_entropy` of at most kLossRows rows with at most kFewColumns columns: the same arithmetic for each row. Rows that are not
// there count as zeros, so that all vectors are whole.
template <class T>
void softmax_cross_entropy_of_few(const T* z, const T* t, T* delta, index_t rows, index_t cols, const T* row_scale, double* row_loss,
                                  bool masked) {
  T x[kFewColumns][kLossRows] = {}, target[kFewColumns][kLossRows] = {}, e[kFewColumns][kLossRows];
  T top[kLossRows], sum[kLossRows], log_sum[kLossRows], target_sum[kLossRows], scale[kLossRows] = {};
  for (index_t r = 0; r < rows; ++r) {
    for (index_t j = 0; j < cols; ++j) {
      x[j][r] = z[r * kPanel + j];
      target[j][r] = t[r * kPanel + j];
    }
    if (delta != nullptr) scale[r] = row_scale[r];
  }
  each(top, kLossRows, [&](auto at) {
    Vec<T> largest = set(-T(__builtin_inf()));
    for (index_t j = 0; j < cols; ++j) {
      const Vec<T> number = at(x[j]);
      largest = number > largest ? number : largest;
    }
    return largest;
  });
  for (index_t j = 0; j < cols; ++j) {
    each(e[j], kLossRows, [&](auto at) { return exp_of_difference<T>(at(x[j]), at(top)); });
  }
  const index_t used = columns_used(cols);
  for (index_t r = 0; r < kLossRows; ++r) {
    sum[r] = static_cast<T>(sum_of_columns(&e[0][r], kLossRows, cols, used));
    target_sum[r] = static_cast<T>(sum_of_columns(&target[0][r], kLossRows, cols, used));
  }
  each(log_sum, kLossRows, [&](auto at) { return log<T>(at(sum)); });
  // The cells' losses take the place of the logits, and the deltas that of the exponentials.
  for (index_t j = 0; j < cols; ++j) {
    each(x[j], kLossRows, [&](auto at) {
      const Vec<T> wanted = at(target[j]);
      return wanted != T(0) ? wanted * (at(log_sum) - (at(x[j]) - at(top))) : Vec<T>{};
    });
    each(e[j], kLossRows, [&](auto at) { return fma(at(e[j]), at(target_sum) / at(sum), -at(target[j])) * at(scale); });
  }
  for (index_t r = 0; r < rows; ++r) {
    const bool counts = !masked || target_sum[r] == target_sum[r];
    if (counts) row_loss[r] += sum_of_columns(&x[0][r], kLossRows, cols, used);
    if (delta == nullptr) continue;
    clear_row(delta + r * kPanel, 0, kPanel);
    for (index_t j = 0; j < cols && counts; ++j) delta[r * kPanel + j] = e[j][r];
  }
}

// sum_j t_j (logsumexp(z) - z_j), whose slope is softmax(z) sum_j t_j - t.
template <class T>
void softmax_cross_entropy(const T* z, index_t z_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t rows, index_t cols,
                           const T* row_scale, double* row_loss, bool masked, const T*, index_t) {
  for (index_t first = 0; first < rows; first += kLossRows) {
    const index_t n = rows - first < kLossRows ? rows - first : kLossRows;
    RowExponentials<T> row[kLossRows];
    T sums[kLossRows] = {}, log_sums[kLossRows];
    const auto at = [&](auto* x, index_t r) { return x == nullptr ? nullptr : x + (first + r) * kPanel; };
    if constexpr (sizeof(T) == sizeof(float)) {  // in float64 not worth its code
      if (cols <= kFewColumns) {
        softmax_cross_entropy_of_few(at(z, 0), at(t, 0), at(delta, 0), n, cols, row_scale + first, row_loss + first, masked);
        continue;
      }
    }
    for (index_t r = 0; r < n; ++r) {
      row[r] = row_exponentials<T>(at(z, r), z_step, at(t, r), t_step, at(delta, r), delta_step, cols);
      sums[r] = row[r].sum;
    }
    each(log_sums, kLossRows, [&](auto from) { return log<T>(from(sums)); });
    for (index_t r = 0; r < n; ++r) {
      if (masked && row[r].target_sum != row[r].target_sum) {
        if (delta != nullptr) clear_row(at(delta, r), delta_step, cols);
      } else {
        row_loss[first + r] += softmax_cross_entropy_of_row<T>(at(z, r), z_step, at(t, r), t_step, at(delta, r), delta_step, cols, row[r],
                                                               log_sums[r], delta == nullptr ? T(0) : row_scale[first + r]);
      }
    }
  }
}

template <class T>
constexpr void fill_losses(Kernels<T>& table) {
  table.loss[static_cast<int>(Loss::squared_error)] = loss_of_cells<T, SquaredError<T>>;
  table.loss[static_cast<int>(Loss::sigmoid_cross_entropy)] = loss_of_cells<T, SigmoidCrossEntropy<T>>;
  table.loss[static_cast<int>(Loss::softmax_cross_entropy)] = softmax_cross_entropy<T>;
}

}  // namespace
}  // namespace layerwise
