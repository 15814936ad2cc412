#include "net/workspace.h"

#include <algorithm>

#include "kernels/catalog.h"

namespace layerwise {

template <class T>
Workspace<T>::Workspace(const Network<T>& network, const Recipe* recipe, index_t capacity, int threads, int first, int last, bool ahead)
    : rows(capacity),
      layers(static_cast<std::size_t>(network.depth())),
      row_scale(static_cast<std::size_t>(capacity)),
      row_loss(static_cast<std::size_t>(capacity)) {
  const index_t pair_step = ((capacity + 1) / 2 | 1) * kPanel;
  if (capacity > 1) nonzero[0] = NonzeroRoom(network.layer(first).n_in, capacity);
  if (ahead) nonzero[1] = nonzero[0];
  index_t end = 0;
  const auto reserve = [&](index_t features) {
    const index_t begin = end;
    end += panels(features) * row_step();
    return begin;
  };
  index_t widest = 0;
  for (int l = first; l < last; ++l) widest = std::max(widest, network.layer(l).n_out);
  shared_gradient.resize(recipe == nullptr ? 0 : static_cast<std::size_t>(panels(widest) * kPanel));
  // Two passes over the same plan: the first adds up the sizes, the second hands out the places.
  const auto place = [&](T* base) {
    end = 0;
    const auto room = [&](index_t features) {
      const index_t begin = reserve(features);
      return Panels<T>{base == nullptr ? nullptr : base + begin, row_step()};
    };
    for (Given<T>& side : given) {
      side = given[0];
      if (&side != given && !ahead) continue;
      side.input = side.target = room(network.layer(first).n_in);
      if (recipe != nullptr) side.target = room(network.outputs());
      if (recipe != nullptr && recipe->noise.emphasises()) side.cell_weights = room(network.outputs());
    }
    if (recipe != nullptr) {
      index_t groups = 0, longest = 0;
      for (int l = first + 1; l < last; ++l) {
        // Of the weights as they are stored: a tied layer's are its owner's.
        const LayerSpec& owner = network.layer(network.owns_weights(l) ? l : network.layer(l).tied_to);
        groups = std::max(groups, panel_groups(owner.n_out));
        longest = std::max(longest, panels(owner.n_in) * kPanel);
      }
      partial = {base == nullptr ? nullptr : base + end, longest};
      end += groups * longest;
    }
    for (int l = first; l < last; ++l) {
      LayerRoom<T>& layer = layers[static_cast<std::size_t>(l)];
      const LayerSpec& spec = network.layer(l);
      layer.z = layer.value = layer.output = layer.normal = room(spec.n_out);
      if (recipe == nullptr) continue;
      if (spec.normalized) layer.normal = room(spec.n_out);
      if (needs_input(spec.activation)) layer.value = layer.output = room(spec.n_out);
      const bool drops = !recipe->dropout.empty() && recipe->dropout[static_cast<std::size_t>(l)] > 0;
      if (drops) layer.output = room(spec.n_out);
      if (drops) layer.kept.resize(static_cast<std::size_t>(panels(spec.n_out) * capacity));
      layer.delta = room(spec.n_out);
      if (recipe->bfloat16) {
        const auto pairs = [&](index_t features) {
          const index_t begin = end;
          end += panels(features) * pair_step;
          return Panels<T>{base == nullptr ? nullptr : base + begin, pair_step};
        };
        layer.x_pairs = pairs(spec.n_in), layer.delta_pairs = pairs(spec.n_out);
      }
      if (spec.learn != Learn::fixed) layer.by_parameter = room(spec.n_out);
    }
  };
  place(nullptr);
  memory_ = Buffer<T>(end, 1);
  place(memory_.data());
  if (recipe != nullptr && recipe->bfloat16) reserve_rounded(network, first, last);
  const bool curved = recipe != nullptr && !recipe->penalties.contraction.empty();
  scratch_step_ = kScratch + (curved ? (3 * capacity + 8) * kPanel : 0);
  scratch_ = Buffer<T>(scratch_step_ * threads, 2);
  if (recipe != nullptr) reserve_penalties(network, recipe->penalties);
  if (recipe != nullptr && network.normalizes()) reserve_normalizations(network);
}

template <class T>
void Workspace<T>::reserve_rounded(const Network<T>& network, int first, int last) {
  index_t most = network.layer(first).n_in;
  for (int l = first; l < last; ++l) most = std::max(most, network.layer(l).n_out);
  rounded_ = Buffer<std::uint16_t>(panels(most) * row_step(), 6);
  rounded = {rounded_.data(), row_step()};
}

template <class T>
void Workspace<T>::reserve_normalizations(const Network<T>& network) {
  normalizations.resize(layers.size());
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const LayerSpec& spec = network.layer(static_cast<int>(l));
    NormalizationRoom<T>& room = normalizations[l];
    for (std::vector<T>* numbers : {&room.mean, &room.variance, &room.by_shift, &room.by_scale})
      numbers->resize(spec.normalized ? static_cast<std::size_t>(panels(spec.n_out) * kPanel) : 0);
  }
}

template <class T>
void Workspace<T>::reserve_penalties(const Network<T>& network, const PenaltySpec& spec) {
  if (spec.clip_norm != 0) {
    index_t parts = 0;
    for (int l = 0; l < network.depth(); ++l) parts += panels(network.layer(l).n_out) * (panels(network.layer(l).n_in) + 3);
    squares.resize(static_cast<std::size_t>(parts));
    row_norms.resize(2 * layers.size() * row_loss.size());
  }
  if (!spec.of_activations()) return;
  penalties.resize(layers.size());
  for (std::size_t l = 0; l < penalties.size(); ++l) {
    const auto units = static_cast<std::size_t>(network.layer(static_cast<int>(l)).n_out);
    const auto padded = static_cast<std::size_t>(panels(network.layer(static_cast<int>(l)).n_out) * kPanel);
    PenaltyRoom<T>& room = penalties[l];
    for (std::vector<T>* numbers : {&room.mean, &room.by_activation, &room.l1, &room.contraction, &room.slope_squares})
      numbers->resize(padded);
    if (!spec.activation_l1.empty()) std::fill_n(room.l1.data(), units, static_cast<T>(spec.activation_l1[l]));
  }
}

template class Workspace<float>;
template class Workspace<double>;

}  // namespace layerwise
