// What the rest of the engine and Python know of the activations, losses, optimisers and noises: names and habits.
#pragma once

#include "kernels/kernels.h"

namespace layerwise {

// In the order of the lists in kernels.h.
extern const char* const kActivationNames[kActivations];
extern const char* const kLossNames[kLosses];
extern const char* const kGroupNames[kGroups];
extern const char* const kOptimizerNames[kOptimizers];
extern const char* const kNoiseNames[kNoises];

// Whether the slope is written with z (which must then be kept) and not with a = f(z).
bool needs_input(Activation kind);
// Whether the activation has a parameter (alpha of leaky_relu, prelu, elu; beta of swish), and its usual value.
bool has_parameter(Activation kind);
double default_parameter(Activation kind);
// Whether the parameter is learned: then slope() also gives the derivative by it.
bool learnable(Activation kind);
// Which moments an optimiser keeps beside each parameter.
bool has_first_moment(OptimizerKind kind);
bool has_second_moment(OptimizerKind kind);

}  // namespace layerwise
