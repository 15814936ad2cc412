#include "net/learning.h"

#include <algorithm>

#include "net/bfloat16.h"
#include "net/normalization.h"
#include "net/penalties.h"
#include "net/single_row.h"

namespace layerwise {
namespace {

template <class T>
void update_range(const Kernels<T>& k, Network<T>& network, const Update<T>& update, const UpdateScalars<T>& s, index_t begin, index_t n,
                  const T* gradient) {
  const auto run = [&](index_t from, index_t count, const T* g) {
    k.update[static_cast<int>(update.kind)](network.data() + from, part(update.first, from), part(update.second, from), g, count, s);
  };
  if (!s.shape.any) return run(begin, n, gradient);
  alignas(64) T shaped[kPanel * kPanel];  // block by block, so that what was shaped stays in the first-level cache
  for (index_t i = 0; i < n; i += kPanel * kPanel) {
    const index_t count = std::min(n - i, kPanel * kPanel);
    k.shape(gradient + i, network.data() + begin + i, count / kPanel, kPanel, s.shape, shaped);
    run(begin + i, count, shaped);
  }
}

// A 32 x 32 block of layer l's weights, smaller at the edges: inputs 32 * row .. and outputs 32 * panel ..
struct Block {
  index_t panel, row, height, width, begin;  // begin: its place among the network's numbers
};

template <class T>
Block block_of(const Network<T>& network, int l, index_t unit) {
  const LayerSpec& spec = network.layer(l);
  const index_t blocks = panels(spec.n_in), panel = unit / blocks, row = unit % blocks;
  return {panel, row, width_of(spec.n_in, row), width_of(spec.n_out, panel),
          network.window(l).weights + (panel * spec.n_in + row * kPanel) * kPanel};
}

// What the gradient of a block is made of: the batch's rows, then those that a tied decoder has read.
template <class T>
struct Sources {
  GradientSource<T> part[2];
};

template <class T>
Sources<T> sources_of(const Batch<T>& batch, int l, const Block& b) {
  const auto source = [&](const Panels<T>& x, const Panels<T>& delta) {
    return GradientSource<T>{x.at(b.row, 0), x.step, delta.at(b.panel, 0), batch.half != nullptr ? pairs_of(batch.rows) : batch.rows, {}};
  };
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const bool half = batch.half != nullptr;
  GradientSource<T> rows = half ? source(room.x_pairs, room.delta_pairs) : source(input_of(batch, l), room.delta);
  rows.nonzero = batch.nonzero(l, batch.skips.gradient, b.row);
  Sources<T> sources{{rows, {rows.a, rows.a_step, rows.b, 0, {}}}};  // nothing of the second, whose pointers are moved along all the same
  if (const int tied = batch.network.tied_user(l); tied >= 0) {
    const LayerRoom<T>& decoder = batch.room.layers[at(tied)];
    sources.part[1] = half ? source(decoder.delta_pairs, decoder.x_pairs) : source(decoder.delta, input_of(batch, tied));
  }
  return sources;
}

template <class T>
void multiply_source(const Batch<T>& batch, const GradientSource<T>& source, const Block& b, const T* init, index_t init_step, T* out) {
  if constexpr (std::is_same_v<T, float>) {
    if (batch.half != nullptr) return batch.half->gemm_t(source.a, source.b, b.height, b.width, source.depth, init, init_step, out);
  }
  batch.k.gemm_t(source.a, source.b, b.height, b.width, source.depth, init, init_step, out, source.nonzero);
}

// The gradient of one block into `out`: over the batch's rows, then over the tied decoder's.
template <class T>
void weight_gradient(const Batch<T>& batch, int l, const Block& b, const T* init, index_t init_step, T* out) {
  const Sources<T> sources = sources_of(batch, l, b);
  multiply_source(batch, sources.part[0], b, init, init_step, out);
  if (sources.part[1].depth > 0) multiply_source(batch, sources.part[1], b, out, kPanel, out);
  // The weights' padding must stay zero; here may be a code's padding, or what an earlier block left.
  for (index_t r = 0; b.width < kPanel && r < b.height; ++r) std::fill_n(out + r * kPanel + b.width, kPanel - b.width, T{0});
}

// The whole blocks u, u + 1, ... before `end` of one panel whose gradient needs nothing but the batch: product and step in one kernel.
// Returns how many there are; penalties and padding are for the other way.
template <class T>
index_t fuse(const Batch<T>& batch, int l, index_t u, index_t end, Network<T>& network, const Update<T>& update,
             const UpdateScalars<T>& s) {
  const LayerSpec& spec = network.layer(l);
  const Block b = block_of(network, l, u);
  const index_t blocks = std::min(end - u, spec.n_in / kPanel - b.row);
  // Beside a tied decoder the padding of the codes may make a gradient, which `weight_gradient` takes away.
  if ((b.width < kPanel && network.tied_user(l) >= 0) || blocks <= 0) return 0;
  const Sources<T> sources = sources_of(batch, l, b);
  const auto run = [&](const auto& kernels) {
    kernels.fused_update[static_cast<int>(update.kind)](sources.part, blocks, b.width, network.data() + b.begin,
                                                        part(update.first, b.begin), part(update.second, b.begin), s);
  };
  if constexpr (std::is_same_v<T, float>) {
    if (batch.half != nullptr) {
      run(*batch.half);
      return blocks;
    }
  }
  run(batch.k);
  return blocks;
}

// A thread's blocks of layer l, each handed to the optimiser as soon as its gradient is known: it never travels to memory.
template <class T>
void learn_weights(const Batch<T>& batch, int l, Range units, Network<T>& network, const Update<T>& update, const UpdateScalars<T>& s,
                   T* local) {
  const PenaltySpec& penalties = batch.recipe->penalties;
  const bool contracts = penalties.contracts(l);
  const index_t blocks = panels(network.layer(l).n_in);
  std::fill_n(local, kPanel * kPanel, T{0});
  for (index_t u = units.begin, next; u < units.end; u = next) {
    const index_t fused = contracts ? 0 : fuse(batch, l, u, units.end, network, update, s);
    next = u + std::max(fused, index_t{1});
    const Block b = block_of(network, l, u);
    if (fused == 0) {
      weight_gradient(batch, l, b, kZeros<T>, 0, local);
      if (contracts) add_weight_penalty(batch, l, b.panel, b.row * kPanel, b.height, 0, 0, local);
      update_range(batch.k, network, update, s, b.begin, b.height * kPanel, local);
    }
    // While a whole panel is in the cache.
    if (penalties.max_norm != 0 && next % blocks == 0 && next - blocks >= units.begin) bound_norm(batch, l, b.panel, network);
  }
}

// The other panels: those that `learn_weights` shares between threads, and those of layers that learned from a single row.
template <class T>
void bound_other_norms(Team& team, const Batch<T>& batch, Network<T>& network) {
  for (int l = 0; l < network.depth(); ++l) {
    if (!network.owns_weights(l) || is_frozen(*batch.recipe, l)) continue;
    const index_t blocks = panels(network.layer(l).n_in), n = panels(network.layer(l).n_out);
    if (learns_by_row(batch, l)) {
      const Range share = team.share(n);
      for (index_t panel = share.begin; panel < share.end; ++panel) bound_norm(batch, l, panel, network);
    } else if (const Range units = team.share(n * blocks); units.begin < units.end && units.end % blocks != 0) {
      const index_t panel = units.end / blocks;  // whose first block was this thread's
      if (panel * blocks >= units.begin) bound_norm(batch, l, panel, network);
    }
  }
  team.barrier();
}

// The same without an optimiser: into `gradient`, laid out as the network's numbers.
template <class T>
void store_gradient(const Batch<T>& batch, int l, Range units, const Update<T>* update, bool accumulate, bool last, T* gradient) {
  const PenaltySpec& penalties = batch.recipe->penalties;
  // What is clipped by its norm is the whole gradient, of which the optimiser then must not add a term again; alpha's, where there is no
  // optimiser, is `Plan::gradient`'s.
  const bool clips = update != nullptr && penalties.clip_norm != 0;
  const double alpha = clips ? batch.recipe->alpha : 0, l1 = clips || update == nullptr ? penalties.l1 : 0;
  for (index_t u = units.begin; u < units.end; ++u) {
    const Block b = block_of(batch.network, l, u);
    T* out = gradient + b.begin;
    weight_gradient(batch, l, b, accumulate ? out : kZeros<T>, accumulate ? kPanel : 0, out);
    if (!last) continue;
    if (alpha != 0 || l1 != 0 || penalties.contracts(l)) add_weight_penalty(batch, l, b.panel, b.row * kPanel, b.height, alpha, l1, out);
    if (clips) batch.room.squares[at(part_of_block(batch, l, b.panel, b.row))] = batch.k.square_sum(out, b.height);
  }
}

// A normalised layer's shift and scale, whose gradients `normalize_delta` has found, and its running statistics.
template <class T>
void learn_normalization(Team& team, const Batch<T>& batch, int l, Network<T>& network, const Update<T>* update, T* gradient) {
  const NormalizationRoom<T>& own = batch.room.normalizations[at(l)];
  const auto learn_panel = [&](index_t begin, const T* sums) {
    if (gradient != nullptr) {
      std::copy_n(sums, kPanel, gradient + begin);
    } else {
      update_range(batch.k, network, *update, scalars_for(*update, *batch.recipe, l, false), begin, kPanel, sums);
    }
  };
  const Range share = team.share(panels(network.layer(l).n_out));
  for (index_t panel = share.begin; panel < share.end; ++panel) {
    learn_panel(network.window(l).bias + panel * kPanel, own.by_shift.data() + panel * kPanel);
    learn_panel(network.window(l).scale + panel * kPanel, own.by_scale.data() + panel * kPanel);
    if (update != nullptr) move_statistics(batch, l, panel, network);
  }
}

// Gives all units of a shared activation parameter the same gradient: the sum over units, in order.
template <class T>
void share_gradient(const LayerSpec& spec, T* gradient) {
  T sum = 0;
  for (index_t j = 0; j < spec.n_out; ++j) sum += gradient[j];
  std::fill_n(gradient, panels(spec.n_out) * kPanel, sum);
}

}  // namespace

template <class T>
void learn(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>* update, T* gradient, bool accumulate, bool last,
           const Batch<T>* begun) {
  const Recipe& recipe = *batch.recipe;
  pair_operands(team, batch);
  T* local = batch.room.scratch(team.rank()) + kDepthBlock * kPanel;
  for (int l = 0; l < network.depth(); ++l) {
    if (is_frozen(recipe, l)) continue;
    const LayerSpec& spec = network.layer(l);
    const Window& window = network.window(l);
    const LayerRoom<T>& room = batch.room.layers[at(l)];
    const bool by_row = gradient == nullptr && learns_by_row(batch, l);
    if (network.owns_weights(l) && !by_row) {
      const Range units = team.share(panels(spec.n_out) * panels(spec.n_in));
      if (gradient != nullptr) {
        store_gradient(batch, l, units, update, accumulate, last, gradient);
      } else {
        learn_weights(batch, l, units, network, *update, scalars_for(*update, recipe, l, true), local);
      }
    }
    // Biases and activation parameters: few numbers, so a panel is the unit, and a shared parameter is thread 0's.
    const Range units = team.share(panels(spec.n_out));
    const auto sum_and_update = [&](const Panels<T>& values, index_t offset, index_t panel) {
      const index_t begin = offset + panel * kPanel;
      T* sums = gradient != nullptr ? gradient + begin : local;
      if (!accumulate) std::fill_n(sums, kPanel, T{0});
      batch.k.column_sums(values.at(panel, 0), batch.rows, sums);
      if (gradient == nullptr) update_range(batch.k, network, *update, scalars_for(*update, recipe, l, false), begin, kPanel, sums);
    };
    if (spec.normalized) {
      learn_normalization(team, batch, l, network, update, gradient);
    } else {
      for (index_t p = units.begin; p < units.end; ++p) sum_and_update(room.delta, window.bias, p);
    }
    // After the biases, from which the sums of the row that is begun start.
    if (by_row && !updates_on_the_way(batch, l)) {
      for (index_t p = units.begin; p < units.end; ++p) learn_panel_by_row(batch, l, p, network, *update, l == 0 ? begun : nullptr);
    }
    if (spec.learn == Learn::unit) {
      for (index_t p = units.begin; p < units.end; ++p) sum_and_update(room.by_parameter, window.parameter, p);
    } else if (spec.learn == Learn::shared && team.leads()) {
      T* sums = gradient != nullptr ? gradient + window.parameter : batch.room.shared_gradient.data();
      const index_t width = panels(spec.n_out) * kPanel;
      if (!accumulate) std::fill_n(sums, width, T{0});
      for (index_t p = 0; p < panels(spec.n_out); ++p) batch.k.column_sums(room.by_parameter.at(p, 0), batch.rows, sums + p * kPanel);
      if (gradient == nullptr) {
        share_gradient(spec, sums);
        update_range(batch.k, network, *update, scalars_for(*update, recipe, l, false), window.parameter, width, sums);
      }
    }
  }
  if (gradient != nullptr || recipe.penalties.max_norm == 0) return;
  team.barrier();
  bound_other_norms(team, batch, network);
}

template <class T>
void share_gradients(const Network<T>& network, T* gradient) {
  for (int l = 0; l < network.depth(); ++l) {
    if (network.layer(l).learn == Learn::shared) share_gradient(network.layer(l), gradient + network.window(l).parameter);
  }
}

template <class T>
void apply_update(Team& team, const Batch<T>& batch, Network<T>& network, const Update<T>& update, const T* gradient) {
  const Recipe& recipe = *batch.recipe;
  // From the last layer down, whose gradient is still in the cache, to the first, which the next step reads first.
  for (int l = network.depth() - 1; l >= 0; --l) {
    if (is_frozen(recipe, l)) continue;
    const LayerSpec& spec = network.layer(l);
    const Window& window = network.window(l);
    if (network.owns_weights(l)) {
      const Range rows = team.share(panels(spec.n_out) * spec.n_in);
      const index_t begin = window.weights + rows.begin * kPanel;
      update_range(batch.k, network, update, scalars_for(update, recipe, l, true), begin, (rows.end - rows.begin) * kPanel,
                   gradient + begin);
    }
    if (!team.leads()) continue;
    const UpdateScalars<T> s = scalars_for(update, recipe, l, false);
    const index_t width = panels(spec.n_out) * kPanel;
    update_range(batch.k, network, update, s, window.bias, width, gradient + window.bias);
    if (spec.normalized) update_range(batch.k, network, update, s, window.scale, width, gradient + window.scale);
    if (spec.learn != Learn::fixed) update_range(batch.k, network, update, s, window.parameter, width, gradient + window.parameter);
  }
  team.barrier();
}

#define LAYERWISE_INSTANTIATE(T)                                                                                  \
  template void learn<T>(Team&, const Batch<T>&, Network<T>&, const Update<T>*, T*, bool, bool, const Batch<T>*); \
  template void share_gradients<T>(const Network<T>&, T*);                                                        \
  template void apply_update<T>(Team&, const Batch<T>&, Network<T>&, const Update<T>&, const T*);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
