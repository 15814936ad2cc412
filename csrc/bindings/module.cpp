// NumPy in, NumPy out: names, shapes and the GIL; no arithmetic. _core.pyi says what each function means.
#include "base/parallel.h"
#include "bindings/bindings.h"
#include "kernels/dispatch.h"
#include "net/streams.h"

namespace layerwise {
namespace {

template <std::size_t N>
py::tuple tuple_of(const char* const (&names)[N]) {
  py::tuple out(N);
  for (std::size_t i = 0; i < N; ++i) out[i] = names[i];
  return out;
}

// Random streams of plain numbers; the step word of the counter is 0.
template <class T>
Array<T> numbers(std::uint64_t seed, std::uint32_t stream, index_t n,
                 void (*fill)(std::uint64_t, std::uint32_t, std::uint32_t, T*, index_t)) {
  require(n >= 0, "n must not be negative");
  Array<T> out = empty<T>({n});
  fill(seed, 0, stream, out.mutable_data(), n);
  return out;
}

void bind_settings(py::module_& m) {
  py::class_<LayerSpec>(m, "Layer")
      .def(py::init([](index_t n_in, index_t n_out, const std::string& f, std::optional<double> parameter, const std::string& learn,
                       int tied_to, const GroupPairs& groups, const std::optional<std::pair<double, double>>& batch_norm) {
             const Activation kind = activation_named(f);
             LayerSpec spec{n_in, n_out, kind, parameter.value_or(default_parameter(kind)), learn_named(learn), tied_to, groups_of(groups)};
             spec.normalized = batch_norm.has_value();
             if (batch_norm) std::tie(spec.norm_momentum, spec.norm_epsilon) = *batch_norm;
             return spec;
           }),
           py::arg("n_in"), py::arg("n_out"), py::arg("activation"), py::arg("parameter") = py::none(), py::arg("learn") = "fixed",
           py::arg("tied_to") = -1, py::arg("groups") = GroupPairs{}, py::arg("batch_norm") = py::none())
      .def_readonly("n_in", &LayerSpec::n_in)
      .def_readonly("n_out", &LayerSpec::n_out)
      .def_property_readonly("activation", [](const LayerSpec& s) { return kActivationNames[static_cast<int>(s.activation)]; })
      .def_readonly("parameter", &LayerSpec::parameter)
      .def_property_readonly("learn", [](const LayerSpec& s) { return kLearnNames[static_cast<int>(s.learn)]; })
      .def_readonly("tied_to", &LayerSpec::tied_to)
      .def_property_readonly("batch_norm", [](const LayerSpec& s) {
        return s.normalized ? std::optional(std::pair(s.norm_momentum, s.norm_epsilon)) : std::nullopt;
      });
  py::class_<OptimizerSpec>(m, "Optimizer")
      .def(py::init(
               [](const std::string& kind, double momentum, double decay, double epsilon, double weight_decay, bool corrected,
                  bool inside) { return OptimizerSpec{optimizer_named(kind), momentum, decay, epsilon, weight_decay, corrected, inside}; }),
           py::arg("kind"), py::arg("momentum") = 0.9, py::arg("decay") = 0.999, py::arg("epsilon") = 1e-8, py::arg("weight_decay") = 0.0,
           py::arg("bias_correction") = true, py::arg("epsilon_inside_sqrt") = false);
  py::class_<NoiseSpec>(m, "Noise")
      .def(py::init([](const std::string& kind, double level, double low, double high, const std::vector<double>& levels, bool exact,
                       double corrupted, double clean, const GroupPairs& groups) {
             return NoiseSpec{noise_named(kind), level, low, high, levels, exact, groups_of(groups), corrupted, clean};
           }),
           py::arg("kind") = "none", py::arg("level") = 0.0, py::arg("low") = 0.0, py::arg("high") = 1.0,
           py::arg("levels") = std::vector<double>{}, py::arg("exact") = false, py::arg("corrupted_weight") = 1.0,
           py::arg("clean_weight") = 1.0, py::arg("groups") = GroupPairs{});
  using Doubles = std::vector<double>;
  py::class_<PenaltySpec>(m, "Penalties")
      .def(py::init<double, Doubles, Doubles, Doubles, double, double, double, double>(), py::arg("l1") = 0.0,
           py::arg("activation_l1") = Doubles{}, py::arg("sparsity") = Doubles{}, py::arg("contraction") = Doubles{},
           py::arg("sparsity_target") = 0.05, py::arg("clip_value") = 0.0, py::arg("clip_norm") = 0.0, py::arg("max_norm") = 0.0);
  py::class_<Recipe>(m, "Recipe")
      .def(py::init([](const std::string& loss, const OptimizerSpec& optimizer, index_t batch_size, std::uint64_t seed, double alpha,
                       const NoiseSpec& noise, std::vector<double> dropout, std::vector<bool> frozen, std::vector<double> rate_scale,
                       bool shuffle, bool missing_targets, int threads, const PenaltySpec& penalties, bool bfloat16) {
             return Recipe{loss_named(loss),
                           optimizer,
                           batch_size,
                           seed,
                           alpha,
                           noise,
                           penalties,
                           std::move(dropout),
                           std::move(frozen),
                           std::move(rate_scale),
                           shuffle,
                           missing_targets,
                           threads,
                           bfloat16};
           }),
           py::arg("loss"), py::arg("optimizer"), py::arg("batch_size"), py::arg("seed") = 0, py::arg("alpha") = 0.0,
           py::arg("noise") = NoiseSpec{}, py::arg("dropout") = std::vector<double>{}, py::arg("frozen") = std::vector<bool>{},
           py::arg("rate_scale") = std::vector<double>{}, py::arg("shuffle") = true, py::arg("missing_targets") = false,
           py::arg("threads") = 0, py::arg("penalties") = PenaltySpec{}, py::arg("bfloat16") = false)
      .def_readonly("batch_size", &Recipe::batch_size)
      .def_readonly("seed", &Recipe::seed)
      .def_readonly("shuffle", &Recipe::shuffle);
  py::class_<RunStats>(m, "RunStats")
      .def_readonly("loss", &RunStats::loss)
      .def_property_readonly("sums", [](const RunStats& s) { return std::pair(s.sums.loss, s.sums.weight); })
      .def_readonly("rows", &RunStats::rows)
      .def_readonly("steps", &RunStats::steps)
      .def_readonly("finite", &RunStats::finite)
      .def_readonly("seconds", &RunStats::seconds);
}

}  // namespace
}  // namespace layerwise

PYBIND11_MODULE(_core, m) {
  using namespace layerwise;
  try {
    choose_instruction_set();
  } catch (const std::runtime_error& error) {
    throw py::import_error(error.what());
  }
  m.attr("ACTIVATIONS") = tuple_of(kActivationNames);
  m.attr("LOSSES") = tuple_of(kLossNames);
  m.attr("OPTIMIZERS") = tuple_of(kOptimizerNames);
  m.attr("NOISES") = tuple_of(kNoiseNames);
  m.def("isa", [] { return instruction_set().name; });
  m.def("supported_isas", [] {
    py::list names;
    for (const InstructionSet& set : supported_instruction_sets()) names.append(set.name);
    return py::tuple(names);
  });
  m.def("has_bfloat16", [] { return bfloat16_kernels() != nullptr; });
  m.def("default_threads", &default_threads);
  m.def(
      "suppose_cores",
      [](const std::string& cores) {
        require(cores == "measured" || cores == "near" || cores == "far", "cores must be measured, near or far");
        suppose_cores(cores == "far" ? Cores::far : cores == "near" ? Cores::near : Cores::measured);
      },
      py::arg("cores"));
  m.def(
      "random_words",
      [](std::uint64_t seed, std::uint32_t stream, index_t n) { return numbers<std::uint32_t>(seed, stream, n, random_words); },
      py::arg("seed"), py::arg("stream"), py::arg("n"));
  m.def(
      "random_uniform",
      [](std::uint64_t seed, std::uint32_t stream, index_t n) { return numbers<double>(seed, stream, n, random_uniform); }, py::arg("seed"),
      py::arg("stream"), py::arg("n"));
  m.def(
      "random_normal", [](std::uint64_t seed, std::uint32_t stream, index_t n) { return numbers<double>(seed, stream, n, random_normal); },
      py::arg("seed"), py::arg("stream"), py::arg("n"));
  m.def(
      "random_permutation",
      [](std::uint64_t seed, std::uint32_t stream, index_t n, std::uint32_t step) {
        require(n >= 0, "n must not be negative");
        Array<index_t> out = empty<index_t>({n});
        for (index_t i = 0; i < n; ++i) out.mutable_data()[i] = i;
        random_shuffle(seed, step, stream, out.mutable_data(), n);
        return out;
      },
      py::arg("seed"), py::arg("stream"), py::arg("n"), py::arg("step") = 0);
  bind_settings(m);
  bind_networks(m);
  bind_rbm(m);
  bind_array_functions(m);
}
