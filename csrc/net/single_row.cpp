#include "net/single_row.h"

#include "net/penalties.h"
#include "net/products.h"

namespace layerwise {
namespace {

// The product with layer l's weights for the gradient by its input, and the step of those weights, which are read once for both.
template <class T>
void multiply_and_update(Team& team, const Batch<T>& batch, int l, Network<T>& network, const Update<T>& update) {
  const LayerSpec& spec = network.layer(l);
  const Panels<T>&delta = batch.room.layers[at(l)].delta, &x = input_of(batch, l);
  const index_t w_step = spec.n_in * kPanel;
  const UpdateScalars<T> s = scalars_for(update, *batch.recipe, l, true);
  multiply_groups(team, batch, spec, [&](index_t first, index_t n, index_t row, index_t rows, T* sums) {
    const index_t begin = network.window(l).weights + first * w_step + row * kPanel;
    batch.k.gemv_t_update[static_cast<int>(update.kind)](network.data() + begin, part(update.first, begin), part(update.second, begin),
                                                         w_step, n, rows, x.at(row / kPanel, 0), x.step, delta.at(first, 0), delta.step,
                                                         sums, s);
  });
}

// Through a tied decoder, which reads its weights transposed, the gradient by the input is their plain product.
template <class T>
void input_gradient_of_tied(Team& team, const Batch<T>& batch, int l) {
  const LayerSpec& owner = batch.network.layer(batch.network.layer(l).tied_to);
  const T* w = batch.network.data() + batch.network.window(l).weights;
  const index_t w_step = owner.n_in * kPanel;
  const Panels<T>&delta = batch.room.layers[at(l)].delta, &out = batch.room.layers[at(l - 1)].delta;
  share_groups(team, owner.n_out, [&](index_t first, index_t n) {
    batch.k.gemv(delta.at(0, 0), delta.step, w + first * w_step, w_step, n, owner.n_in, kZeros<T>, out.at(first, 0), out.step);
    for (index_t panel = first; panel < first + n; ++panel) {
      finish_delta(team, batch, l - 1, panel, 0, 1);
      finish_panel_delta(batch, l - 1, panel);
    }
  });
  team.barrier();
  finish_softmax_delta(team, batch, l - 1);
}

}  // namespace

template <class T>
bool updates_on_the_way(const Batch<T>& batch, int l) {
  return learns_by_row(batch, l) && l > lowest_learning(batch.network, *batch.recipe) && batch.network.tied_user(l) < 0;
}

template <class T>
bool learns_by_row(const Batch<T>& batch, int l) {
  return batch.rows == 1 && !is_frozen(*batch.recipe, l) && batch.network.owns_weights(l) && !batch.recipe->penalties.of_weights(l);
}

template <class T>
bool begins_next(const Batch<T>& batch, index_t next_rows) {
  const Network<T>& network = batch.network;
  if (next_rows != 1 || network.depth() < 2 || batch.recipe->penalties.max_norm != 0 || network.layer(0).normalized) return false;
  for (int l = 1; l < network.depth(); ++l) {
    if (network.owns_weights(l) && !is_frozen(*batch.recipe, l) && !updates_on_the_way(batch, l)) return false;
  }
  return learns_by_row(batch, 0);
}

template <class T>
void learn_panel_by_row(const Batch<T>& batch, int l, index_t panel, Network<T>& network, const Update<T>& update, const Batch<T>* begun) {
  const LayerSpec& spec = network.layer(l);
  const index_t begin = network.window(l).weights + panel * spec.n_in * kPanel, width = width_of(spec.n_out, panel);
  // The weights' padding must stay zero, whatever stands in that of a delta or a code.
  alignas(64) T deltas[2][kPanel] = {};
  const auto product_of = [&](const Panels<T>& x, const Panels<T>& delta, int which) {
    std::copy_n(delta.at(panel, 0), width, deltas[which]);
    return OuterProduct<T>{x.at(0, 0), x.step, deltas[which]};
  };
  OuterProduct<T> products[2] = {product_of(input_of(batch, l), batch.room.layers[at(l)].delta, 0), {}};
  if (const int tied = network.tied_user(l); tied >= 0)
    products[1] = product_of(batch.room.layers[at(tied)].delta, input_of(batch, tied), 1);
  NextRow<T> next{};
  if (begun != nullptr) {
    const Panels<T>& x = begun->given().input;
    next = {x.at(0, 0), x.step, network.data() + network.window(l).bias + panel * kPanel, batch.room.layers[at(l)].z.at(panel, 0)};
  }
  batch.k.update_outer[static_cast<int>(update.kind)](network.data() + begin, part(update.first, begin), part(update.second, begin),
                                                      spec.n_in, products, next, scalars_for(update, *batch.recipe, l, true));
}

template <class T>
void backward_single_row(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update) {
  for (int l = batch.last - 1; l > lowest_learning(network, *batch.recipe); --l) {
    const index_t n_in = network.layer(l).n_in;
    if (!network.owns_weights(l)) {
      input_gradient_of_tied(team, batch, l);
      continue;
    }
    if (update != nullptr && updates_on_the_way(batch, l)) {
      multiply_and_update(team, batch, l, network, *update);
    } else {
      multiply_row_transposed(team, batch, network.layer(l), network.data() + network.window(l).weights, batch.room.layers[at(l)].delta);
    }
    const Range share = team.share(panels(n_in));
    for (index_t panel = share.begin; panel < share.end; ++panel) {
      add_groups(batch, network.layer(l).n_out, panel, width_of(n_in, panel), kZeros<T>, batch.room.layers[at(l - 1)].delta.at(panel, 0));
      finish_delta(team, batch, l - 1, panel, 0, 1);
      finish_panel_delta(batch, l - 1, panel);
    }
    team.barrier();
    finish_softmax_delta(team, batch, l - 1);
  }
}

#define LAYERWISE_INSTANTIATE(T)                                                                                      \
  template void backward_single_row<T>(Team&, const Batch<T>&, Network<T>&, const Update<T>*);                        \
  template bool updates_on_the_way<T>(const Batch<T>&, int);                                                          \
  template bool learns_by_row<T>(const Batch<T>&, int);                                                               \
  template void learn_panel_by_row<T>(const Batch<T>&, int, index_t, Network<T>&, const Update<T>&, const Batch<T>*); \
  template bool begins_next<T>(const Batch<T>&, index_t);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
