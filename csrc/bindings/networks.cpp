// Network and Plan for both element types.
#include "bindings/bindings.h"

namespace layerwise {
namespace {

int checked_layer(int l, int depth) {
  if (l < 0 || l >= depth) throw py::index_error("layer must be between 0 and " + std::to_string(depth - 1) + ", got " + std::to_string(l));
  return l;
}

// Python runs signal handlers in its main thread alone.
unsigned long main_thread = 0;

constexpr index_t Window::* kNormalization[] = {&Window::scale, &Window::mean, &Window::variance};

template <class T>
void bind_network(py::module_& m, const char* name) {
  using Net = Network<T>;
  const auto check_normalized = [](const Net& n, int l) {
    require(n.layer(checked_layer(l, n.depth())).normalized, "layer " + std::to_string(l) + " has no batch_norm");
  };
  // Reads and writes the n_out numbers of one window.
  const auto get = [](const Net& n, int l, index_t Window::* part) {
    const T* from = n.data() + n.window(checked_layer(l, n.depth())).*part;
    return Array<T>(n.layer(l).n_out, from);
  };
  const auto set = [](Net& n, int l, const Array<T>& values, index_t Window::* part, const char* argument) {
    const T* from = vector(values, n.layer(checked_layer(l, n.depth())).n_out, argument);
    copy_and_pad(from, n.layer(l).n_out, n.data() + n.window(l).*part);
  };
  py::class_<Net, std::shared_ptr<Net>>(m, name)
      .def(py::init<std::vector<LayerSpec>>(), py::arg("layers"))
      .def_property_readonly("layers",
                             [](const Net& n) {
                               std::vector<LayerSpec> layers;
                               for (int l = 0; l < n.depth(); ++l) layers.push_back(n.layer(l));
                               return layers;
                             })
      .def_property_readonly("n_parameters", &Net::parameter_count)
      .def(
          "weights",
          [](const Net& n, int l) {
            Array<T> out = empty<T>({n.layer(checked_layer(l, n.depth())).n_in, n.layer(l).n_out});
            n.get_weights(l, out.mutable_data());
            return out;
          },
          py::arg("layer"))
      .def(
          "set_weights",
          [](Net& n, int l, const Array<T>& values) {
            const LayerSpec& layer = n.layer(checked_layer(l, n.depth()));
            const T* from = matrix(values, layer.n_out, "values");
            require(values.shape(0) == layer.n_in, "values must have shape (" + std::to_string(layer.n_in) + ", " +
                                                       std::to_string(layer.n_out) + "), got " + shape_of(values));
            n.set_weights(l, from);
          },
          py::arg("layer"), py::arg("values").noconvert())
      .def(
          "bias", [get](const Net& n, int l) { return get(n, l, &Window::bias); }, py::arg("layer"))
      .def(
          "parameter", [get](const Net& n, int l) { return get(n, l, &Window::parameter); }, py::arg("layer"))
      .def(
          "set_bias", [set](Net& n, int l, const Array<T>& v) { set(n, l, v, &Window::bias, "values"); }, py::arg("layer"),
          py::arg("values").noconvert())
      .def(
          "set_parameter",
          [set](Net& n, int l, const Array<T>& v) {
            set(n, l, v, &Window::parameter, "values");
            if (n.layer(l).learn == Learn::unit) return;
            require(std::all_of(v.data(), v.data() + v.size(), [&](T x) { return x == *v.data(); }),
                    "values must all be equal: the units of this layer share one parameter");
            std::fill_n(n.data() + n.window(l).parameter, panels(n.layer(l).n_out) * kPanel, *v.data());
          },
          py::arg("layer"), py::arg("values").noconvert())
      .def(
          "normalization",
          [check_normalized](const Net& n, int l) {
            check_normalized(n, l);
            Array<T> out = empty<T>({3, n.layer(l).n_out});
            for (int i = 0; i < 3; ++i) {
              std::copy_n(n.data() + n.window(l).*kNormalization[i], n.layer(l).n_out, out.mutable_data() + i * n.layer(l).n_out);
            }
            return out;
          },
          py::arg("layer"))
      .def(
          "set_normalization",
          [check_normalized](Net& n, int l, const Array<T>& values) {
            check_normalized(n, l);
            const index_t n_out = n.layer(l).n_out;
            const T* from = matrix(values, n_out, "values");
            require(values.shape(0) == 3, "values must have shape (3, " + std::to_string(n_out) + "), got " + shape_of(values));
            for (int i = 0; i < 3; ++i) copy_and_pad(from + i * n_out, n_out, n.data() + n.window(l).*kNormalization[i]);
          },
          py::arg("layer"), py::arg("values").noconvert())
      .def("parameters",
           [](const Net& n) {
             Array<T> flat = empty<T>({n.parameter_count()});
             n.flatten(n.data(), flat.mutable_data());
             return flat;
           })
      .def(
          "set_parameters", [](Net& n, const Array<T>& v) { n.unflatten(vector(v, n.parameter_count(), "values"), n.data()); },
          py::arg("values").noconvert())
      .def(
          "apply",
          [](const Net& n, const Array<T>& X, int first, int last, bool logits, int threads, const RoundedWeights* rounded) {
            if (last == -1) last = n.depth();
            require(0 <= first && first < last && last <= n.depth(), "first and last must satisfy 0 <= first < last <= number of layers");
            require(threads >= 0, "threads must not be negative");
            require(rounded == nullptr || rounded->are_of(&n), "rounded must be None or the RoundedWeights of this network");
            const T* x = matrix(X, n.layer(first).n_in, "X");
            const index_t rows = X.shape(0);
            Array<T> out = empty<T>({rows, n.layer(last - 1).n_out});
            T* to = out.mutable_data();
            {
              const Unlocked unlocked;
              apply(n, rounded, x, rows, first, last, logits, threads, to);
            }
            return out;
          },
          py::arg("X").noconvert(), py::arg("first") = 0, py::arg("last") = -1, py::arg("logits") = false, py::arg("threads") = 0,
          py::arg("rounded") = py::none());
}

template <class T>
Data<T> data_of(const Network<T>& n, const Array<T>& X, const std::optional<Array<T>>& Y, const std::optional<Array<T>>& weights) {
  Data<T> data{matrix(X, n.inputs(), "X"), nullptr, nullptr, X.shape(0)};
  require(data.rows > 0, "X must have at least one row");
  if (Y) {
    data.y = matrix(*Y, n.outputs(), "Y");
    require(Y->shape(0) == data.rows, "X and Y must have the same number of rows, got " + shape_of(X) + " and " + shape_of(*Y));
  } else {
    require(n.inputs() == n.outputs(), "Y may be left out only where the network's outputs are as many as its inputs");
  }
  if (weights) data.weights = vector(*weights, data.rows, "row_weights");
  return data;
}

template <class T>
void bind_plan(py::module_& m, const char* name) {
  using Shared = SharedPlan<T, Plan<T>>;
  using Optional = std::optional<Array<T>>;
  using Doubles = Array<double>;
  py::class_<Shared> plan(m, name);
  bind_moments<T>(plan);
  plan.def(py::init<std::shared_ptr<Network<T>>, const Recipe&>(), py::arg("network").none(false), py::arg("recipe").none(false))
      .def(
          "run",
          [](Shared& s, const Array<T>& X, const Optional& Y, index_t first_step, index_t steps, const Doubles& rates,
             const std::optional<Doubles>& momenta, const Optional& weights, std::pair<double, double> so_far,
             const std::optional<Array<index_t>>& ids) {
            const Use use(s);
            Data<T> data = data_of(*s.network, X, Y, weights);
            if (ids) data.ids = vector(*ids, data.rows, "ids");
            return run_plan<T>(s, data, first_step, steps, rates, momenta, so_far);
          },
          py::arg("X").noconvert(), py::arg("Y").noconvert(), py::arg("first_step"), py::arg("steps"), py::arg("rates").noconvert(),
          py::arg("momenta") = py::none(), py::arg("row_weights") = py::none(), py::arg("so_far") = kNothingSoFar,
          py::arg("ids") = py::none())
      .def(
          "evaluate",
          [](Shared& s, const Array<T>& X, const Optional& Y, const Optional& weights) {
            const Use use(s);
            const Data<T> data = data_of(*s.network, X, Y, weights);
            const Unlocked unlocked;
            return evaluate(*s.network, s.plan.recipe(), data);
          },
          py::arg("X").noconvert(), py::arg("Y").noconvert(), py::arg("row_weights") = py::none())
      .def(
          "gradient",
          [](Shared& s, const Array<T>& X, const Optional& Y, const Optional& weights, std::uint32_t step) {
            const Use use(s);
            const Data<T> data = data_of(*s.network, X, Y, weights);
            Array<T> flat = empty<T>({s.network->parameter_count()});
            T* to = flat.mutable_data();
            double objective = 0;
            {
              const Unlocked unlocked;
              objective = s.plan.gradient(data, step, to, interrupted);
            }
            if (PyErr_Occurred() != nullptr) throw py::error_already_set();
            return py::make_tuple(objective, flat);
          },
          py::arg("X").noconvert(), py::arg("Y").noconvert(), py::arg("row_weights") = py::none(), py::arg("step") = 0)
      .def_property_readonly("loss", [](const Shared& s) { return s.plan.last_loss(); });
}

}  // namespace

bool interrupted() {
  if (PyThread_get_thread_ident() != main_thread) return false;
  const py::gil_scoped_acquire gil;
  return PyErr_CheckSignals() != 0;
}

void bind_networks(py::module_& m) {
  main_thread = py::module_::import("threading").attr("main_thread")().attr("ident").cast<unsigned long>();
  py::class_<RoundedWeights> rounded(m, "RoundedWeights");
  bind_network<float>(m, "Network_float32");
  bind_network<double>(m, "Network_float64");
  rounded.def(py::init<const Network<float>&>(), py::arg("network"), py::keep_alive<1, 2>(), py::call_guard<Unlocked>());
  bind_plan<float>(m, "Plan_float32");
  bind_plan<double>(m, "Plan_float64");
}

}  // namespace layerwise
