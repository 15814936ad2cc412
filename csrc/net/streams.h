// Random numbers outside the kernels: shuffles, initial weights. All are functions of (seed, step, stream, position) alone.
#pragma once

#include "base/types.h"

namespace layerwise {

void random_words(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, std::uint32_t* out, index_t n);
// In [0, 1) with 53 bits: words 2 i and 2 i + 1 of the stream, the second on top.
void random_uniform(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, double* out, index_t n);
// Box and Muller (1958) on pairs of uniforms: numbers 2 i and 2 i + 1 are the cosine and the sine.
void random_normal(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, double* out, index_t n);
// Shuffles `order` in place (Fisher and Yates); number i of the stream decides the partner of element n - 1 - i.
void random_shuffle(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, index_t* order, index_t n);

}  // namespace layerwise
