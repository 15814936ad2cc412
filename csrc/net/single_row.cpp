#include "net/single_row.h"

#include "net/penalties.h"
#include "net/products.h"

namespace layerwise {
namespace {

// A thread's parts of the gradient by layer l's input: a row of `partial` for each group of panels.
template <class T>
void multiply_groups(Team& team, const Batch<T>& batch, int l, Network<T>& network, const Update<T>* update) {
  const LayerSpec& spec = network.layer(l);
  const Panels<T>&delta = batch.room.layers[at(l)].delta, &x = input_of(batch, l);
  const index_t w_step = spec.n_in * kPanel;
  share_groups(team, spec.n_out, [&](index_t first, index_t n) {
    T* out = batch.room.partial.at(first / kGroupPanels, 0);
    const index_t begin = network.window(l).weights + first * w_step;
    if (update == nullptr || !updates_on_the_way(batch, l)) {
      batch.k.gemv_t(network.data() + begin, w_step, n, spec.n_in, delta.at(first, 0), delta.step, out);
    } else {
      batch.k.gemv_t_update[static_cast<int>(update->kind)](network.data() + begin, part(update->first, begin), part(update->second, begin),
                                                            w_step, n, spec.n_in, x.at(0, 0), x.step, delta.at(first, 0), delta.step, out,
                                                            scalars_for(*update, *batch.recipe, l, true));
    }
  });
}

}  // namespace

template <class T>
bool updates_on_the_way(const Batch<T>& batch, int l) {
  return batch.rows == 1 && l > lowest_learning(batch.network, *batch.recipe) && !is_frozen(*batch.recipe, l) &&
         batch.network.owns_weights(l) && batch.network.tied_user(l) < 0 && !penalizes_weights(batch, l);
}

template <class T>
void backward_single_row(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update) {
  for (int l = batch.last - 1; l > lowest_learning(network, *batch.recipe); --l) {
    const index_t n_in = network.layer(l).n_in;
    if (!network.owns_weights(l)) {
      input_gradient(team, batch, l);
      continue;
    }
    multiply_groups(team, batch, l, network, update);
    team.barrier();
    const Range share = team.share(panels(n_in));
    for (index_t panel = share.begin; panel < share.end; ++panel) {
      T* g = batch.room.layers[at(l - 1)].delta.at(panel, 0);
      std::fill_n(g, kPanel, T{0});
      for (index_t group = 0; group < panel_groups(network.layer(l).n_out); ++group) {
        const T* some = batch.room.partial.at(group, 0) + panel * kPanel;
        for (index_t c = 0; c < width_of(n_in, panel); ++c) g[c] += some[c];
      }
      finish_delta(team, batch, l - 1, panel, 0, 1);
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
