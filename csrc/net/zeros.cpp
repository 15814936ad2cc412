#include "net/zeros.h"

#include <algorithm>
#include <bitset>

namespace layerwise {
namespace {

// Of features begin .. end - 1 (at most 32), how many are not 0 in one of the rows.
template <class T>
index_t filled_features(const T* const (&rows)[8], index_t count, index_t begin, index_t end) {
  std::uint32_t bits = 0;
  for (index_t r = 0; r < count; ++r) {
    std::uint32_t word = 0;
    if (end - begin == kPanel) {
      kernels<T>().nonzero_bits(rows[r] + begin, 0, kPanel, &word, 0);
    } else {  // past whose end there may be nothing to read
      for (index_t f = begin; f < end; ++f) word |= static_cast<std::uint32_t>(rows[r][f] != 0) << (f - begin);
    }
    bits |= word;
  }
  return static_cast<index_t>(std::bitset<32>(bits).count());
}

}  // namespace

template <class T>
bool has_many_zeros(const Data<T>& data, index_t features) {
  constexpr index_t kTileRows = 8, kMostGroups = 8, kRowsOfGroup = 64;  // so few that looking costs little beside the rows' products
  constexpr double kMost = 0.8;                                         // filled: leaving out a fifth costs no time, less brings none
  if (data.rows < 2) return false;
  const index_t groups = std::clamp(data.rows / kRowsOfGroup, index_t{1}, kMostGroups), count = std::min(data.rows, kTileRows);
  index_t filled = 0;
  for (index_t g = 0; g < groups; ++g) {
    const T* rows[kTileRows] = {};
    for (index_t r = 0; r < count; ++r) rows[r] = data.x + (g * count + r) * data.rows / (groups * count) * features;
    for (index_t f = 0; f < features; f += kPanel) filled += filled_features(rows, count, f, std::min(f + kPanel, features));
  }
  return static_cast<double>(filled) <= kMost * static_cast<double>(groups * features);
}

template bool has_many_zeros<float>(const Data<float>&, index_t);
template bool has_many_zeros<double>(const Data<double>&, index_t);

}  // namespace layerwise
