// RbmPlan and Gibbs sampling for both element types.
#include "net/rbm.h"

#include "bindings/bindings.h"

namespace layerwise {
namespace {

template <class T>
void bind(py::module_& m, const char* name) {
  using Shared = SharedPlan<T, RbmPlan<T>>;
  using Doubles = Array<double>;
  const GibbsSpec usual;
  py::class_<Shared>(m, name)
      .def(py::init([](std::shared_ptr<Network<T>> network, const Recipe& recipe, index_t k, bool persistent, bool sample_visible,
                       double target, double cost, double decay) {
             return std::make_unique<Shared>(std::move(network), recipe, GibbsSpec{k, persistent, sample_visible, target, cost, decay});
           }),
           py::arg("network").none(false), py::arg("recipe").none(false), py::arg("k") = usual.k, py::arg("persistent") = usual.persistent,
           py::arg("sample_visible") = usual.sample_visible, py::arg("sparsity_target") = usual.sparsity_target,
           py::arg("sparsity_cost") = usual.sparsity_cost, py::arg("sparsity_decay") = usual.sparsity_decay)
      .def(
          "run",
          [](Shared& s, const Array<T>& X, index_t first_step, index_t steps, const Doubles& rates, const std::optional<Doubles>& momenta,
             const std::optional<Array<T>>& weights, const std::optional<Array<index_t>>& ids) {
            const Use use(s);
            Data<T> data{matrix(X, s.network->inputs(), "X"), nullptr, nullptr, X.shape(0)};
            require(data.rows > 0, "X must have at least one row");
            if (weights) data.weights = vector(*weights, data.rows, "row_weights");
            if (ids) data.ids = vector(*ids, data.rows, "ids");
            return run_plan<T>(s, data, first_step, steps, rates, momenta);
          },
          py::arg("X").noconvert(), py::arg("first_step"), py::arg("steps"), py::arg("rates").noconvert(), py::arg("momenta") = py::none(),
          py::arg("row_weights") = py::none(), py::arg("ids") = py::none());
  m.def(
      "gibbs",
      [](const Network<T>& machine, const Array<T>& V, index_t steps, bool means, std::uint64_t seed, int threads) {
        require(steps >= 0 && steps < (index_t{1} << 32), "steps must be in 0 .. 2^32 - 1");
        require(threads >= 0, "threads must not be negative");
        const T* from = matrix(V, machine.inputs(), "V");
        Array<T> out = empty<T>({V.shape(0), V.shape(1)});
        T* to = out.mutable_data();
        std::copy_n(from, V.size(), to);
        bool finished = true;
        {
          const Unlocked unlocked;
          finished = sample_chains(machine, to, V.shape(0), steps, means, seed, threads, interrupted);
        }
        if (!finished) throw py::error_already_set();
        return out;
      },
      py::arg("network"), py::arg("V").noconvert(), py::arg("steps"), py::arg("means"), py::arg("seed"), py::arg("threads") = 0);
}

}  // namespace

void bind_rbm(py::module_& m) {
  bind<float>(m, "RbmPlan_float32");
  bind<double>(m, "RbmPlan_float64");
}

}  // namespace layerwise
