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
  share_groups(team, spec.n_out, [&](index_t first, index_t n) {
    const index_t begin = network.window(l).weights + first * w_step;
    batch.k.gemv_t_update[static_cast<int>(update.kind)](network.data() + begin, part(update.first, begin), part(update.second, begin),
                                                         w_step, n, spec.n_in, x.at(0, 0), x.step, delta.at(first, 0), delta.step,
                                                         batch.room.partial.at(first / kGroupPanels, 0), s);
  });
  team.barrier();
}

}  // namespace

template <class T>
bool updates_on_the_way(const Batch<T>& batch, int l) {
  return batch.rows == 1 && l > lowest_learning(batch.network, *batch.recipe) && !is_frozen(*batch.recipe, l) &&
         batch.network.owns_weights(l) && batch.network.tied_user(l) < 0 && !batch.recipe->penalties.of_weights(l);
}

template <class T>
void backward_single_row(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update) {
  for (int l = batch.last - 1; l > lowest_learning(network, *batch.recipe); --l) {
    const index_t n_in = network.layer(l).n_in;
    if (!network.owns_weights(l)) {
      input_gradient(team, batch, l);
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

#define LAYERWISE_INSTANTIATE(T)                                                               \
  template void backward_single_row<T>(Team&, const Batch<T>&, Network<T>&, const Update<T>*); \
  template bool updates_on_the_way<T>(const Batch<T>&, int);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
