#include "net/plan_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <type_traits>

#include "base/check.h"
#include "kernels/dispatch.h"
#include "net/penalties.h"

namespace layerwise {
namespace {

// What counts is the number after rounding to T: in float32 a decay of 0.99999999 is 1, and an epsilon of 1e-50 is 0.
template <class T>
double rounded(double x) {
  return static_cast<double>(static_cast<T>(x));
}

}  // namespace

template <class T>
void check_recipe(const Network<T>& network, const Recipe& recipe) {
  const auto depth = static_cast<std::size_t>(network.depth());
  const auto per_layer = [&](std::size_t n, const char* name) {
    require(n == 0 || n == depth, std::string(name) + " must be empty or have one value a layer");
  };
  per_layer(recipe.dropout.size(), "dropout");
  per_layer(recipe.frozen.size(), "frozen");
  per_layer(recipe.rate_scale.size(), "rate_scale");
  for (const double rate : recipe.dropout) require(rate >= 0 && rate < 1, "dropout must be in [0, 1)");
  require(recipe.dropout.empty() || recipe.dropout.back() == 0, "dropout of the output layer must be 0");
  check_steps<T>(recipe);
  require(!recipe.noise.emphasises() || (network.inputs() == network.outputs() && recipe.loss != Loss::softmax_cross_entropy),
          "corrupted inputs can be emphasised only where the outputs are as many as the inputs, and not with softmax_cross_entropy");
  check_penalties(network, recipe.penalties);
  require(!recipe.bfloat16 || std::is_same_v<T, float>, "bfloat16 products need a float32 network");
  if (recipe.bfloat16) require_bfloat16_kernels();
  const Activation output = network.layer(network.depth() - 1).activation;
  require(recipe.loss != Loss::sigmoid_cross_entropy || output == Activation::sigmoid,
          "sigmoid_cross_entropy needs the output activation sigmoid");
  require(recipe.loss != Loss::softmax_cross_entropy || output == Activation::softmax,
          "softmax_cross_entropy needs the output activation softmax");
  require((recipe.loss == Loss::mixed) != network.layer(network.depth() - 1).groups.empty(),
          "mixed needs an output layer with groups, and such a layer needs mixed");
}

template <class T>
void check_steps(const Recipe& recipe) {
  const auto not_negative = [](double x, const char* name) {
    require(x >= 0 && std::isfinite(rounded<T>(x)), std::string(name) + " must be finite in the network's dtype and not negative");
  };
  const auto share = [](double x, const char* name) {
    require(x >= 0 && rounded<T>(x) < 1, std::string(name) + " must be in [0, 1), also when rounded to the network's dtype");
  };
  require(recipe.batch_size > 0, "batch_size must be at least 1");
  require(recipe.threads >= 0, "threads must not be negative");
  const OptimizerSpec& o = recipe.optimizer;
  require(o.epsilon >= static_cast<double>(std::numeric_limits<T>::min()) && std::isfinite(rounded<T>(o.epsilon)),
          "epsilon must be positive and finite, also when rounded to the network's dtype");
  share(o.momentum, "momentum (beta_1)");
  share(o.decay, "decay (beta_2)");
  not_negative(recipe.alpha, "alpha");
  not_negative(o.weight_decay, "weight_decay");
}

template <class T>
void check_rates(const Rates& rates, index_t steps) {
  for (index_t s = 0; s < steps; ++s) {
    require(rates.rates[s] >= 0 && std::isfinite(rounded<T>(rates.rates[s])),
            "rates must be finite and not negative, also when rounded to the network's dtype");
    require(rates.momenta == nullptr || (rates.momenta[s] >= 0 && rounded<T>(rates.momenta[s]) < 1),
            "momenta must be in [0, 1), also when rounded to the network's dtype");
  }
}

template <class T>
void check_part(const Data<T>& data, const Recipe& recipe, index_t steps) {
  if (data.ids == nullptr) return;
  require(steps > 0 && (data.rows + recipe.batch_size - 1) / recipe.batch_size == steps, "with ids, X must have the rows of the steps");
  require(std::all_of(data.ids, data.ids + data.rows, [](index_t id) { return id >= 0; }), "ids must not be negative");
  require(recipe.noise.kind != NoiseKind::swap, "swap noise needs the whole data, not the rows of some steps");
}

#define LAYERWISE_INSTANTIATE(T)                                   \
  template void check_recipe<T>(const Network<T>&, const Recipe&); \
  template void check_steps<T>(const Recipe&);                     \
  template void check_rates<T>(const Rates&, index_t);             \
  template void check_part<T>(const Data<T>&, const Recipe&, index_t);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
