// Compares the vector functions with the C library's in the next wider type, number by number. sweep.py drives it.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

namespace {

enum Function { kExp, kExpm1, kLog, kLog1p, kTanh, kSigmoid, kSoftplus, kGelu, kSilu };

template <class W>
W truth(int function, W x) {
  switch (function) {
    case kExp:
      return std::exp(x);
    case kExpm1:
      return std::expm1(x);
    case kLog:
      return std::log(x);
    case kLog1p:
      return std::log1p(x);
    case kTanh:
      return std::tanh(x);
    case kSigmoid:
      return 1 / (1 + std::exp(-x));
    case kSoftplus:
      return std::fmax(x, W(0)) + std::log1p(std::exp(-std::fabs(x)));
    case kSilu:
      return x < -12000 ? W(0) : x / (1 + std::exp(-x));
    default:
      return x < -100 ? W(0) : x / 2 * std::erfc(x * W(-0.70710678118654752440084436210484903928L));
  }
}

template <class T>
bool in_domain(int function, T x) {
  if (function == kLog) return x >= std::numeric_limits<T>::min() || std::isnan(x);
  return function != kLog1p || (x >= 0 && x <= 1) || std::isnan(x);
}

template <class T>
bool is_far(int function, T x) {
  return function == kGelu && x < -1;
}

// The distance between neighbours at a number, also below the normal ones.
template <class T, class W>
W spacing(W exact) {
  int exponent;
  std::frexp(exact, &exponent);
  const int lowest = std::numeric_limits<T>::min_exponent - std::numeric_limits<T>::digits;
  return std::ldexp(W(1), std::max(exponent - std::numeric_limits<T>::digits, lowest));
}

struct Worst {
  double ulps, at;         // of all; of GELU: of x >= -1
  double far, far_at;      // of GELU below -1: the absolute error
  std::int64_t differing;  // bits other than the first function's
};

// In units in the last place, but absolute for GELU below -1.
template <class T, class W>
double error_of(int function, T x, T got) {
  const W exact = truth<W>(function, static_cast<W>(x));
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : kInfinite;
  if (std::isinf(got) || std::isinf(exact)) return static_cast<T>(exact) == got ? 0 : kInfinite;
  const W error = std::fabs(static_cast<W>(got) - exact);
  return static_cast<double>(is_far(function, x) ? error : error / spacing<T, W>(exact));
}

template <class T>
using Apply = void (*)(int, const T*, T*, std::ptrdiff_t);

// Numbers begin, begin + 1, ... of `input`, in blocks.
template <class T, class W, class Input>
void part(int function, std::uint64_t begin, std::uint64_t end, Input input, const Apply<T>* sets, int n_sets, Worst* worst) {
  constexpr std::uint64_t kBlock = 4096;
  std::vector<T> x, first(kBlock), y(kBlock);
  std::vector<double> errors(kBlock);  // of the first instruction set
  for (std::uint64_t from = begin; from < end; from += kBlock) {
    x.clear();
    for (std::uint64_t i = from; i < std::min(end, from + kBlock); ++i) {
      const T one = input(i);
      if (in_domain(function, one)) x.push_back(one);
    }
    const auto n = static_cast<std::ptrdiff_t>(x.size());
    for (int set = 0; set < n_sets; ++set) {
      std::vector<T>& out = set == 0 ? first : y;
      sets[set](function, x.data(), out.data(), n);
      for (std::ptrdiff_t i = 0; i < n; ++i) {
        const bool same = set > 0 && (std::memcmp(&out[i], &first[i], sizeof(T)) == 0 || (std::isnan(out[i]) && std::isnan(first[i])));
        const double error = same ? errors[i] : error_of<T, W>(function, x[i], out[i]);
        if (set == 0) errors[i] = error;
        if (set > 0 && !same) ++worst[set].differing;
        double& greatest = is_far(function, x[i]) ? worst[set].far : worst[set].ulps;
        if (!(error <= greatest))
          greatest = error, (is_far(function, x[i]) ? worst[set].far_at : worst[set].at) = static_cast<double>(x[i]);
      }
    }
  }
}

template <class T, class W, class Input>
void sweep(int function, std::uint64_t count, int threads, Input input, const Apply<T>* sets, int n_sets, Worst* worst) {
  std::vector<std::vector<Worst>> found(threads, std::vector<Worst>(n_sets, Worst{}));
  std::vector<std::thread> others;
  for (int t = 0; t < threads; ++t) {
    others.emplace_back([&, t] {
      part<T, W>(function, count / threads * t, t + 1 == threads ? count : count / threads * (t + 1), input, sets, n_sets, found[t].data());
    });
  }
  for (std::thread& other : others) other.join();
  for (int set = 0; set < n_sets; ++set) {
    worst[set] = Worst{};
    for (const std::vector<Worst>& one : found) {
      if (one[set].ulps > worst[set].ulps) worst[set].ulps = one[set].ulps, worst[set].at = one[set].at;
      if (one[set].far > worst[set].far) worst[set].far = one[set].far, worst[set].far_at = one[set].far_at;
      worst[set].differing += one[set].differing;
    }
  }
}

}  // namespace

// Every stride-th of the 2^32 floats, from `first` on.
extern "C" void sweep_float(int function, std::uint32_t first, std::uint32_t stride, int threads, const Apply<float>* sets, int n_sets,
                            Worst* worst) {
  const auto input = [=](std::uint64_t i) {
    const auto bits = static_cast<std::uint32_t>(first + i * stride);
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  };
  sweep<float, double>(function, ((std::uint64_t{1} << 32) - first + stride - 1) / stride, threads, input, sets, n_sets, worst);
}

// The doubles given.
extern "C" void sweep_double(int function, const double* x, std::uint64_t n, int threads, const Apply<double>* sets, int n_sets,
                             Worst* worst) {
  sweep<double, long double>(function, n, threads, [=](std::uint64_t i) { return x[i]; }, sets, n_sets, worst);
}

// The exact values that count, as the sum of two doubles.
extern "C" void truth_of(int function, int wide, const double* x, double* high, double* low, std::ptrdiff_t n) {
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    const long double exact = wide ? truth<long double>(function, x[i]) : static_cast<long double>(truth<double>(function, x[i]));
    high[i] = static_cast<double>(exact);
    low[i] = static_cast<double>(exact - high[i]);
  }
}
