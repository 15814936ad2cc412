// One vector type per element type, as wide as the instruction set this file is compiled for.
//
// Arithmetic is written with the compiler's vector extensions; only what they cannot say (fused multiply-add, square root,
// widening integer product) is an intrinsic. No C++ library header may be included by a kernel file: an inline function of
// the library compiled here would be a weak symbol, and the linker could keep the AVX-512 copy for every processor.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "base/types.h"

namespace layerwise {
namespace {

#if defined(__AVX512F__)
constexpr index_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr index_t kVectorBytes = 32;
#else
constexpr index_t kVectorBytes = 16;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes)));
  typedef T unaligned __attribute__((vector_size(kVectorBytes), aligned(sizeof(T)), may_alias));
};
template <class T>
using Vec = typename VectorOf<T>::type;
template <class T>
constexpr index_t kLanes = kVectorBytes / static_cast<index_t>(sizeof(T));
template <class T>
constexpr index_t kPanelVectors = kPanel / kLanes<T>;  // of a panel's row
template <class T>
constexpr index_t kLine = 64 / static_cast<index_t>(sizeof(T));  // numbers of a cache line

// The signed integer as wide as T: what a comparison of vectors gives, and what a float's bits are.
template <class T>
struct IntegerOf;
template <>
struct IntegerOf<float> {
  typedef std::int32_t type;
};
template <>
struct IntegerOf<double> {
  typedef std::int64_t type;
};
template <class T>
using IntVec = Vec<typename IntegerOf<T>::type>;

// Before each loop over the rows or vectors of a tile, whose sums should stay in registers: unrolled this early, they are registers and
// nothing else. Left to itself GCC keeps a copy of the tile on the stack, written and read again around the loop over the depth: 120 cycles
// a tile.
#define LAYERWISE_UNROLL _Pragma("GCC unroll 16")

template <class T>
inline Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename VectorOf<T>::unaligned*>(p);
}
template <class T>
inline void store(T* p, Vec<T> v) {
  *reinterpret_cast<typename VectorOf<T>::unaligned*>(p) = v;
}

// For panels whose second half of a vector would be padding: half a vector, if that has instructions of its own.
#if defined(__AVX512F__)
constexpr index_t kNarrowBytes = kVectorBytes / 2;
#else
constexpr index_t kNarrowBytes = kVectorBytes;
#endif
template <class T>
struct NarrowOf {
  typedef T type __attribute__((vector_size(kNarrowBytes)));
};
template <class T>
using Narrow = typename NarrowOf<T>::type;
// The same for a vector of any width.
template <class V, class T>
inline V load_as(const T* p) {
  typedef V Unaligned __attribute__((aligned(sizeof(T)), may_alias));
  return *reinterpret_cast<const Unaligned*>(p);
}
template <class V, class T>
inline void store_as(T* p, V v) {
  typedef V Unaligned __attribute__((aligned(sizeof(T)), may_alias));
  *reinterpret_cast<Unaligned*>(p) = v;
}
template <class V, class T>
inline V set_as(T x) {
  return x - V{};
}
// The first n < kLanes numbers; the other lanes are 0.
template <class T>
inline Vec<T> load_some(const T* p, index_t n) {
  T lane[kLanes<T>] = {};
  for (index_t i = 0; i < n; ++i) lane[i] = p[i];
  return load(lane);
}
template <class T>
inline void store_some(T* p, Vec<T> v, index_t n) {
  T lane[kLanes<T>];
  store(lane, v);
  for (index_t i = 0; i < n; ++i) p[i] = lane[i];
}
template <class T>
inline Vec<T> set(T x) {
  return x - Vec<T>{};
}

// a * b + c with one rounding; on x86-64-v2, which has no such instruction, with two.
inline Vec<float> fma(Vec<float> a, Vec<float> b, Vec<float> c) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Vec<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
inline Vec<double> fma(Vec<double> a, Vec<double> b, Vec<double> c) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__AVX2__)
  return (Vec<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
  return (Vec<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
  return a * b + c;
#endif
}

#if defined(__AVX512F__)
inline Narrow<float> fma(Narrow<float> a, Narrow<float> b, Narrow<float> c) {
  return (Narrow<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
}
inline Narrow<double> fma(Narrow<double> a, Narrow<double> b, Narrow<double> c) {
  return (Narrow<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
}
inline Narrow<float> sqrt(Narrow<float> x) { return (Narrow<float>)_mm256_sqrt_ps((__m256)x); }
#endif

inline Vec<float> sqrt(Vec<float> x) {
#if defined(__AVX512F__)
  return (Vec<float>)_mm512_maskz_sqrt_ps(0xffff, (__m512)x);  // the unmasked form warns in GCC 12
#elif defined(__AVX2__)
  return (Vec<float>)_mm256_sqrt_ps((__m256)x);
#elif defined(__aarch64__)
  return (Vec<float>)vsqrtq_f32((float32x4_t)x);
#else
  return (Vec<float>)_mm_sqrt_ps((__m128)x);
#endif
}
inline Vec<double> sqrt(Vec<double> x) {
#if defined(__AVX512F__)
  return (Vec<double>)_mm512_maskz_sqrt_pd(0xff, (__m512d)x);
#elif defined(__AVX2__)
  return (Vec<double>)_mm256_sqrt_pd((__m256d)x);
#elif defined(__aarch64__)
  return (Vec<double>)vsqrtq_f64((float64x2_t)x);
#else
  return (Vec<double>)_mm_sqrt_pd((__m128d)x);
#endif
}

// A bit for each lane whose number is not 0.
inline std::uint32_t nonzero(Vec<float> x) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)x, _mm512_setzero_ps(), _CMP_NEQ_UQ);
#elif defined(__AVX2__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps((__m256)x, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
#elif defined(__aarch64__)
  const uint32x4_t bits = {1, 2, 4, 8};
  return vaddvq_u32(vbicq_u32(bits, vceqzq_f32((float32x4_t)x)));
#else
  return static_cast<std::uint32_t>(_mm_movemask_ps(_mm_cmpneq_ps((__m128)x, _mm_setzero_ps())));
#endif
}
inline std::uint32_t nonzero(Vec<double> x) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask((__m512d)x, _mm512_setzero_pd(), _CMP_NEQ_UQ);
#elif defined(__AVX2__)
  return static_cast<std::uint32_t>(_mm256_movemask_pd(_mm256_cmp_pd((__m256d)x, _mm256_setzero_pd(), _CMP_NEQ_UQ)));
#elif defined(__aarch64__)
  const uint64x2_t bits = {1, 2};
  return static_cast<std::uint32_t>(vaddvq_u64(vbicq_u64(bits, vceqzq_f64((float64x2_t)x))));
#else
  return static_cast<std::uint32_t>(_mm_movemask_pd(_mm_cmpneq_pd((__m128d)x, _mm_setzero_pd())));
#endif
}

// A bit for each of the lanes that has one of `bits`.
inline std::uint32_t lanes_with(std::uint32_t bits, const std::uint32_t* lanes) {
  const auto one = static_cast<std::int32_t>(bits);
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask(_mm512_loadu_si512(lanes), _mm512_set1_epi32(one));
#elif defined(__AVX2__)
  const __m256i common = _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes)), _mm256_set1_epi32(one));
  const __m256i none = _mm256_cmpeq_epi32(common, _mm256_setzero_si256());
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(none))) ^ 0xff;
#elif defined(__aarch64__)
  const uint32x4_t places = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(places, vtstq_u32(vld1q_u32(lanes), vdupq_n_u32(bits))));
#else
  const __m128i common = _mm_and_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes)), _mm_set1_epi32(one));
  const __m128i none = _mm_cmpeq_epi32(common, _mm_setzero_si128());
  return static_cast<std::uint32_t>(_mm_movemask_ps(_mm_castsi128_ps(none))) ^ 0xf;
#endif
}

// f(i, in, out) is called for each vector; the last few numbers take the same arithmetic as the rest.
// Body: Vec<T> body(loader) with loader(pointer) giving the vector of that array at the current place.
template <class T, class Body>
inline void each(T* out, index_t n, Body body) {
  index_t i = 0;
  for (; i + kLanes<T> <= n; i += kLanes<T>) store(out + i, body([i](const T* p) { return load(p + i); }));
  if (i < n) store_some(out + i, body([i, n](const T* p) { return load_some(p + i, n - i); }), n - i);
}

}  // namespace
}  // namespace layerwise
