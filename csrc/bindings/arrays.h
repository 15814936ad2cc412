// NumPy array -> pointer, with the argument's name in each complaint. Nothing is ever converted or copied here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/types.h"

namespace layerwise {

namespace py = pybind11;
template <class T>
using Array = py::array_t<T, py::array::c_style>;

inline std::string shape_of(const py::array& a) {
  std::string text = "(";
  for (py::ssize_t d = 0; d < a.ndim(); ++d) text += (d ? ", " : "") + std::to_string(a.shape(d));
  return text + (a.ndim() == 1 ? ",)" : ")");
}

template <class T>
const T* matrix(const Array<T>& a, index_t cols, const char* name) {
  require(a.ndim() == 2 && a.shape(1) == cols,
          [&] { return std::string(name) + " must have shape (rows, " + std::to_string(cols) + "), got " + shape_of(a); });
  return a.data();
}

template <class T>
const T* vector(const Array<T>& a, index_t n, const char* name) {
  require(a.ndim() == 1 && a.shape(0) == n,
          [&] { return std::string(name) + " must have shape (" + std::to_string(n) + ",), got " + shape_of(a); });
  return a.data();
}

template <class T>
T* writable(Array<T>& a, index_t n, const char* name) {
  vector(a, n, name);
  require(a.writeable(), [&] { return std::string(name) + " must be writeable"; });
  return a.mutable_data();
}

template <class T>
Array<T> empty(std::vector<index_t> shape) {
  return Array<T>(shape);
}

}  // namespace layerwise
