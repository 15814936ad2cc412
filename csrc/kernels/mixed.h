// The loss of rows whose columns are of several kinds, cut into groups: numbers, flags, and categories of which one level is 1.
#pragma once

#include "kernels/losses.h"

namespace layerwise {
namespace {

// body(panel, k, valid) for each vector of a row that holds a column of begin .. end - 1, as each_of_row in rows.h.
template <class T, class Body>
inline void each_of_group(const ColumnGroup& group, Body body) {
  for (index_t panel = group.begin / kPanel; panel * kPanel < group.end; ++panel) {
    for (index_t k = 0; k < kPanelVectors<T>; ++k) {
      const index_t first = panel * kPanel + k * kLanes<T>;
      if (first + kLanes<T> <= group.begin || first >= group.end) continue;
      body(panel, k, columns_below<T>(first, group.end) & ~columns_below<T>(first, group.begin));
    }
  }
}

// Writes the lanes that count and leaves the others, which are another group's.
template <class T>
inline void store_valid(T* p, Vec<T> v, IntVec<T> valid) {
  store(p, valid ? v : load(static_cast<const T*>(p)));
}

template <class T>
inline T group_max(const T* z, index_t z_step, const ColumnGroup& group) {
  Vec<T> largest = set(-T(__builtin_inf()));
  each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) {
    const Vec<T> x = load(z + panel * z_step + k * kLanes<T>);
    largest = (valid & (x > largest)) ? x : largest;
  });
  return largest_lane<T>(largest);
}

template <class T>
inline void softmax_of_group(T* a, index_t step, const ColumnGroup& group) {
  const Vec<T> top = set(group_max<T>(a, step, group));
  RowSum<T> sum;
  each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) {
    T* place = a + panel * step + k * kLanes<T>;
    const Vec<T> e = exp_of_difference<T>(load(static_cast<const T*>(place)), top);
    sum.chain[k] += valid ? e : Vec<T>{};
    store_valid(place, e, valid);
  });
  const T total = static_cast<T>(sum.total(group.end));
  each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) {
    T* place = a + panel * step + k * kLanes<T>;
    store_valid(place, load(static_cast<const T*>(place)) / total, valid);
  });
}

template <class T>
void mixed(T* a, index_t step, index_t rows, const ColumnGroup* groups, index_t n_groups) {
  for (index_t r = 0; r < rows; ++r, a += kPanel) {
    for (index_t g = 0; g < n_groups; ++g) {
      if (groups[g].kind == GroupKind::category) softmax_of_group(a, step, groups[g]);
      if (groups[g].kind != GroupKind::flag) continue;
      each_of_group<T>(groups[g], [&](index_t panel, index_t k, IntVec<T> valid) {
        T* place = a + panel * step + k * kLanes<T>;
        store_valid(place, sigmoid<T>(load(static_cast<const T*>(place))), valid);
      });
    }
  }
}

// Where the losses of one row's groups are read and written; weights and delta may be null.
template <class T>
struct MixedRow {
  const T *z, *t, *weights;
  T* delta;
  index_t z_step, t_step, weights_step, delta_step;
  T scale;
  bool masked;
  RowSum<T> loss;

  Vec<T> weight(index_t panel, index_t k) const {
    return weights == nullptr ? set(T(1)) : load(weights + panel * weights_step + k * kLanes<T>);
  }
  Vec<T> target(index_t panel, index_t k) const { return load(t + panel * t_step + k * kLanes<T>); }
  Vec<T> logit(index_t panel, index_t k) const { return load(z + panel * z_step + k * kLanes<T>); }
  void write(index_t panel, index_t k, Vec<T> slope, IntVec<T> valid) {
    if (delta != nullptr) store_valid(delta + panel * delta_step + k * kLanes<T>, slope * scale, valid);
  }
};

template <class T, class L>
inline void cells_of_group(MixedRow<T>& row, const ColumnGroup& group) {
  each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) {
    const Vec<T> target = row.target(panel, k), weight = row.weight(panel, k);
    const IntVec<T> counts = row.masked ? valid & (target == target) : valid;
    const Cell<T> cell = L::at(row.logit(panel, k), target);
    row.loss.chain[k] += counts ? cell.loss * weight : Vec<T>{};
    row.write(panel, k, counts ? cell.slope * weight : Vec<T>{}, valid);
  });
}

// As softmax_cross_entropy in losses.h, of the targets times their weights.
template <class T>
inline void category_of_group(MixedRow<T>& row, const ColumnGroup& group) {
  const Vec<T> top = set(group_max<T>(row.z, row.z_step, group));
  RowSum<T> exponentials, targets;
  each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) {
    exponentials.chain[k] += valid ? exp_of_difference<T>(row.logit(panel, k), top) : Vec<T>{};
    targets.chain[k] += valid ? row.target(panel, k) * row.weight(panel, k) : Vec<T>{};
  });
  const T target_sum = static_cast<T>(targets.total(group.end));
  if (row.masked && target_sum != target_sum) {
    each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) { row.write(panel, k, Vec<T>{}, valid); });
    return;
  }
  const T sum = static_cast<T>(exponentials.total(group.end));
  const Vec<T> log_sum = log<T>(set(sum));
  const Vec<T> share = set(target_sum / sum);
  each_of_group<T>(group, [&](index_t panel, index_t k, IntVec<T> valid) {
    const Vec<T> x = row.logit(panel, k), target = row.target(panel, k) * row.weight(panel, k);
    row.loss.chain[k] += (valid & (target != T(0))) ? target * (log_sum - (x - top)) : Vec<T>{};
    row.write(panel, k, fma(exp_of_difference<T>(x, top), share, -target), valid);
  });
}

template <class T>
void mixed_loss(const T* z, index_t z_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t rows, index_t cols,
                const T* row_scale, double* row_loss, bool masked, const T* weights, index_t weights_step, const ColumnGroup* groups,
                index_t n_groups) {
  for (index_t r = 0; r < rows; ++r) {
    const auto of_row = [r](const T* p) { return p == nullptr ? p : p + r * kPanel; };
    T* out = delta == nullptr ? nullptr : delta + r * kPanel;
    MixedRow<T> row{of_row(z), of_row(t), of_row(weights), out, z_step, t_step, weights_step, delta_step, T(0), masked, {}};
    if (out != nullptr) row.scale = row_scale[r];
    for (index_t g = 0; g < n_groups; ++g) {
      switch (groups[g].kind) {
        case GroupKind::number:
          cells_of_group<T, SquaredError<T>>(row, groups[g]);
          break;
        case GroupKind::flag:
          cells_of_group<T, SigmoidCrossEntropy<T>>(row, groups[g]);
          break;
        case GroupKind::category:
          category_of_group(row, groups[g]);
          break;
      }
    }
    row_loss[r] += row.loss.total(cols);
  }
}

template <class T>
constexpr void fill_mixed(Kernels<T>& table) {
  table.mixed = mixed<T>;
  table.mixed_loss = mixed_loss<T>;
}

}  // namespace
}  // namespace layerwise
