// The kernels one by one, for layerwise.kernels: every function for both element types.
#include "net/array_functions.h"

#include "bindings/bindings.h"

namespace layerwise {
namespace {

template <class T>
Matrix<T> as_matrix(const Array<T>& a, bool transposed, const char* name) {
  require(a.ndim() == 2, [&] { return std::string(name) + " must have two dimensions, got shape " + shape_of(a); });
  return transposed ? Matrix<T>{a.data(), a.shape(1), a.shape(0), true} : Matrix<T>{a.data(), a.shape(0), a.shape(1), false};
}

template <class T>
void bind(py::module_& m) {
  m.def(
      "matmul",
      [](const Array<T>& a, const Array<T>& b, bool transpose_a, bool transpose_b, int threads) {
        const Matrix<T> left = as_matrix(a, transpose_a, "a"), right = as_matrix(b, transpose_b, "b");
        require(left.cols == right.rows, [&] { return "a and b do not fit: " + shape_of(a) + " and " + shape_of(b); });
        Array<T> out = empty<T>({left.rows, right.cols});
        T* to = out.mutable_data();
        {
          const Unlocked unlocked;
          matmul<T>(left, right, nullptr, threads, to);
        }
        return out;
      },
      py::arg("a").noconvert(), py::arg("b").noconvert(), py::arg("transpose_a"), py::arg("transpose_b"), py::arg("threads"));
  m.def(
      "dense_forward",
      [](const Array<T>& X, const Array<T>& W, const Array<T>& b, const std::string& name, const Array<T>& parameter, int threads) {
        const Matrix<T> x = as_matrix(X, false, "X"), w = as_matrix(W, false, "W");
        require(x.cols == w.rows, [&] { return "X and W do not fit: " + shape_of(X) + " and " + shape_of(W); });
        const T *bias = vector(b, w.cols, "b"), *values = vector(parameter, w.cols, "parameter");
        const Activation f = activation_named(name);
        Array<T> z = empty<T>({x.rows, w.cols}), a = empty<T>({x.rows, w.cols});
        T *sums = z.mutable_data(), *outputs = a.mutable_data();
        {
          const Unlocked unlocked;
          matmul(x, w, bias, threads, sums);
          activation(f, values, x.rows, w.cols, sums, outputs);
        }
        return py::make_tuple(z, a);
      },
      py::arg("X").noconvert(), py::arg("W").noconvert(), py::arg("b").noconvert(), py::arg("activation"), py::arg("parameter").noconvert(),
      py::arg("threads"));
  m.def(
      "dense_backward",
      [](const Array<T>& X, const Array<T>& W, const Array<T>& z, const Array<T>& G, const std::string& name, const Array<T>& parameter,
         int threads) {
        const Matrix<T> x = as_matrix(X, false, "X"), w = as_matrix(W, false, "W");
        require(x.cols == w.rows, [&] { return "X and W do not fit: " + shape_of(X) + " and " + shape_of(W); });
        const T *logits = matrix(z, w.cols, "z"), *values = vector(parameter, w.cols, "parameter");
        const T* gradient = matrix(G, w.cols, "G");
        require(z.shape(0) == x.rows && G.shape(0) == x.rows, "X, z and G must have the same number of rows");
        const Activation f = activation_named(name);
        Array<T> dX = empty<T>({x.rows, x.cols}), dW = empty<T>({x.cols, w.cols}), db = empty<T>({w.cols}), dp = empty<T>({w.cols});
        T *by_x = dX.mutable_data(), *by_w = dW.mutable_data(), *by_b = db.mutable_data(), *by_p = dp.mutable_data();
        {
          const Unlocked unlocked;
          dense_backward(f, values, x, w, logits, gradient, threads, by_x, by_w, by_b, by_p);
        }
        return py::make_tuple(dX, dW, db, dp);
      },
      py::arg("X").noconvert(), py::arg("W").noconvert(), py::arg("z").noconvert(), py::arg("G").noconvert(), py::arg("activation"),
      py::arg("parameter").noconvert(), py::arg("threads"));
  m.def(
      "activation",
      [](const Array<T>& z, const std::string& name, const Array<T>& parameter) {
        const Matrix<T> x = as_matrix(z, false, "z");
        const T* values = vector(parameter, x.cols, "parameter");
        const Activation f = activation_named(name);
        Array<T> a = empty<T>({x.rows, x.cols});
        T* to = a.mutable_data();
        {
          const Unlocked unlocked;
          activation(f, values, x.rows, x.cols, x.data, to);
        }
        return a;
      },
      py::arg("z").noconvert(), py::arg("name"), py::arg("parameter").noconvert());
  m.def(
      "activation_backward",
      [](const Array<T>& z, const Array<T>& g, const std::string& name, const Array<T>& parameter) {
        const Matrix<T> x = as_matrix(z, false, "z");
        const T *gradient = matrix(g, x.cols, "g"), *values = vector(parameter, x.cols, "parameter");
        require(g.shape(0) == x.rows, [&] { return "z and g must have the same shape, got " + shape_of(z) + " and " + shape_of(g); });
        const Activation f = activation_named(name);
        Array<T> out = empty<T>({x.rows, x.cols}), by_parameter = empty<T>({x.rows, x.cols});
        T *to = out.mutable_data(), *also_to = by_parameter.mutable_data();
        {
          const Unlocked unlocked;
          activation_backward(f, values, x.rows, x.cols, x.data, gradient, to, also_to);
        }
        return py::make_tuple(out, by_parameter);
      },
      py::arg("z").noconvert(), py::arg("g").noconvert(), py::arg("name"), py::arg("parameter").noconvert());
  m.def(
      "loss",
      [](const Array<T>& p, const Array<T>& t, const std::string& name, const GroupPairs& pairs) {
        const Matrix<T> x = as_matrix(p, false, "p");
        const std::vector<ColumnGroup> groups = groups_of(pairs);
        require(loss_named(name) == Loss::mixed ? !groups.empty() && groups.back().end == x.cols : groups.empty(),
                "groups must cover the columns of p for mixed, and be empty for other losses");
        const T* targets = matrix(t, x.cols, "t");
        require(t.shape(0) == x.rows, [&] { return "p and t must have the same shape, got " + shape_of(p) + " and " + shape_of(t); });
        Array<double> rows = empty<double>({x.rows});
        Array<T> delta = empty<T>({x.rows, x.cols});
        const Loss kind = loss_named(name);
        double* losses = rows.mutable_data();
        T* to = delta.mutable_data();
        {
          const Unlocked unlocked;
          loss(kind, x.data, targets, x.rows, x.cols, groups, losses, to);
        }
        return py::make_tuple(rows, delta);
      },
      py::arg("p").noconvert(), py::arg("t").noconvert(), py::arg("name"), py::arg("groups") = GroupPairs{});
  m.def(
      "optimizer_step",
      [](const OptimizerSpec& optimizer, Array<T>& w, Array<T>& mean, Array<T>& square, const Array<T>& g, double rate, index_t step,
         double alpha) {
        require(w.ndim() == 1, [&] { return "w must have one dimension, got shape " + shape_of(w); });
        require(step >= 1, "step must be at least 1");
        const index_t n = w.size();
        T *numbers = writable(w, n, "w"), *first = writable(mean, n, "m"), *second = writable(square, n, "v");
        const T* gradient = vector(g, n, "g");
        const Unlocked unlocked;
        optimizer_step(optimizer, numbers, first, second, gradient, n, rate, step, alpha);
      },
      py::arg("optimizer"), py::arg("w").noconvert(), py::arg("m").noconvert(), py::arg("v").noconvert(), py::arg("g").noconvert(),
      py::arg("rate"), py::arg("step"), py::arg("alpha"));
  m.def(
      "corrupt",
      [](const Array<T>& X, const NoiseSpec& noise, const Array<index_t>& rows, std::uint64_t seed, std::uint32_t step) {
        const Matrix<T> x = as_matrix(X, false, "X");
        const index_t* ids = vector(rows, x.rows, "rows");
        Array<T> out = empty<T>({x.rows, x.cols});
        T* to = out.mutable_data();
        {
          const Unlocked unlocked;
          corrupt(noise, ids, x.rows, x.cols, seed, step, x.data, to);
        }
        return out;
      },
      py::arg("X").noconvert(), py::arg("noise"), py::arg("rows").noconvert(), py::arg("seed"), py::arg("step"));
  const auto finite = [](const Array<T>& X) { return squares_are_finite(X.data(), X.size()); };
  m.def("squares_are_finite", finite, py::arg("X").noconvert(), py::call_guard<Unlocked>());
}

}  // namespace

void bind_array_functions(py::module_& m) {
  bind<float>(m);
  bind<double>(m);
}

}  // namespace layerwise
