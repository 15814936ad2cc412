// Counter-based random numbers (Philox4x32-10; Salmon et al. 2011) and dropout, which is made of them. Noise: noise.h.
//
// A group is 32 words: word w of block b belongs to column 8 w + b. So a number depends on its place alone, never on the
// thread, the batch or the vector width that made it.
#pragma once

#include "kernels/kernels.h"
#include "kernels/vmath.h"

namespace layerwise {
namespace {

// Four blocks side by side, or eight. Only the low half of each 64-bit lane counts; whatever a product leaves above it is never read.
#if defined(__AVX512F__)
typedef std::uint64_t Blocks __attribute__((vector_size(64)));
constexpr int kParities = 1;
#else
typedef std::uint64_t Blocks __attribute__((vector_size(32)));
constexpr int kParities = 2;
#endif

inline Blocks multiply_low_halves(Blocks a, std::uint32_t b) {
#if defined(__AVX512F__)
  return (Blocks)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(b));  // the unmasked form warns in GCC 12
#elif defined(__AVX2__)
  return (Blocks)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#else
  typedef std::uint64_t Half __attribute__((vector_size(16)));
  Half half[2];
  __builtin_memcpy(half, &a, sizeof a);
  for (Half& h : half) {
#if defined(__x86_64__)
    h = (Half)_mm_mul_epu32((__m128i)h, _mm_set1_epi64x(b));
#else
    h = (Half)vmull_n_u32(vmovn_u64((uint64x2_t)h), b);
#endif
  }
  __builtin_memcpy(&a, half, sizeof a);
  return a;
#endif
}

inline void random_words(const RandomPlace& place, std::uint32_t* words) {
  // Eight blocks in their order; or parity 0: blocks 0, 2, 4, 6; parity 1: blocks 1, 3, 5, 7. Put together, lane i of both is a pair of
  // neighbours.
  Blocks word[kParities][4], first;
  for (int lane = 0; lane < 8 / kParities; ++lane) first[lane] = static_cast<std::uint64_t>(kParities * lane);
  for (int parity = 0; parity < kParities; ++parity) {
    const std::uint64_t block = place.group * 8 + static_cast<std::uint64_t>(parity);
    word[parity][0] = first + (block & 0xffffffff);  // 8 blocks never carry into the high word
    word[parity][1] = Blocks{} + (block >> 32);
    word[parity][2] = Blocks{} + place.step;
    word[parity][3] = Blocks{} + place.stream;
  }
  std::uint32_t key0 = static_cast<std::uint32_t>(place.seed), key1 = static_cast<std::uint32_t>(place.seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
#pragma GCC unroll 2
    for (int parity = 0; parity < kParities; ++parity) {
      Blocks* c = word[parity];
      const Blocks product0 = multiply_low_halves(c[0], 0xd2511f53), product1 = multiply_low_halves(c[2], 0xcd9e8d57);
      c[0] = (product1 >> 32) ^ c[1] ^ key0;
      c[1] = product1;
      c[2] = (product0 >> 32) ^ c[3] ^ key1;
      c[3] = product0;
    }
    key0 += 0x9e3779b9;
    key1 += 0xbb67ae85;
  }
  for (int w = 0; w < 4; ++w) {
#if defined(__AVX512F__)
    typedef std::uint32_t Words __attribute__((vector_size(32)));
    const Words eight = __builtin_convertvector(word[0][w], Words);
#else
    const Blocks eight = (word[0][w] & 0xffffffff) | (word[1][w] << 32);
#endif
    __builtin_memcpy(words + 8 * w, &eight, sizeof eight);
  }
}

// Whether each word is below the threshold (0 .. 2^32), in the plain loops that compilers vectorise.
struct Below {
  std::uint32_t limit, always;
  explicit Below(std::uint64_t threshold) : limit(static_cast<std::uint32_t>(threshold)), always(threshold >> 32 ? ~0u : 0u) {}
  bool operator()(std::uint32_t word) const { return ((word < limit ? ~0u : 0u) | always) != 0; }
};

// out = a times keep_scale where the column's bit is 1, else times 0.
template <class T>
inline void multiply_kept(std::uint32_t kept, T keep_scale, const T* a, T* out) {
  using Integer = typename IntegerOf<T>::type;
  Integer lane[kLanes<T>];
  for (index_t c = 0; c < kLanes<T>; ++c) lane[c] = Integer{1} << c;
  for (index_t c = 0; c < kPanel; c += kLanes<T>, kept >>= kLanes<T> % 32) {
    const IntVec<T> bits = load<Integer>(lane) & static_cast<Integer>(kept);
    store(out + c, load(a + c) * (bits != Integer{0} ? set(keep_scale) : Vec<T>{}));
  }
}

template <class T>
std::uint32_t dropout(const T* a, T* out, const RandomPlace& place, std::uint64_t threshold, T keep_scale) {
  std::uint32_t words[kPanel];
  random_words(place, words);
  const Below hit(threshold);
  std::uint32_t kept = 0;
  for (index_t c = 0; c < kPanel; ++c) kept |= (hit(words[c]) ? 0u : 1u) << c;
  multiply_kept(kept, keep_scale, a, out);
  return kept;
}

template <class T>
void dropout_slope(const std::uint32_t* kept, T keep_scale, index_t rows, T* g) {
  for (index_t r = 0; r < rows; ++r, g += kPanel) multiply_kept(kept[r], keep_scale, g, static_cast<T*>(g));
}

template <class T>
void multiply(const T* a, const T* b, T* out, index_t n) {
  each(out, n, [=](auto at) { return at(a) * at(b); });
}

template <class T>
constexpr void fill_random(Kernels<T>& table) {
  table.dropout = dropout<T>;
  table.dropout_slope = dropout_slope<T>;
  table.multiply = multiply<T>;
}

}  // namespace
}  // namespace layerwise
