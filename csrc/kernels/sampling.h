// Random states of stochastic units.
#pragma once

#include "kernels/random.h"

namespace layerwise {
namespace {

// 1 with probability p, else 0: the word's upper 24 bits, which both element types hold exactly, are a uniform number in [0, 1).
// A NaN gives 0. `state` may be `p`.
template <class T>
void bernoulli(const T* p, T* state, const RandomPlace& place) {
  std::uint32_t words[kPanel];
  random_words(place, words);
  const T unit = T(1) / T(16777216);
  for (index_t c = 0; c < kPanel; ++c) state[c] = T(std::int32_t(words[c] >> 8)) * unit < p[c] ? T(1) : T(0);
}

template <class T>
constexpr void fill_sampling(Kernels<T>& table) {
  table.bernoulli = bernoulli<T>;
}

}  // namespace
}  // namespace layerwise
