#include "net/zeros.h"

#include <algorithm>

namespace layerwise {

template <class T>
bool has_many_zeros(const Data<T>& data, index_t features) {
  constexpr index_t kGroups = 8, kTileRows = 8, kSample = kGroups * kTileRows;
  constexpr double kMost = 0.8;  // of the features: what is left out beyond costs no time, but brings little
  if (data.rows < 2) return false;
  const index_t groups = std::max(index_t{1}, std::min(data.rows, kSample) / kTileRows), rows = std::min(data.rows, kTileRows);
  index_t filled = 0;
  for (index_t g = 0; g < groups; ++g) {
    for (index_t f = 0; f < features; ++f) {
      bool any = false;
      for (index_t r = 0; r < rows; ++r) any = any || data.x[(g * rows + r) * data.rows / (groups * rows) * features + f] != 0;
      filled += any ? 1 : 0;
    }
  }
  return static_cast<double>(filled) <= kMost * static_cast<double>(groups * features);
}

template bool has_many_zeros<float>(const Data<float>&, index_t);
template bool has_many_zeros<double>(const Data<double>&, index_t);

}  // namespace layerwise
