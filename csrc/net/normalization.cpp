#include "net/normalization.h"

namespace layerwise {
namespace {

template <class T>
Normalization<T> unit_of(const Batch<T>& batch, int l, index_t panel) {
  const T* numbers = batch.network.data() + panel * kPanel;
  const Window& window = batch.network.window(l);
  Normalization<T> unit{numbers + window.mean, numbers + window.variance, numbers + window.scale, numbers + window.bias,
                        static_cast<T>(batch.network.layer(l).norm_epsilon)};
  if (by_own_rows(batch, l)) {
    const NormalizationRoom<T>& own = batch.room.normalizations[at(l)];
    unit.mean = own.mean.data() + panel * kPanel;
    unit.variance = own.variance.data() + panel * kPanel;
  }
  return unit;
}

}  // namespace

template <class T>
void take_moments(const Batch<T>& batch, int l, index_t panel) {
  NormalizationRoom<T>& own = batch.room.normalizations[at(l)];
  batch.k.batch_moments(batch.room.layers[at(l)].normal.at(panel, 0), batch.room.row_scale.data(), batch.rows,
                        own.mean.data() + panel * kPanel, own.variance.data() + panel * kPanel);
}

template <class T>
void normalize_piece(const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  batch.k.normalize(unit_of(batch, l, panel), row_end - row, room.normal.at(panel, row), room.z.at(panel, row));
}

template <class T>
void normalize_delta(const Batch<T>& batch, int l, index_t panel) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  NormalizationRoom<T>& own = batch.room.normalizations[at(l)];
  T *by_shift = own.by_shift.data() + panel * kPanel, *by_scale = own.by_scale.data() + panel * kPanel;
  batch.k.normalization_sums(room.normal.at(panel, 0), room.delta.at(panel, 0), batch.rows, by_shift, by_scale);
  const bool moves = by_own_rows(batch, l);  // the statistics, with each row's product
  batch.k.normalization_slope(unit_of(batch, l, panel), room.normal.at(panel, 0), batch.room.row_scale.data(), moves ? by_shift : kZeros<T>,
                              moves ? by_scale : kZeros<T>, batch.rows, room.delta.at(panel, 0));
}

template <class T>
void move_statistics(const Batch<T>& batch, int l, index_t panel, Network<T>& network) {
  if (!by_own_rows(batch, l)) return;
  const NormalizationRoom<T>& own = batch.room.normalizations[at(l)];
  const T momentum = static_cast<T>(network.layer(l).norm_momentum);
  const auto move = [&](index_t window, const std::vector<T>& of_batch) {
    T* running = network.data() + window + panel * kPanel;
    for (index_t c = 0; c < kPanel; ++c) {
      running[c] = (T{1} - momentum) * running[c] + momentum * of_batch[static_cast<std::size_t>(panel * kPanel + c)];
    }
  };
  move(network.window(l).mean, own.mean);
  move(network.window(l).variance, own.variance);
}

#define LAYERWISE_INSTANTIATE(T)                                                     \
  template void take_moments<T>(const Batch<T>&, int, index_t);                      \
  template void normalize_piece<T>(const Batch<T>&, int, index_t, index_t, index_t); \
  template void normalize_delta<T>(const Batch<T>&, int, index_t);                   \
  template void move_statistics<T>(const Batch<T>&, int, index_t, Network<T>&);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
