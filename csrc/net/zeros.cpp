#include "net/zeros.h"

#include <algorithm>
#include <bitset>

namespace layerwise {
namespace {

// Bits of the features begin .. end - 1 (at most 32) of a row that are not 0.
template <class T>
std::uint32_t nonzero_features(const T* row, index_t begin, index_t end) {
  std::uint32_t bits = 0;
  if (end - begin == kPanel) {
    kernels<T>().nonzero_bits(row + begin, 0, kPanel, &bits, 0);
  } else {  // past whose end there may be nothing to read
    for (index_t f = begin; f < end; ++f) bits |= static_cast<std::uint32_t>(row[f] != 0) << (f - begin);
  }
  return bits;
}

index_t count(std::uint32_t bits) { return static_cast<index_t>(std::bitset<32>(bits).count()); }

}  // namespace

template <class T>
ZeroSkips zero_skips(const Data<T>& data, index_t n_in, index_t n_out) {
  constexpr index_t kRows = 8, kMostGroups = 8, kRowsOfGroup = 64;  // so few that looking costs little beside the rows' products
  // What may be filled: of the features in groups of eight rows, and of the rows in groups of four features. More is left out at no gain,
  // in gradients of few rows at a loss (docs/decisions/0011).
  constexpr double kMostForward = 0.75, kMostGradient = 0.5;
  if (data.rows < 2 || n_out <= kPanel / 2) return {};
  const index_t groups = std::clamp(data.rows / kRowsOfGroup, index_t{1}, kMostGroups), rows = std::min(data.rows, kRows);
  index_t of_features = 0, of_rows = 0;
  for (index_t g = 0; g < groups; ++g) {
    for (index_t f = 0; f < n_in; f += kPanel) {
      std::uint32_t any = 0;
      for (index_t r = 0; r < rows; ++r) {
        const T* row = data.x + (g * rows + r) * data.rows / (groups * rows) * n_in;
        const std::uint32_t bits = nonzero_features(row, f, std::min(f + kPanel, n_in));
        any |= bits;
        of_rows += count((bits | bits >> 1 | bits >> 2 | bits >> 3) & 0x11111111);
      }
      of_features += count(any);
    }
  }
  const auto share = [&](index_t filled, index_t all) { return static_cast<double>(filled) / static_cast<double>(groups * all); };
  return {share(of_features, n_in) <= kMostForward, share(of_rows, rows * ((n_in + 3) / 4)) <= kMostGradient};
}

template ZeroSkips zero_skips<float>(const Data<float>&, index_t, index_t);
template ZeroSkips zero_skips<double>(const Data<double>&, index_t, index_t);

}  // namespace layerwise
