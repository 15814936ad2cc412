// What the binding files share.
#pragma once

#include <cxxabi.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <atomic>
#include <memory>

#include "bindings/arrays.h"
#include "kernels/catalog.h"
#include "net/plan.h"
#include "net/reading.h"

namespace layerwise {

inline constexpr const char* kLearnNames[] = {"fixed", "shared", "unit"};

// The place of a name in a list; the complaint names the list.
template <class Enum, std::size_t N>
Enum named(const std::string& name, const char* const (&names)[N], const char* what) {
  std::string allowed;
  for (std::size_t i = 0; i < N; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
    allowed += (i ? ", " : "") + std::string(names[i]);
  }
  throw std::invalid_argument(std::string(what) + " must be one of " + allowed + "; got '" + name + "'");
}
inline Activation activation_named(const std::string& name) { return named<Activation>(name, kActivationNames, "activation"); }
inline Loss loss_named(const std::string& name) { return named<Loss>(name, kLossNames, "loss"); }
inline OptimizerKind optimizer_named(const std::string& name) { return named<OptimizerKind>(name, kOptimizerNames, "optimizer"); }
inline NoiseKind noise_named(const std::string& name) { return named<NoiseKind>(name, kNoiseNames, "noise"); }
using GroupPairs = std::vector<std::pair<std::string, index_t>>;  // columns from the first on: kind, how many
inline std::vector<ColumnGroup> groups_of(const GroupPairs& pairs) {
  std::vector<ColumnGroup> groups;
  for (const auto& [kind, count] : pairs) {
    const index_t begin = groups.empty() ? 0 : groups.back().end;
    require(count > 0 && count <= (index_t{1} << 31), "a group must have between 1 and 2^31 columns");
    groups.push_back({named<GroupKind>(kind, kGroupNames, "group"), begin, begin + count});
  }
  return groups;
}
inline Learn learn_named(const std::string& name) { return named<Learn>(name, kLearnNames, "learn"); }

// Python's lock, given back for as long as the engine works. When the interpreter ends meanwhile, Python stops a thread that wants the
// lock again by unwinding its stack, which must not pass through the engine: such a thread waits here for the process to end.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() noexcept(false) {
    try {
      PyEval_RestoreThread(state_);
    } catch (abi::__forced_unwind&) {
      for (;;) ::pause();
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Whether a signal handler raised: asked by the engine while it works without Python's lock.
bool interrupted();

inline constexpr index_t kAtStart = -1, kNowhere = -2;  // in the place of a step: none was done; within one, or diverged

// A plan (Plan or RbmPlan) and the network it trains; only one thread at a time may use it.
template <class T, class P>
struct SharedPlan {
  template <class... Settings>
  explicit SharedPlan(std::shared_ptr<Network<T>> n, const Settings&... settings) : network(std::move(n)), plan(*network, settings...) {}
  std::shared_ptr<Network<T>> network;
  P plan;
  std::atomic<bool> busy{false};
  // Where the last run ended, however it did: the step to come, and the epoch's sums.
  index_t next_step = kAtStart;
  Sums sums;
};

class Use {
 public:
  template <class Shared>
  explicit Use(Shared& shared) : busy_(shared.busy) {
    if (busy_.exchange(true)) throw std::runtime_error("this plan is already running in another thread; make one plan a thread");
  }
  ~Use() { busy_ = false; }
  Use(const Use&) = delete;

 private:
  std::atomic<bool>& busy_;
};

inline const std::pair<double, double> kNothingSoFar{0, 0};  // the sums of loss and weight where an epoch begins

// A plan's steps, with the lock given back; throws what a signal handler raised.
template <class T, class Shared>
RunStats run_plan(Shared& s, const Data<T>& data, index_t first_step, index_t steps, const Array<double>& rates,
                  const std::optional<Array<double>>& momenta, const std::pair<double, double>& so_far) {
  constexpr index_t kEnd = index_t{1} << 32;  // steps are counted in a word of the random counter
  require(first_step >= 0 && first_step < kEnd && steps >= 0 && steps < kEnd - first_step,
          "first_step and first_step + steps must be in 0 .. 2^32 - 1");
  const Rates per_step{vector(rates, steps, "rates"), momenta ? vector(*momenta, steps, "momenta") : nullptr};
  RunStats stats;
  {
    const Unlocked unlocked;
    stats = s.plan.run(data, first_step, steps, per_step, interrupted, {so_far.first, so_far.second});
  }
  s.next_step = stats.whole && stats.finite ? first_step + stats.steps : kNowhere;
  s.sums = stats.sums;
  if (stats.interrupted) throw py::error_already_set();
  return stats;
}

// An optimiser's memory, read and written as flat arrays in the order of the network's parameters; and where the last run ended.
template <class T, class Shared>
void bind_moments(py::class_<Shared>& plan) {
  plan.def("moments", [](Shared& s) {
    const auto plain = [&](const T* moment) {
      Array<T> flat = empty<T>({s.network->parameter_count()});
      std::fill_n(flat.mutable_data(), flat.size(), T{0});
      if (moment != nullptr) s.network->flatten(moment, flat.mutable_data());
      return flat;
    };
    return py::make_tuple(plain(s.plan.first_moment()), plain(s.plan.second_moment()));
  });
  const auto set = [](Shared& s, const Array<T>& first, const Array<T>& second) {
    const Use use(s);
    const index_t n = s.network->parameter_count();
    const T *from_first = vector(first, n, "first"), *from_second = vector(second, n, "second");
    if (s.plan.first_moment() != nullptr) s.network->unflatten(from_first, s.plan.first_moment());
    if (s.plan.second_moment() != nullptr) s.network->unflatten(from_second, s.plan.second_moment());
  };
  plan.def("set_moments", set, py::arg("first").noconvert(), py::arg("second").noconvert());
  plan.def_property_readonly("standing", [](const Shared& s) -> py::object {
    if (s.next_step == kAtStart) return py::none();
    if (s.next_step == kNowhere) return py::tuple();
    return py::make_tuple(s.next_step, py::make_tuple(s.sums.loss, s.sums.weight));
  });
}

void bind_networks(py::module_& m);
void bind_rbm(py::module_& m);
void bind_array_functions(py::module_& m);

}  // namespace layerwise
