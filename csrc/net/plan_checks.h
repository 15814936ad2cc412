// What the settings, rates and rows of a plan must be.
#pragma once

#include "net/data.h"
#include "net/network.h"
#include "net/settings.h"

namespace layerwise {

// One learning rate, and perhaps one momentum, per step.
struct Rates {
  const double* rates;
  const double* momenta;  // null: the optimiser's own
};

// Throw std::invalid_argument where the settings of a network's plan, those that every kind of plan has, the rates of a run, or the rows of
// a part are not allowed.
template <class T>
void check_recipe(const Network<T>& network, const Recipe& recipe);
template <class T>
void check_steps(const Recipe& recipe);
template <class T>
void check_rates(const Rates& rates, index_t steps);
template <class T>
void check_part(const Data<T>& data, const Recipe& recipe, index_t steps);

}  // namespace layerwise
