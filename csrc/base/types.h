// The few words every file uses.
#pragma once

#include <cstddef>
#include <cstdint>

namespace layerwise {

using index_t = std::ptrdiff_t;

// Everything is stored in panels of 32 features: [feature / 32][row][32], padded with zeros to a whole panel.
// 32 floats are two AVX-512 vectors, four AVX2 vectors and two cache lines; docs/architecture.md says why.
inline constexpr index_t kPanel = 32;

constexpr index_t panels(index_t features) { return (features + kPanel - 1) / kPanel; }

}  // namespace layerwise
