// What the binding files share.
#pragma once

#include <cxxabi.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include "bindings/arrays.h"
#include "kernels/catalog.h"
#include "net/plan.h"

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

void bind_networks(py::module_& m);
void bind_array_functions(py::module_& m);

}  // namespace layerwise
