// exp, expm1, log, log1p, tanh, the logistic function, the normal distribution, sine and cosine, on whole vectors.
//
// One source for float and double; the tables are printed by fit_polynomials.py. NaN in gives NaN out in that lane alone:
// a clamp is written `x > high ? high : x`, which keeps a NaN, and never the other way round.
// The errors stated are the worst found, in units in the last place, with and without fused multiply-adds, by
// tests/accuracy/sweep.py, which compares with the C library's functions in the next wider type: for float among all numbers, for
// double among two million. docs/numerics.md has a table.
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
  // Where exp becomes infinite; where it is 0 even times the largest number of use; where 1 + e^x and 1 - e^-x are 1.
  static constexpr float kHighest = 89, kLowest = -150, kSaturated = 20;
  static constexpr float kNormal = 87;        // e^x and e^-x are normal numbers up to here
  static constexpr float kReach = 15;         // the normal distribution has no more beyond
  static constexpr std::uint32_t kDown = 90;  // 2^-kDown brings e^-kLowest into range
  static constexpr float kExp[] = {0.00139337149f, 0.00836684275f, 0.0416664779f, 0.166665405f, 0.5f};
  static constexpr float kLog[] = {0.30371207f, 0.399572432f, 0.666669548f};
  static constexpr float kTanh[] = {-0.00570163503f, 0.0206354298f, -0.0537382923f, 0.133314192f, -0.333332807f};
  static constexpr float kSin[] = {-75.8380051f, 81.6046219f, -41.3417587f, 6.28318548f};
  static constexpr float kCos[] = {58.7647247f, -85.4282379f, 64.9391708f, -19.7392082f, 1.0f};
  static constexpr float kCentreHead = 0.398942292f;
  static constexpr float kCentre[] = {-7.6518163e-6f, 0.000113480077f, -0.00118632405f, 0.00997332111f, -0.0664903596f, -1.16233041e-8f};
  static constexpr float kTail[] = {0.000533926592f, -0.000816775195f, -0.00299570267f, 0.020793166f,  -0.0691181049f,
                                    0.165021658f,    -0.313533157f,    0.495305479f,    -0.665382504f, 0.769193053f};
};

template <>
struct Tables<double> {
  static constexpr int kMantissa = 52;
  static constexpr std::uint64_t kOne = 0x3ff0000000000000, kSign = 0x8000000000000000, kHead = 0xfffffffff8000000,
                                 kSqrtHalf = 0x3fe6a09e667f3bcd, kBias = 1023;
  static constexpr double kRound = 6755399441055744.0;  // 1.5 * 2^52
  static constexpr double kLog2e = 1.4426950408889634, kLn2High = 0x1.62e42fefa2p-1, kLn2Low = 7.371002565167799e-13;
  static constexpr double kHighest = 710, kLowest = -1000, kSaturated = 40, kNormal = 708, kReach = 39;
  static constexpr std::uint64_t kDown = 800;
  static constexpr double kExp[] = {2.5109231494365722e-8,  2.7626437992750231e-7, 2.7557243661925588e-6, 2.4801504201127832e-5,
                                    0.00019841269886661521, 0.0013888888932543691, 0.0083333333333214209, 0.041666666666573295,
                                    0.16666666666666677,    0.50000000000000056};
  static constexpr double kLog[] = {0.13843239005476299, 0.1317357638500592,  0.15391112895803089, 0.18181665859844565,
                                    0.22222224296516227, 0.28571428555829559, 0.40000000000056668, 0.66666666666666596};
  static constexpr double kTanh[] = {-1.6077188444448463e-5, 7.7153577095096684e-5, -0.00022857197242785423, 0.00058632011521689612,
                                     -0.0014549598448376487, 0.0035919893245427805, -0.0088632210140189571,  0.02186948757606972,
                                     -0.053968253931201263,  0.13333333333261696,   -0.33333333333332849};
  static constexpr double kSin[] = {3.7761148673392761, -15.093562333658031, 42.058680285038164, -76.705859659752747,
                                    81.605249275744356, -41.341702240399236, 6.2831853071795862};
  static constexpr double kCos[] = {-1.6925560976095027, 7.9028474794150583, -26.426245410682959, 60.244641266923225,
                                    -85.456817206160778, 64.939394022666946, -19.739208802178716, 1.0};
  static constexpr double kCentreHead = 0.3989422804014327;
  static constexpr double kCentre[] = {4.0743274617050514e-12, -1.1064379350632053e-10, 2.2704161358216265e-9,  -4.1224112158087617e-8,
                                       6.6596799289175745e-7,  -9.4446557961737651e-6,  0.00011543468751769316, -0.0011873282154682713,
                                       0.0099735570100350467,  -0.066490380066905427,   -2.5011177147033278e-17};
  static constexpr double kTail[] = {5.6810426569662546e-9,  -5.2733455966167128e-8, 1.4941047354106815e-8,  4.2433304793181743e-7,
                                     -3.1340725490828512e-7, -2.7667475320502453e-6, 3.9697867085900314e-6,  1.6681147279558112e-5,
                                     -4.9759600575324094e-5, -5.9375874614092575e-5, 0.00054489849712823922, -0.0007978693595166648,
                                     -0.0029933767110690195, 0.020795066795526753,   -0.069118638709712479,  0.16502036617060617,
                                     -0.31353315667121506,   0.49530561596997219,    -0.6653825028900574,    0.76919304975006297};
};

// A long polynomial is two chains, of the even and of the odd powers, which the processor can work on at once.
template <class T, int N>
inline Vec<T> polynomial(const T (&highest_first)[N], Vec<T> x) {
  constexpr int kChains = N > 8 ? 2 : 1;
  const Vec<T> step = kChains == 2 ? x * x : x;
  Vec<T> chain[2] = {set(highest_first[0]), set(highest_first[1])};
#pragma GCC unroll 32
  for (int i = kChains; i < N; ++i) chain[i % kChains] = fma(chain[i % kChains], step, set(highest_first[i]));
  return kChains == 1 ? chain[0] : fma(chain[N % 2], x, chain[(N + 1) % 2]);
}
template <class T>
inline Vec<T> abs(Vec<T> x) {
  return (Vec<T>)((BitVec<T>)x & ~Tables<T>::kSign);
}
// l with the sign of x; 0 where x is 0.
template <class T>
inline Vec<T> sign_times(Vec<T> x, Vec<T> l) {
  return x > T(0) ? l : (x < T(0) ? -l : Vec<T>{});
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

// float 1.04, double 1.04 ULP.
template <class T>
inline Vec<T> exp(Vec<T> x) {
  const ScaledExp<T> e = scaled_exp(split_exp<T>(at_most<T>(at_least<T>(x, Tables<T>::kLowest), Tables<T>::kHighest)));
  return e.value * e.scale;
}

// exp(a - b) with the rounding error of the difference made good.
template <class T>
inline Vec<T> exp_of_difference(Vec<T> a, Vec<T> b) {
  using K = Tables<T>;
  const Vec<T> difference = a - b, back = a - difference;
  const Vec<T> error = (a - (difference + back)) + (back - b);
  const Vec<T> x = at_most<T>(at_least<T>(difference, K::kLowest), K::kHighest);
  const ScaledExp<T> e = scaled_exp(split_exp<T>(x, difference < K::kLowest ? Vec<T>{} : error));
  return e.value * e.scale;
}

// 2^n p + (2^n - 1), at half its size: 2^n itself may be out of range. p is made with the rounding error of r, which the
// difference with 2^n - 1 would enlarge. float 1.8, double 1.8 ULP.
template <class T>
inline Vec<T> expm1(Vec<T> x) {
  using K = Tables<T>;
  const Vec<T> y = at_most<T>(at_least<T>(x, -K::kSaturated), K::kHighest);
  const Vec<T> shifted = fma(y, set(K::kLog2e), set(K::kRound));
  const Vec<T> n = shifted - K::kRound;
  const Vec<T> high = fma(n, set(-K::kLn2High), y);
  const Vec<T> r = fma(n, set(-K::kLn2Low), high);
  const Vec<T> error = fma(n, set(-K::kLn2Low), high - r);
  const Vec<T> p = r + fma(r * r, polynomial<T>(K::kExp, r), error);
  const Vec<T> half = scale_by<T>((BitVec<T>)shifted, K::kOne - (typename BitsOf<T>::type(1) << K::kMantissa));
  return fma(p, half, half - T(0.5)) * T(2);
}

// log(1 + f) for f in [-0.3, 0.5]: with s = f / (2 + f) it is 2 atanh(s) = 2 s + s^3 L(s^2), and 2 s = f - s f.
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
// float 0.97, double 1.3 ULP.
template <class T>
inline Vec<T> log(Vec<T> x) {
  const SplitLog<T> s = split_log<T>(x);
  return x < T(__builtin_inf()) ? join_log<T>(s.exponent, s.f) : x;
}

// log(1 + x) for 0 <= x <= 1 (or NaN): what softplus and the cross-entropies need. float 0.97, double 1.2 ULP.
template <class T>
inline Vec<T> log1p_of_fraction(Vec<T> x) {
  const IntVec<T> large = x > T(0.5);
  const Vec<T> one_ln2 = large ? set(T(1)) : Vec<T>{};
  return join_log<T>(one_ln2, large ? x * T(0.5) - T(0.5) : x);
}

// A power of two by its exponent.
template <class T>
inline Vec<T> power_of_two(int exponent) {
  using Bits = typename BitsOf<T>::type;
  return (Vec<T>)(BitVec<T>{} + (Tables<T>::kOne + (static_cast<Bits>(static_cast<std::int64_t>(exponent)) << Tables<T>::kMantissa)));
}

// 1 - 2 / (1 + e^2|x|), and near 0, where that cancels, a polynomial. float 1.20, double 1.18 ULP.
template <class T>
inline Vec<T> tanh(Vec<T> x) {
  using K = Tables<T>;
  const Vec<T> t = abs<T>(x);
  const SplitExp<T> s = split_exp<T>(at_most<T>(t * T(2), T(2) * K::kSaturated));
  const Vec<T> power = scale_by<T>((BitVec<T>)s.shifted, K::kOne);
  const Vec<T> far = T(1) - T(2) / fma(power, s.p, power + T(1));
  const Vec<T> near = fma(t * t * t, polynomial<T>(K::kTanh, t * t), t);
  return (Vec<T>)((BitVec<T>)(t < T(0.625) ? near : far) | ((BitVec<T>)x & K::kSign));
}

// one + power (1 + p), of which only the last addition rounds: what one + power loses goes to the smaller part.
template <class T>
inline Vec<T> one_plus_exp(Vec<T> one, Vec<T> power, Vec<T> p) {
  const Vec<T> sum = one + power;
  return sum + fma(power, p, one - (sum - power));
}

// 1 / (1 + e^-x) with e^-x = 2^n (1 + p). Both sides of the fraction are a power of two smaller than that, since 2^n alone may be
// too large where the result is subnormal. float 1.77, double 1.73 ULP.
template <class T>
inline Vec<T> sigmoid(Vec<T> x) {
  using K = Tables<T>;
  const SplitExp<T> s = split_exp<T>(at_most<T>(at_least<T>(-x, -K::kSaturated), -K::kLowest));
  const Vec<T> power = scale_by<T>((BitVec<T>)s.shifted, K::kOne - (K::kDown << K::kMantissa));
  const Vec<T> one = power_of_two<T>(-static_cast<int>(K::kDown));
  return one / one_plus_exp<T>(one, power, s.p);
}

// z sigmoid(x), right also where sigmoid(x) alone is too small for T; 0 where x is -infinity. float 2.0, double 2.0 ULP
// (of the result for the given, rounded x).
template <class T>
inline Vec<T> times_sigmoid(Vec<T> z, Vec<T> x) {
  using K = Tables<T>;
  const SplitExp<T> s = split_exp<T>(at_most<T>(at_least<T>(-x, -K::kSaturated), -K::kLowest));
  const IntVec<T> far = x < K::kLowest * T(0.5);
  const Vec<T> one = far ? power_of_two<T>(-static_cast<int>(K::kDown)) : set(T(1));
  const Vec<T> power = (Vec<T>)(((BitVec<T>)s.shifted << K::kMantissa) + (BitVec<T>)one);
  return x < K::kLowest ? Vec<T>{} : z * one / one_plus_exp<T>(one, power, s.p);
}

// s = sigmoid(x) and its slope s (1 - s), which does not cancel: 1 - s = e^-x / (1 + e^-x). Both are cut to 0 (and s to 1)
// where e^-|x| is no longer a normal number.
template <class T>
struct Logistic {
  Vec<T> value, slope;
};
template <class T>
inline Logistic<T> logistic(Vec<T> x) {
  using K = Tables<T>;
  const SplitExp<T> s = split_exp<T>(at_most<T>(at_least<T>(-x, -K::kNormal), K::kNormal));
  const Vec<T> power = scale_by<T>((BitVec<T>)s.shifted, K::kOne);
  const Vec<T> inverse = T(1) / one_plus_exp<T>(set(T(1)), power, s.p);
  const Vec<T> slope = fma(power, s.p, power) * inverse * inverse;
  return {x < -K::kNormal ? Vec<T>{} : inverse, abs<T>(x) > K::kNormal ? Vec<T>{} : slope};
}
// The slope of z sigmoid(x) by z, x being a function of z: sigmoid(x) + factor sigmoid'(x) with factor = z dx/dz.
template <class T>
inline Vec<T> times_sigmoid_slope(Vec<T> factor, Vec<T> x) {
  const Logistic<T> y = logistic<T>(x);
  return y.slope == T(0) ? y.value : fma(factor, y.slope, y.value);
}

// The normal distribution: Phi(x) and exp(-x^2 / 2). Phi: float 5.4, double 7 ULP down to x = -12.9 and -37. z Phi(z), the
// GELU, for z >= -1: float 1.92, double 1.7 ULP (without fused multiply-adds 2.34 and 2.3); below, to 6.6e-8 and 1.1e-16.
template <class T>
struct Normal {
  Vec<T> cdf, bell;
};
template <class T>
inline Normal<T> normal(Vec<T> x) {
  using K = Tables<T>;
  const Vec<T> t = at_most<T>(abs<T>(x), K::kReach);
  const Vec<T> inverse = T(1) / (t + T(5));
  const Vec<T> g = polynomial<T>(K::kTail, (t - T(5)) * inverse);
  // t^2 = head^2 + (t - head) (t + head), the first product exact: a rounded t^2 would cost the tail its digits.
  const Vec<T> head = (Vec<T>)((BitVec<T>)t & K::kHead);
  const ScaledExp<T> e = scaled_exp(split_exp<T>(head * head * T(-0.5), (t - head) * (t + head) * T(-0.5)));
  const Vec<T> tail = e.value * (g * inverse) * e.scale;
  // Below 0 the two terms cancel, so the large one is not rounded before; above, one rounding is better than two.
  const IntVec<T> below = x < T(0);
  const Vec<T> slope = polynomial<T>(K::kCentre, x * x), large = set(K::kCentreHead), half = set(T(0.5));
  const Vec<T> centre = fma(x, below ? slope : slope + large, below ? fma(x, large, half) : half);
  return {t < T(1) ? centre : (below ? tail : T(1) - tail), e.value * e.scale};
}

// Sine and cosine of 2 pi t for |t| <= 1/2, to 2e-7 (float) and 4e-16 (double).
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
