#include "net/penalties.h"

#include <cmath>
#include <limits>
#include <string>

#include "base/check.h"

namespace layerwise {
namespace {

constexpr double kLeastMean = 1e-12;  // a mean activation counts as at least this far from 0 and 1

double of_layer(const std::vector<double>& values, int l) { return values.empty() ? 0 : values[at(l)]; }

// How active a unit is on average, as a number in (0, 1): its mean output, or for tanh, which is inactive at -1, (1 + mean) / 2.
template <class T>
double mean_activity(Activation f, T mean) {
  const double output = static_cast<double>(mean), activity = f == Activation::tanh ? 0.5 * (1 + output) : output;
  return std::min(std::max(activity, kLeastMean), 1 - kLeastMean);
}

// f'(z) of some rows of a panel: the slope of the activation where what reaches it is 1.
template <class T>
T* slopes_of_piece(Team& team, const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  T* slopes = batch.room.curves(team.rank(), 0);
  std::fill_n(slopes, (row_end - row) * kPanel, T{1});
  batch.k.slope[static_cast<int>(batch.network.layer(l).activation)](
      room.z.at(panel, row), room.value.at(panel, row), slopes, (row_end - row) * kPanel,
      batch.network.data() + batch.network.window(l).parameter + panel * kPanel, nullptr);
  return slopes;
}

template <class T>
void add_mean(const Batch<T>& batch, int l, index_t panel, bool accumulate) {
  T* mean = batch.room.penalties[at(l)].mean.data() + panel * kPanel;
  if (!accumulate) std::fill_n(mean, kPanel, T{0});
  batch.k.weighted_sums(batch.room.layers[at(l)].value.at(panel, 0), batch.room.row_scale.data(), batch.rows, mean);
}

// Parts of the gradient's norm that a panel of layer l has.
template <class T>
index_t parts_of_panel(const Network<T>& network, int l) {
  const LayerSpec& spec = network.layer(l);
  return (network.owns_weights(l) ? panels(spec.n_in) : 0) + 1 + (spec.normalized ? 1 : 0) + (spec.learn != Learn::fixed ? 1 : 0);
}

// Visits all that is learned beside the weights, a panel's row at a time: visit(part, begin, copies), where each number counts as one of so
// many copies. Returns the number of parts.
template <class T, class Visit>
index_t for_each_other_part(const Network<T>& network, const Recipe& recipe, Visit visit) {
  index_t part = 0;
  for (int l = 0; l < network.depth(); ++l) {
    if (is_frozen(recipe, l)) continue;
    const LayerSpec& spec = network.layer(l);
    const Window& window = network.window(l);
    for (index_t panel = 0; panel < panels(spec.n_out); ++panel) {
      if (network.owns_weights(l)) part += panels(spec.n_in);
      visit(part++, window.bias + panel * kPanel, 1);
      if (spec.normalized) visit(part++, window.scale + panel * kPanel, 1);
      // A shared parameter stands once in each column of each panel.
      const index_t copies = spec.learn == Learn::shared ? panels(spec.n_out) * kPanel : 1;
      if (spec.learn != Learn::fixed) visit(part++, window.parameter + panel * kPanel, copies);
    }
  }
  return part;
}

}  // namespace

template <class T>
void check_penalties(const Network<T>& network, const PenaltySpec& penalties) {
  const auto depth = static_cast<std::size_t>(network.depth());
  const auto number = [](double x, const char* name) {
    require(x >= 0 && std::isfinite(static_cast<double>(static_cast<T>(x))),
            std::string(name) + " must be finite in the network's dtype and not negative");
  };
  const auto per_layer = [&](const std::vector<double>& values, const char* name) {
    require(values.empty() || values.size() == depth, std::string(name) + " must be empty or have one value a layer");
    for (const double x : values) number(x, name);
    require(values.empty() || values.back() == 0, std::string(name) + " of the output layer must be 0");
  };
  per_layer(penalties.activation_l1, "activation_l1");
  per_layer(penalties.sparsity, "sparsity");
  per_layer(penalties.contraction, "contraction");
  number(penalties.l1, "l1");
  const auto bound = [&](double x, const char* name) {
    number(x, name);
    // In float32 1e-50 is 0, which would hold everything at 0.
    require(x == 0 || x >= static_cast<double>(std::numeric_limits<T>::min()),
            std::string(name) + " must be 0 (none) or positive, also when rounded to the network's dtype");
  };
  bound(penalties.clip_value, "clip_value");
  bound(penalties.clip_norm, "clip_norm");
  bound(penalties.max_norm, "max_norm");
  require(penalties.clip_value == 0 || penalties.clip_norm == 0, "clip_value and clip_norm exclude each other");
  require(penalties.sparsity_target > 0 && penalties.sparsity_target < 1, "sparsity_target must be in (0, 1)");
  for (int l = 0; l < network.depth(); ++l) {
    const Activation f = network.layer(l).activation;
    require(of_layer(penalties.sparsity, l) == 0 || f == Activation::sigmoid || f == Activation::tanh || f == Activation::softmax,
            "sparsity needs an activation with bounds: sigmoid, tanh or softmax");
    require(of_layer(penalties.contraction, l) == 0 || (f != Activation::softmax && network.owns_weights(l)),
            "contraction needs a layer with weights of its own and an activation other than softmax");
    require(of_layer(penalties.contraction, l) == 0 || !network.layer(l).normalized, "contraction needs a layer that is not normalised");
  }
}

template <class T>
void add_means(Team& team, const Batch<T>& batch, bool accumulate) {
  for (int l = batch.first; l < batch.last; ++l) {
    if (of_layer(batch.recipe->penalties.sparsity, l) == 0) continue;
    const Range units = team.share(panels(batch.network.layer(l).n_out));
    for (index_t panel = units.begin; panel < units.end; ++panel) add_mean(batch, l, panel, accumulate);
  }
  team.barrier();
}

template <class T>
void prepare_penalties(Team& team, const Batch<T>& batch, bool accumulate, bool means_known) {
  const PenaltySpec& penalties = batch.recipe->penalties;
  for (int l = batch.first; l < batch.last; ++l) {
    const double sparsity = of_layer(penalties.sparsity, l), contraction = of_layer(penalties.contraction, l);
    if (sparsity == 0 && contraction == 0) continue;
    const LayerSpec& spec = batch.network.layer(l);
    PenaltyRoom<T>& room = batch.room.penalties[at(l)];
    const Range units = team.share(panels(spec.n_out));
    for (index_t panel = units.begin; panel < units.end; ++panel) {
      const index_t first = panel * kPanel;
      if (sparsity != 0) {
        if (!means_known) add_mean(batch, l, panel, false);
        for (index_t c = first; c < first + width_of(spec.n_out, panel); ++c) {
          const double mean = mean_activity(spec.activation, room.mean[static_cast<std::size_t>(c)]), target = penalties.sparsity_target;
          const double by_output = sparsity * (spec.activation == Activation::tanh ? 0.5 : 1);
          room.by_activation[static_cast<std::size_t>(c)] = static_cast<T>(by_output * ((1 - target) / (1 - mean) - target / mean));
        }
      }
      if (contraction == 0) continue;
      T *incoming = room.contraction.data() + first, *slopes = room.slope_squares.data() + first;
      if (!accumulate) {
        std::fill_n(incoming, kPanel, T{0});
        std::fill_n(slopes, kPanel, T{0});
        const T* w = batch.network.data() + batch.network.window(l).weights + panel * spec.n_in * kPanel;
        batch.k.column_squares(w, spec.n_in, incoming);
        for (index_t c = 0; c < kPanel; ++c) incoming[c] *= static_cast<T>(2 * contraction);
      }
      batch.k.weighted_squares(slopes_of_piece(team, batch, l, panel, 0, batch.rows), batch.room.row_scale.data(), batch.rows, slopes);
    }
  }
  team.barrier();
}

template <class T>
void add_to_activation_delta(const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  const PenaltySpec& penalties = batch.recipe->penalties;
  if (of_layer(penalties.sparsity, l) == 0 && of_layer(penalties.activation_l1, l) == 0) return;
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const PenaltyRoom<T>& own = batch.room.penalties[at(l)];
  batch.k.add_activation_penalty(room.value.at(panel, row), batch.room.row_scale.data() + row, own.by_activation.data() + panel * kPanel,
                                 own.l1.data() + panel * kPanel, row_end - row, room.delta.at(panel, row));
}

template <class T>
void add_to_sum_delta(Team& team, const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  if (of_layer(batch.recipe->penalties.contraction, l) == 0) return;
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const LayerSpec& spec = batch.network.layer(l);
  const T* slopes = slopes_of_piece(team, batch, l, panel, row, row_end);
  T *curvature = batch.room.curves(team.rank(), 1), *by_parameter = batch.room.curves(team.rank(), 2);
  batch.k.curvature[static_cast<int>(spec.activation)](room.z.at(panel, row), room.value.at(panel, row), curvature, row_end - row,
                                                       batch.network.data() + batch.network.window(l).parameter + panel * kPanel,
                                                       spec.learn == Learn::fixed ? nullptr : by_parameter);
  const T *share = batch.room.row_scale.data() + row, *unit = batch.room.penalties[at(l)].contraction.data() + panel * kPanel;
  batch.k.add_products(share, unit, slopes, curvature, row_end - row, room.delta.at(panel, row));
  if (spec.learn != Learn::fixed) batch.k.add_products(share, unit, slopes, by_parameter, row_end - row, room.by_parameter.at(panel, row));
}

template <class T>
void add_weight_penalty(const Batch<T>& batch, int l, index_t panel, index_t first, index_t rows, double alpha, double l1, T* gradient) {
  const PenaltySpec& penalties = batch.recipe->penalties;
  T by_unit[kPanel];
  std::fill_n(by_unit, kPanel, static_cast<T>(alpha));
  for (index_t c = 0; penalties.contracts(l) && c < kPanel; ++c) {
    by_unit[c] += static_cast<T>(2 * penalties.contraction[at(l)]) *
                  batch.room.penalties[at(l)].slope_squares[static_cast<std::size_t>(panel * kPanel + c)];
  }
  const T* w = batch.network.data() + batch.network.window(l).weights + (panel * batch.network.layer(l).n_in + first) * kPanel;
  batch.k.add_weight_penalty(w, by_unit, static_cast<T>(penalties.contracts(l) ? penalties.l1 : l1), rows, gradient);
}

template <class T>
index_t part_of_block(const Batch<T>& batch, int l, index_t panel, index_t block) {
  index_t part = panel * parts_of_panel(batch.network, l) + block;
  for (int below = 0; below < l; ++below) {
    if (!is_frozen(*batch.recipe, below)) part += panels(batch.network.layer(below).n_out) * parts_of_panel(batch.network, below);
  }
  return part;
}

template <class T>
T clip_factor(Team& team, const Batch<T>& batch, const T* gradient) {
  std::vector<double>& squares = batch.room.squares;
  const index_t count = for_each_other_part(batch.network, *batch.recipe, [&](index_t part, index_t begin, index_t copies) {
    if (team.leads()) squares[static_cast<std::size_t>(part)] = batch.k.square_sum(gradient + begin, 1) / static_cast<double>(copies);
  });
  team.barrier();
  double sum = 0;  // every thread adds the same numbers in the same order
  for (index_t i = 0; i < count; ++i) sum += squares[static_cast<std::size_t>(i)];
  const double norm = std::sqrt(sum), limit = batch.recipe->penalties.clip_norm;
  return norm <= limit ? T{1} : static_cast<T>(limit / norm);
}

// A weight gradient is the sum of x_r delta_r^T over the rows, so that its norm is at most the sum of |x_r| |delta_r|; those of the biases
// are sums of delta_r. Other terms and other numbers that are learned have no bound as cheap.
template <class T>
bool is_surely_short(Team& team, const Batch<T>& batch) {
  constexpr double kMargin = 1.05;                                 // for what rounding, also to bfloat16, adds to a gradient
  constexpr double kLost = double{std::numeric_limits<T>::min()};  // of a square, at most: subnormal numbers count as zero
  const Network<T>& network = batch.network;
  const Recipe& recipe = *batch.recipe;
  if (recipe.alpha != 0 || recipe.penalties.l1 != 0 || !recipe.penalties.contraction.empty()) return false;
  const int lowest = lowest_learning(network, recipe);
  for (int l = lowest; l < network.depth(); ++l) {
    if (network.layer(l).normalized || network.layer(l).learn != Learn::fixed) return false;
  }
  double* const norms = batch.room.row_norms.data();
  const auto norm_of = [&](const Panels<T>& x, index_t r, index_t cols) {
    return std::sqrt(batch.k.row_squares(x.at(0, r), x.step, cols) + kLost * static_cast<double>(cols));
  };
  const Range rows = team.share(batch.rows);
  for (index_t r = rows.begin; r < rows.end; ++r) {
    for (int l = lowest; l < network.depth(); ++l) {
      const double by_sum = norm_of(batch.room.layers[at(l)].delta, r, network.layer(l).n_out);
      norms[2 * l * batch.rows + r] = by_sum;
      norms[(2 * l + 1) * batch.rows + r] = by_sum * norm_of(input_of(batch, l), r, network.layer(l).n_in);
    }
  }
  team.barrier();
  const auto over_rows = [&](index_t which) {
    double sum = 0;
    for (index_t r = 0; r < batch.rows; ++r) sum += norms[which * batch.rows + r];
    return sum;
  };
  double squares = 0;
  for (int l = lowest; l < network.depth(); ++l) {
    if (is_frozen(recipe, l)) continue;
    const double biases = over_rows(2 * l);
    squares += biases * biases;
    if (!network.owns_weights(l)) continue;
    const int tied = network.tied_user(l);
    const double weights = over_rows(2 * l + 1) + (tied < 0 ? 0 : over_rows(2 * tied + 1));
    squares += weights * weights;
  }
  return kMargin * std::sqrt(squares) <= recipe.penalties.clip_norm;
}

template <class T>
void bound_norm(const Batch<T>& batch, int l, index_t panel, Network<T>& network) {
  const double limit = batch.recipe->penalties.max_norm;
  const index_t n_in = network.layer(l).n_in;
  T* w = network.data() + network.window(l).weights + panel * n_in * kPanel;
  T factor[kPanel] = {};
  batch.k.column_squares(w, n_in, factor);
  bool any = false;
  for (T& x : factor) {
    const double norm = std::sqrt(static_cast<double>(x));
    any = any || !(norm <= limit);
    x = norm <= limit ? T{1} : static_cast<T>(limit / norm);
  }
  if (any) batch.k.scale_columns(factor, n_in, w);
}

template <class T>
void bound_norms(Team& team, const Batch<T>& batch, Network<T>& network) {
  for (int l = 0; l < network.depth(); ++l) {
    if (!network.owns_weights(l) || is_frozen(*batch.recipe, l)) continue;
    const Range units = team.share(panels(network.layer(l).n_out));
    for (index_t panel = units.begin; panel < units.end; ++panel) bound_norm(batch, l, panel, network);
  }
  team.barrier();
}

template <class T>
double activation_penalty(const Batch<T>& batch) {
  double penalty = 0;
  for (int l = batch.first; l < batch.last; ++l) {
    const double l1 = of_layer(batch.recipe->penalties.activation_l1, l);
    for (index_t r = 0; l1 != 0 && r < batch.rows; ++r) {
      double sum = 0;
      for (index_t c = 0; c < batch.network.layer(l).n_out; ++c) {
        sum += std::abs(static_cast<double>(batch.room.layers[at(l)].value.at(c / kPanel, r)[c % kPanel]));
      }
      penalty += l1 * sum * static_cast<double>(batch.room.row_scale[static_cast<std::size_t>(r)]);
    }
  }
  return penalty;
}

template <class T>
double other_penalties(const Batch<T>& batch) {
  const PenaltySpec& penalties = batch.recipe->penalties;
  double penalty = 0;
  for (int l = 0; l < batch.network.depth(); ++l) {
    const LayerSpec& spec = batch.network.layer(l);
    const double sparsity = of_layer(penalties.sparsity, l), target = penalties.sparsity_target;
    for (std::size_t c = 0; sparsity != 0 && c < static_cast<std::size_t>(spec.n_out); ++c) {
      const double mean = mean_activity(spec.activation, batch.room.penalties[at(l)].mean[c]);
      penalty += sparsity * (target * std::log(target / mean) + (1 - target) * std::log((1 - target) / (1 - mean)));
    }
    for (std::size_t c = 0; of_layer(penalties.contraction, l) != 0 && c < static_cast<std::size_t>(spec.n_out); ++c) {
      const PenaltyRoom<T>& room = batch.room.penalties[at(l)];
      penalty += 0.5 * static_cast<double>(room.contraction[c]) * static_cast<double>(room.slope_squares[c]);
    }
    if (penalties.l1 == 0 || !batch.network.owns_weights(l) || is_frozen(*batch.recipe, l)) continue;
    const T* w = batch.network.data() + batch.network.window(l).weights;  // its padding is 0
    for (index_t i = 0; i < panels(spec.n_out) * kPanel * spec.n_in; ++i) penalty += penalties.l1 * std::abs(static_cast<double>(w[i]));
  }
  return penalty;
}

#define LAYERWISE_INSTANTIATE(T)                                                                            \
  template void check_penalties<T>(const Network<T>&, const PenaltySpec&);                                  \
  template void prepare_penalties<T>(Team&, const Batch<T>&, bool, bool);                                   \
  template void add_means<T>(Team&, const Batch<T>&, bool);                                                 \
  template void add_to_activation_delta<T>(const Batch<T>&, int, index_t, index_t, index_t);                \
  template void add_to_sum_delta<T>(Team&, const Batch<T>&, int, index_t, index_t, index_t);                \
  template void add_weight_penalty<T>(const Batch<T>&, int, index_t, index_t, index_t, double, double, T*); \
  template index_t part_of_block<T>(const Batch<T>&, int, index_t, index_t);                                \
  template T clip_factor<T>(Team&, const Batch<T>&, const T*);                                              \
  template bool is_surely_short<T>(Team&, const Batch<T>&);                                                 \
  template void bound_norm<T>(const Batch<T>&, int, index_t, Network<T>&);                                  \
  template void bound_norms<T>(Team&, const Batch<T>&, Network<T>&);                                        \
  template double activation_penalty<T>(const Batch<T>&);                                                   \
  template double other_penalties<T>(const Batch<T>&);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
