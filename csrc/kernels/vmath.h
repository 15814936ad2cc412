// exp, expm1, log, log1p, tanh, the logistic function, the normal distribution, sine and cosine, on whole vectors.
//
// One source for float and double; the tables are printed by fit_polynomials.py. NaN in gives NaN out in that lane alone:
// a clamp is written `x > high ? high : x`, which keeps a NaN, and never the other way round.
// Errors in ULP: the worst found, see tests/test_vmath.py; x86-64-v2 (two roundings in fma) stays under the same bounds.
#pragma once

#include "kernels/simd.h"

namespace layerwise {
namespace {

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  typedef std::uint32_t type;
};
template <>
struct BitsOf<double> {
  typedef std::uint64_t type;
};
// The bits of a vector, as unsigned integers: their arithmetic wraps.
template <class T>
using BitVec = Vec<typename BitsOf<T>::type>;

template <class T>
struct Tables;

template <>
struct Tables<float> {
  static constexpr int kMantissa = 23;
  static constexpr std::uint32_t kOne = 0x3f800000, kSign = 0x80000000, kHead = 0xfffff000, kSqrtHalf = 0x3f3504f3, kBias = 127;
  static constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, found in the low bits
  static constexpr float kLog2e = 1.44269504f, kLn2High = 0.693145751953125f, kLn2Low = 1.42860677e-6f;
  static constexpr float kLowest = -150, kHighest = 89, kMinusOne = -20, kReach = 15;
  static constexpr float kExp[] = {0.00139337149f, 0.00836684275f, 0.0416664779f, 0.166665405f, 0.5f};
  static constexpr float kLog[] = {0.298739433f, 0.399775147f, 0.666667759f};
  static constexpr float kSin[] = {-75.8380051f, 81.6046219f, -41.3417587f, 6.28318548f};
  static constexpr float kCos[] = {58.7647247f, -85.4282379f, 64.9391708f, -19.7392082f, 1.0f};
  static constexpr float kTail[] = {-3.30223847e-5f, -0.000191535612f, 0.000179947951f, 0.0016143109f, -0.00350421946f, -0.00753706275f,
                                    0.0604021922f,   -0.186522171f,    0.387136877f,    -0.607896626f, 0.755285144f};
};

template <>
struct Tables<double> {
  static constexpr int kMantissa = 52;
  static constexpr std::uint64_t kOne = 0x3ff0000000000000, kSign = 0x8000000000000000, kHead = 0xfffffffff8000000,
                                 kSqrtHalf = 0x3fe6a09e667f3bcd, kBias = 1023;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLog2e = 1.4426950408889634, kLn2High = 0x1.62e42fefa2p-1, kLn2Low = 7.371002565167799e-13;
  static constexpr double kLowest = -1000, kHighest = 710, kMinusOne = -40, kReach = 39;
  static constexpr double kExp[] = {2.5109231494365722e-8,  2.7626437992750231e-7, 2.7557243661925588e-6, 2.4801504201127832e-5,
                                    0.00019841269886661521, 0.0013888888932543691, 0.0083333333333214209, 0.041666666666573295,
                                    0.16666666666666677,    0.50000000000000056};
  static constexpr double kLog[] = {0.14795118954638578, 0.15314246284554373, 0.18183551519505628, 0.22222198939908358,
                                    0.28571428737317667, 0.39999999999446767, 0.66666666666667274};
  static constexpr double kSin[] = {3.7761148673392761, -15.093562333658031, 42.058680285038164, -76.705859659752747,
                                    81.605249275744356, -41.341702240399236, 6.2831853071795862};
  static constexpr double kCos[] = {-1.6925560976095027, 7.9028474794150583, -26.426245410682959, 60.244641266923225,
                                    -85.456817206160778, 64.939394022666946, -19.739208802178716, 1.0};
  static constexpr double kTail[] = {-1.2079785483142828e-9, -3.334180419612479e-10,  1.4698088644467448e-8,  1.6061192015803308e-8,
                                     -7.741578768639134e-8,  -1.566019331773672e-7,   2.6443893131782719e-7,  1.0218885760813592e-6,
                                     -6.2546725410322112e-7, -5.9200423474335712e-6,  7.1510390277033921e-7,  3.5144585847711191e-5,
                                     -1.9078887981679707e-6, -0.00023109490855150838, 0.00013334425853648728, 0.0016308184541043275,
                                     -0.0034796923629719285, -0.0075401889665095692,  0.060396574890769668,   -0.18652185795966245,
                                     0.38713740074221586,    -0.60789664197189208,    0.75528513041575152};
};

template <class T, int N>
inline Vec<T> polynomial(const T (&highest_first)[N], Vec<T> x) {
  Vec<T> sum = set(highest_first[0]);
#pragma GCC unroll 32
  for (int i = 1; i < N; ++i) sum = fma(sum, x, set(highest_first[i]));
  return sum;
}
template <class T>
inline Vec<T> abs(Vec<T> x) {
  return (Vec<T>)((BitVec<T>)x & ~Tables<T>::kSign);
}
template <class T>
inline Vec<T> at_most(Vec<T> x, T high) {
  return x > high ? set(high) : x;
}
template <class T>
inline Vec<T> at_least(Vec<T> x, T low) {
  return x < low ? set(low) : x;
}
// 2^n times the number with the bits `base` (a power of two), for n in the low bits of an integer + kRound.
template <class T>
inline Vec<T> scale_by(BitVec<T> n, typename BitsOf<T>::type base) {
  return (Vec<T>)((n << Tables<T>::kMantissa) + base);
}

// e^(x + low) = 2^n (1 + p) with an integer n and |p| < 0.42; `shifted` is n + kRound.
template <class T>
struct SplitExp {
  Vec<T> shifted, n, p;
};
template <class T>
inline SplitExp<T> split_exp(Vec<T> x, Vec<T> low) {
  using K = Tables<T>;
  const Vec<T> shifted = fma(x + low, set(K::kLog2e), set(K::kRound));
  const Vec<T> n = shifted - K::kRound;
  const Vec<T> r = fma(n, set(-K::kLn2Low), fma(n, set(-K::kLn2High), x) + low);
  return {shifted, n, fma(r * r, polynomial<T>(K::kExp, r), r)};
}
template <class T>
inline SplitExp<T> split_exp(Vec<T> x) {
  using K = Tables<T>;
  const Vec<T> shifted = fma(x, set(K::kLog2e), set(K::kRound));
  const Vec<T> n = shifted - K::kRound;
  const Vec<T> r = fma(n, set(-K::kLn2Low), fma(n, set(-K::kLn2High), x));
  return {shifted, n, fma(r * r, polynomial<T>(K::kExp, r), r)};
}
// 2^n (1 + p) = value * scale, both in the normal range: a factor in between keeps a subnormal product exact.
template <class T>
struct ScaledExp {
  Vec<T> value, scale;
};
template <class T>
inline ScaledExp<T> scaled_exp(const SplitExp<T>& s) {
  using K = Tables<T>;
  const Vec<T> half = fma(s.n, set(T(0.5)), set(K::kRound));
  const BitVec<T> rest = (BitVec<T>)s.shifted - (BitVec<T>)half;
  return {(s.p + T(1)) * scale_by<T>((BitVec<T>)half, K::kOne), scale_by<T>(rest, K::kOne)};
}

template <class T>
inline Vec<T> exp(Vec<T> x) {
  const ScaledExp<T> e = scaled_exp(split_exp<T>(at_most<T>(at_least<T>(x, Tables<T>::kLowest), Tables<T>::kHighest)));
  return e.value * e.scale;
}

// 2^n p + (2^n - 1), at half its size: 2^n itself may be out of range.
template <class T>
inline Vec<T> expm1(Vec<T> x) {
  using K = Tables<T>;
  const SplitExp<T> s = split_exp<T>(at_most<T>(at_least<T>(x, K::kMinusOne), K::kHighest));
  const Vec<T> half = (Vec<T>)(((BitVec<T>)s.shifted << K::kMantissa) + (K::kOne - (typename BitsOf<T>::type(1) << K::kMantissa)));
  return fma(s.p, half, half - T(0.5)) * T(2);
}

// log(1 + f) for f in [-0.3, 0.42]: with s = f / (2 + f) it is 2 atanh(s) = 2 s + s^3 L(s^2), and 2 s = f - s f.
template <class T>
inline Vec<T> log_near_one(Vec<T> f) {
  const Vec<T> s = f / (f + T(2));
  const Vec<T> ss = s * s;
  return fma(-s, fma(-ss, polynomial<T>(Tables<T>::kLog, ss), f), f);
}

// x = 2^exponent (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)), for a positive normal x.
template <class T>
struct SplitLog {
  Vec<T> exponent, f;
};
template <class T>
inline SplitLog<T> split_log(Vec<T> x) {
  using K = Tables<T>;
  const BitVec<T> bits = (BitVec<T>)x + (K::kOne - K::kSqrtHalf);
  const BitVec<T> fraction = (bits & (((typename BitsOf<T>::type)1 << K::kMantissa) - 1)) + K::kSqrtHalf;
  const Vec<T> biased = (Vec<T>)((bits >> K::kMantissa) + (BitVec<T>)set(K::kRound));
  return {biased - (K::kRound + T(K::kBias)), (Vec<T>)fraction - T(1)};
}
template <class T>
inline Vec<T> join_log(Vec<T> exponent, Vec<T> f) {
  using K = Tables<T>;
  return fma(exponent, set(K::kLn2High), fma(exponent, set(K::kLn2Low), log_near_one<T>(f)));
}

// log x for a positive normal x, infinity or NaN: what a sum of exponentials and a uniform number can be.
template <class T>
inline Vec<T> log(Vec<T> x) {
  const SplitLog<T> s = split_log<T>(x);
  return x < T(__builtin_inf()) ? join_log<T>(s.exponent, s.f) : x;
}

// log(1 + x) for 0 <= x <= 1 (or NaN): what softplus and the cross-entropies need.
template <class T>
inline Vec<T> log1p_of_fraction(Vec<T> x) {
  const IntVec<T> large = x > T(0.41421356);
  const Vec<T> one_ln2 = large ? set(T(1)) : Vec<T>{};
  return join_log<T>(one_ln2, large ? x * T(0.5) - T(0.5) : x);
}

template <class T>
inline Vec<T> tanh(Vec<T> x) {
  const Vec<T> t = expm1<T>(abs<T>(x) * T(-2));
  const BitVec<T> sign = (BitVec<T>)x & Tables<T>::kSign;
  return (Vec<T>)((BitVec<T>)(-t / (t + T(2))) | sign);
}

// s = 1 / (1 + e^-x) and its slope s (1 - s), neither of which cancels: both come from e = e^-|x|.
template <class T>
struct Logistic {
  ScaledExp<T> parts;
  Vec<T> e;
  explicit Logistic(Vec<T> x)
      : parts(scaled_exp(split_exp<T>(at_least<T>(-abs<T>(x), Tables<T>::kLowest)))), e(parts.value * parts.scale) {}
};
template <class T>
inline Vec<T> sigmoid(Vec<T> x) {
  const Logistic<T> y(x);
  return (x < T(0) ? y.e : set(T(1))) / (y.e + T(1));
}
// z * sigmoid(x): right also where sigmoid(x) is too small for T, and 0 where x is -infinity.
template <class T>
inline Vec<T> times_sigmoid(Vec<T> z, Vec<T> x) {
  const Logistic<T> y(x);
  const Vec<T> small = x < Tables<T>::kLowest ? Vec<T>{} : (z * y.parts.value) * y.parts.scale;
  return (x < T(0) ? small : z) / (y.e + T(1));
}
// sigmoid(x) + z * factor * sigmoid'(x).
template <class T>
inline Vec<T> times_sigmoid_slope(Vec<T> z_factor, Vec<T> x) {
  const Logistic<T> y(x);
  const Vec<T> inverse = T(1) / (y.e + T(1));
  const Vec<T> bell = y.e * inverse * inverse;
  const Vec<T> s = x < T(0) ? y.e * inverse : inverse;
  return bell == T(0) ? s : fma(z_factor, bell, s);
}

// The normal distribution: Phi(x) and exp(-x^2 / 2).
template <class T>
struct Normal {
  Vec<T> cdf, bell;
};
template <class T>
inline Normal<T> normal(Vec<T> x) {
  using K = Tables<T>;
  const Vec<T> t = at_most<T>(abs<T>(x), K::kReach);
  const Vec<T> inverse = T(1) / (t + T(4));
  const Vec<T> g = polynomial<T>(K::kTail, (t - T(4)) * inverse);
  // t^2 = head^2 + (t - head) (t + head), the first product exact: a rounded t^2 would cost the tail its digits.
  const Vec<T> head = (Vec<T>)((BitVec<T>)t & K::kHead);
  const ScaledExp<T> e = scaled_exp(split_exp<T>(head * head * T(-0.5), (t - head) * (t + head) * T(-0.5)));
  const Vec<T> tail = e.value * (g * inverse) * e.scale;
  return {x < T(0) ? tail : T(1) - tail, e.value * e.scale};
}

// Sine and cosine of 2 pi t for |t| <= 1/2.
template <class T>
struct SinCos {
  Vec<T> sin, cos;
};
template <class T>
inline SinCos<T> sincos_of_turn(Vec<T> t) {
  using K = Tables<T>;
  const Vec<T> shifted = fma(t, set(T(4)), set(K::kRound));
  const Vec<T> r = fma(shifted - K::kRound, set(T(-0.25)), t);  // within an eighth of a turn, exactly
  const BitVec<T> quarter = (BitVec<T>)shifted;
  const Vec<T> s = r * polynomial<T>(K::kSin, r * r), c = polynomial<T>(K::kCos, r * r);
  const IntVec<T> swapped = (quarter & 1) != 0;
  const BitVec<T> sine_sign = (quarter << (K::kMantissa == 23 ? 30 : 62)) & K::kSign;
  const BitVec<T> cosine_sign = ((quarter + 1) << (K::kMantissa == 23 ? 30 : 62)) & K::kSign;
  return {(Vec<T>)((BitVec<T>)(swapped ? c : s) ^ sine_sign), (Vec<T>)((BitVec<T>)(swapped ? s : c) ^ cosine_sign)};
}

}  // namespace
}  // namespace layerwise
