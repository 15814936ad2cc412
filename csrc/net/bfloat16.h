// Products in bfloat16, for float32 networks: each product's operands are rounded just before it, the weights block by block, so that the
// only weights that are kept, and that learn, are those in float32 (docs/decisions/0008).
#pragma once

#include <type_traits>

#include "net/passes.h"

namespace layerwise {

constexpr index_t pairs_of(index_t depth) { return (depth + 1) / 2; }

// Puts what the next product reads into `room.rounded`; nothing where the batch is not in bfloat16.
template <class T>
void round_operand(Team& team, const Batch<T>& batch, const Panels<T>& a, index_t features) {
  if (batch.half == nullptr) return;
  if constexpr (std::is_same_v<T, float>) {
    const Range share = team.share(panels(features));
    for (index_t p = share.begin; p < share.end; ++p) {
      batch.half->round(a.at(p, 0), batch.rows * kPanel, batch.room.rounded.at(p, 0));
      // The last one of an odd number of features is paired with padding, whose activation need not be finite.
      for (index_t r = 0; width_of(features, p) % 2 != 0 && r < batch.rows; ++r) batch.room.rounded.at(p, r)[width_of(features, p)] = 0;
    }
    team.barrier();
  }
}

// The operands of all weight gradients.
template <class T>
void pair_operands(Team& team, const Batch<T>& batch) {
  if (batch.half == nullptr) return;
  if constexpr (std::is_same_v<T, float>) {
    const auto pair = [&](const Panels<T>& x, index_t features, const Panels<T>& pairs) {
      const Range share = team.share(panels(features));
      for (index_t p = share.begin; p < share.end; ++p) batch.half->pair_rows(x.at(p, 0), batch.rows, pairs.at(p, 0));
    };
    for (int l = lowest_learning(batch.network, *batch.recipe); l < batch.last; ++l) {
      const LayerRoom<T>& room = batch.room.layers[at(l)];
      pair(input_of(batch, l), batch.network.layer(l).n_in, room.x_pairs);
      pair(room.delta, batch.network.layer(l).n_out, room.delta_pairs);
    }
    team.barrier();
  }
}

}  // namespace layerwise
