// Products in bfloat16, compiled for x86-64-v4 with AVX512-BF16. Everything else of such a processor is kernels.cpp's.
#include "kernels/fused.h"
#include "kernels/gemv.h"
#include "kernels/kernels.h"
#include "kernels/transpose.h"

namespace layerwise {
namespace {

// sum + left[0] right[0] + left[1] right[1] in each lane, by the processor's own rule of rounding.
struct ByPairs {
  using Vector = Vec<float>;
  static constexpr index_t kRow = kPanel / 2;
  static constexpr bool kSparse = false;
  static Vec<float> left(const float* a) { return (Vec<float>)_mm512_set1_epi32(*reinterpret_cast<const Bits*>(a)); }
  static Vec<float> add(Vec<float> left, Vec<float> right, Vec<float> sum) {
    return (Vec<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)left, (__m512bh)right);
  }

 private:
  typedef std::int32_t Bits __attribute__((may_alias));
};

// 32 numbers rounded: 16 of `low`, then 16 of `high`.
inline __m512i rounded(Vec<float> low, Vec<float> high) { return (__m512i)_mm512_cvtne2ps_pbh((__m512)high, (__m512)low); }

void round(const float* x, index_t n, std::uint16_t* out) {
  for (index_t i = 0; i < n; i += kPanel) _mm512_storeu_si512(out + i, rounded(load(x + i), load(x + i + kLanes<float>)));
}

void pair_rows(const float* x, index_t rows, float* pairs) {
  alignas(64) static constexpr float zeros[kPanel] = {};
  alignas(64) std::uint16_t lane[32];
  for (int c = 0; c < 32; ++c) lane[c] = static_cast<std::uint16_t>(c / 2 + c % 2 * 16);
  const __m512i alternate = _mm512_load_si512(lane);
  for (index_t r = 0; r < rows; r += 2, x += 2 * kPanel, pairs += kPanel) {
    const float* next = r + 1 < rows ? x + kPanel : zeros;
    for (index_t c = 0; c < kPanel; c += kLanes<float>) {
      _mm512_storeu_si512(pairs + c, _mm512_maskz_permutexvar_epi16(0xffffffff, alternate, rounded(load(x + c), load(next + c))));
    }
  }
}

void pair_transposed(const float* w, index_t w_step, index_t rows, index_t n, float* pairs) {
  constexpr index_t kPairs = kPanel / 2;
  alignas(64) float rows_of_pairs[kPanel * kPairs];
  for (index_t p = 0; p < n; p += kPanel, w += w_step, pairs += kPairs * kPanel) {
    // The columns at and after n are padding, which is 0 in every matrix of weights.
    for (index_t i = 0; i < rows; ++i) round(w + i * kPanel, kPanel, reinterpret_cast<std::uint16_t*>(rows_of_pairs + i * kPairs));
    for (index_t i = rows * kPairs; i < kPanel * kPairs; ++i) rows_of_pairs[i] = 0;
    for (index_t i = 0; i < kPanel; i += kSide<float>) {
      for (index_t j = 0; j < kPairs; j += kSide<float>) transpose_square(rows_of_pairs + i * kPairs + j, pairs + j * kPanel + i, kPairs);
    }
  }
}

void gemm(const std::uint16_t* a, index_t a_step, const float* b, index_t rows, index_t cols, index_t depth, const float* init,
          index_t init_step, float* c, const Ahead<float>& ahead) {
  gemm_any<float, ByPairs, false>(reinterpret_cast<const float*>(a), a_step / 2, b, rows, cols, depth, init, init_step, c, ahead);
}

void gemm_t(const float* a, const float* b, index_t rows, index_t cols, index_t depth, const float* init, index_t init_step, float* c) {
  gemm_any<float, ByPairs, true>(a, 0, b, rows, cols, depth, init, init_step, c, {nullptr, 0});
}

void gemv(const std::uint16_t* x, index_t x_step, const float* w, index_t w_step, index_t n_panels, index_t rows, const float* init,
          float* out, index_t out_step) {
  gemv_any<float, ByPairs>(reinterpret_cast<const float*>(x), x_step / 2, w, w_step, n_panels, rows, init, out, out_step);
}

constexpr BFloat16Kernels table() {
  BFloat16Kernels k{};
  k.round = round;
  k.pair_rows = pair_rows;
  k.pair_transposed = pair_transposed;
  k.gemm = gemm;
  k.gemm_t = gemm_t;
  k.gemv = gemv;
  for_each_optimizer<float>([&](auto optimizer, OptimizerKind kind) {
    k.fused_update[static_cast<int>(kind)] = fused_update<float, ByPairs, decltype(optimizer)>;
  });
  return k;
}

}  // namespace

extern constexpr BFloat16Kernels kernels_bfloat16 = table();

}  // namespace layerwise
