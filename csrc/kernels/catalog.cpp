#include "kernels/catalog.h"

namespace layerwise {
namespace {

struct ActivationEntry {
  bool needs_input;
  bool has_parameter;
  bool learnable;
  double parameter;
};

// leaky_relu and elu are written with a because their alpha is not negative: a > 0 exactly where z > 0.
constexpr ActivationEntry kEntries[kActivations] = {
    {false, false, false, 0.0},  // identity
    {false, false, false, 0.0},  // sigmoid
    {false, false, false, 0.0},  // tanh
    {false, false, false, 0.0},  // relu
    {false, true, false, 0.01},  // leaky_relu: Maas 2013
    {true, true, true, 0.25},    // prelu: He 2015
    {false, true, false, 1.0},   // elu: Clevert 2016
    {false, false, false, 0.0},  // softplus
    {true, false, false, 0.0},   // gelu
    {true, false, false, 0.0},   // gelu_tanh
    {true, false, false, 0.0},   // silu
    {true, true, true, 1.0},     // swish: Ramachandran 2017
    {false, false, false, 0.0},  // softmax
};

const ActivationEntry& entry(Activation kind) { return kEntries[static_cast<int>(kind)]; }

}  // namespace

const char* const kActivationNames[kActivations] = {"identity", "sigmoid", "tanh",      "relu", "leaky_relu", "prelu",  "elu",
                                                    "softplus", "gelu",    "gelu_tanh", "silu", "swish",      "softmax"};
const char* const kLossNames[kLosses] = {"squared_error", "sigmoid_cross_entropy", "softmax_cross_entropy", "mixed"};
const char* const kGroupNames[kGroups] = {"number", "flag", "category"};
const char* const kOptimizerNames[kOptimizers] = {"sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"};
const char* const kNoiseNames[kNoises] = {"none", "masking", "gaussian", "salt_and_pepper", "swap", "dropout"};

bool needs_input(Activation kind) { return entry(kind).needs_input; }
bool has_parameter(Activation kind) { return entry(kind).has_parameter; }
double default_parameter(Activation kind) { return entry(kind).parameter; }
bool learnable(Activation kind) { return entry(kind).learnable; }

bool has_first_moment(OptimizerKind kind) {
  return kind == OptimizerKind::momentum || kind == OptimizerKind::nesterov || kind == OptimizerKind::adam || kind == OptimizerKind::adamw;
}
bool has_second_moment(OptimizerKind kind) {
  return kind == OptimizerKind::adagrad || kind == OptimizerKind::rmsprop || kind == OptimizerKind::adam || kind == OptimizerKind::adamw;
}

}  // namespace layerwise
