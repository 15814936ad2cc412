// The kernels as functions of plain row-major matrices, on threads of their own, packed into panels block by block where a kernel wants
// panels. For use one by one from Python; training never comes here. Subnormal numbers are kept, but for products.
#pragma once

#include "net/settings.h"

namespace layerwise {

// A row-major matrix, or the transpose of one.
template <class T>
struct Matrix {
  const T* data;
  index_t rows, cols;
  bool transposed = false;  // element (r, c) is data[c * rows + r]
};

template <class T>
void matmul(const Matrix<T>& a, const Matrix<T>& b, const T* bias, int threads, T* out);  // bias may be null
template <class T>
void activation(Activation f, const T* parameter, index_t rows, index_t cols, const T* z, T* a);
// gz = g * f'(z); by_parameter = g * df/dparameter, element by element (0 where f has no parameter to learn).
template <class T>
void activation_backward(Activation f, const T* parameter, index_t rows, index_t cols, const T* z, const T* g, T* gz, T* by_parameter);
// The gradients of a dense layer by its input, weights, bias and activation parameter, from g, that by its output.
template <class T>
void dense_backward(Activation f, const T* parameter, const Matrix<T>& x, const Matrix<T>& w, const T* z, const T* g, int threads, T* by_x,
                    T* by_w, T* by_b, T* by_parameter);
template <class T>
void loss(Loss kind, const T* p, const T* t, index_t rows, index_t cols, const std::vector<ColumnGroup>& groups, double* row_loss,
          T* delta);
template <class T>
void optimizer_step(const OptimizerSpec& spec, T* w, T* m, T* v, const T* g, index_t n, double rate, index_t step, double alpha);
// What a plan with this seed does to the rows x, which have the positions `ids` in a data set, at this step. Swap noise takes its
// values from x itself.
template <class T>
void corrupt(const NoiseSpec& noise, const index_t* ids, index_t rows, index_t cols, std::uint64_t seed, std::uint32_t step, const T* x,
             T* out);

// Whether n numbers and the sum of their squares are finite.
template <class T>
bool squares_are_finite(const T* x, index_t n);

// The scalars of step number t = 1, 2, ... of an optimiser.
template <class T>
UpdateScalars<T> update_scalars(const OptimizerSpec& spec, index_t t, double rate, double momentum, double alpha);

}  // namespace layerwise
