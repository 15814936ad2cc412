// The vector functions of csrc/kernels, compiled once per instruction set (NAME is the symbol), for sweep.py.
#include "kernels/activations.h"

namespace layerwise {
namespace {

template <class T, class F>
void run(const T* x, T* y, index_t n, F f) {
  each(y, n, [=](auto at) { return f(at(x)); });
}

template <class T>
void run(int function, const T* x, T* y, index_t n) {
  using V = Vec<T>;
  switch (function) {
    case 0:
      return run(x, y, n, [](V v) { return exp<T>(v); });
    case 1:
      return run(x, y, n, [](V v) { return expm1<T>(v); });
    case 2:
      return run(x, y, n, [](V v) { return log<T>(v); });
    case 3:
      return run(x, y, n, [](V v) { return log1p_of_fraction<T>(v); });
    case 4:
      return run(x, y, n, [](V v) { return tanh<T>(v); });
    case 5:
      return run(x, y, n, [](V v) { return sigmoid<T>(v); });
    case 6:
      return run(x, y, n, [](V v) { return Softplus<T>::value(v); });
    case 7:
      return run(x, y, n, [](V v) { return Gelu<T>::value(v); });
    case 8:
      return run(x, y, n, [](V v) { return times_sigmoid<T>(v, v); });
  }
}

}  // namespace
}  // namespace layerwise

#define JOINED(a, b) a##b
#define SYMBOL(a, b) JOINED(a, b)
extern "C" void SYMBOL(NAME, _float)(int function, const float* x, float* y, std::ptrdiff_t n) { layerwise::run<float>(function, x, y, n); }
extern "C" void SYMBOL(NAME, _double)(int function, const double* x, double* y, std::ptrdiff_t n) {
  layerwise::run<double>(function, x, y, n);
}
