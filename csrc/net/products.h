// Products of panels, and how a team divides them.
#pragma once

#include <algorithm>
#include <type_traits>

#include "net/passes.h"

namespace layerwise {

// Gives each thread its share of (panel, rows) pieces, cut at the register tile's rows and joined again within a panel.
template <class Piece>
void share_pieces(Team& team, index_t tile_rows, index_t rows, index_t n_panels, Piece piece) {
  const index_t tiles = (rows + tile_rows - 1) / tile_rows;
  const Range units = team.share(n_panels * tiles);
  for (index_t u = units.begin; u < units.end;) {
    const index_t panel = u / tiles, end = std::min(units.end, (panel + 1) * tiles);
    piece(panel, rows * (u - panel * tiles) / tiles, rows * (end - panel * tiles) / tiles);
    u = end;
  }
}

// The same, and finish(panel) once all rows of a panel are there, by the thread that has the first of them.
template <class Piece, class Finish>
void share_panels(Team& team, index_t tile_rows, index_t rows, index_t n_panels, Piece piece, Finish finish) {
  index_t cut = -1;  // the panel of whose rows another thread has the last
  share_pieces(team, tile_rows, rows, n_panels, [&](index_t panel, index_t row, index_t row_end) {
    piece(panel, row, row_end);
    if (row > 0) return;
    if (row_end == rows) {
      finish(panel);
    } else {
      cut = panel;
    }
  });
  team.barrier();
  if (cut >= 0) finish(cut);
}

// With a single row: calls piece(first panel, panels) for a thread's groups: the same for each phase, so that a core meets its own part of
// the weights again.
template <class Piece>
void share_groups(Team& team, index_t features, Piece piece) {
  const Range share = team.share(panel_groups(features));
  for (index_t g = share.begin; g < share.end; ++g) piece(g * kGroupPanels, std::min(kGroupPanels, panels(features) - g * kGroupPanels));
}

// What a single row makes of `owner`'s weights transposed, group by group of their panels: a thread's into a row of `partial` each, for
// `add_groups`. product(first panel, panels, first row of the weights, rows, sums) makes a part of a row.
// The sums go to `partial` many at a time: a line that another thread has read takes long to write again, and the weights that are written
// meanwhile would wait for each.
template <class T, class Product>
void multiply_groups(Team& team, const Batch<T>& batch, const LayerSpec& owner, Product product) {
  constexpr index_t kSums = 8 * kPanel;
  share_groups(team, owner.n_out, [&](index_t first, index_t n) {
    alignas(64) T sums[kSums];
    for (index_t row = 0; row < owner.n_in; row += kSums) {
      const index_t rows = std::min(kSums, owner.n_in - row);
      product(first, n, row, rows, sums);
      std::copy_n(sums, rows, batch.room.partial.at(first / kGroupPanels, 0) + row);
    }
  });
  team.barrier();
}

template <class T>
void multiply_row_transposed(Team& team, const Batch<T>& batch, const LayerSpec& owner, const T* w, const Panels<T>& x) {
  const index_t w_step = owner.n_in * kPanel;
  multiply_groups(team, batch, owner, [&](index_t first, index_t n, index_t row, index_t rows, T* sums) {
    batch.k.gemv_t(w + first * w_step + row * kPanel, w_step, n, rows, x.at(first, 0), x.step, sums);
  });
}

// The sum of all groups, in order, for one panel of the result.
template <class T>
void add_groups(const Batch<T>& batch, index_t depth, index_t panel, index_t width, const T* init, T* out) {
  copy_panel(init, out);
  for (index_t group = 0; group < panel_groups(depth); ++group) {
    const T* part = batch.room.partial.at(group, 0) + panel * kPanel;
    for (index_t c = 0; c < width; ++c) out[c] += part[c];
  }
}

// Calls product(first row, rows) for even blocks of the depth, at most so many rows and in whole panels: a short last one would cost a
// reading and a writing of all sums for little.
template <class Product>
void for_each_depth_block(index_t depth, index_t most, Product product) {
  const index_t blocks = (depth + most - 1) / most, step = panels((depth + blocks - 1) / blocks) * kPanel;
  for (index_t k0 = 0; k0 < depth; k0 += step) product(k0, std::min(step, depth - k0));
}

// Rows row .. row_end - 1 of one panel of out = bias + a w, or bias + a wᵀ with `transposed`; a bias that is null is what was there. w lies
// in panels [columns / 32][rows of w][32] and has w_rows rows. `scratch` takes a transposed block of kDepthBlock x 32 numbers. With `half`,
// `a` is bfloat16. `nonzero`, if it knows anything, is of all of a.
template <class T, class A>
void multiply_panel(const Kernels<T>& k, [[maybe_unused]] const BFloat16Kernels* half, const Panels<A>& a, index_t depth, const T* w,
                    index_t w_rows, bool transposed, const T* bias, const Panels<T>& out, index_t panel, index_t width, index_t row,
                    index_t row_end, T* scratch, const NonzeroBits& nonzero = {nullptr, 0}) {
  T* c = out.at(panel, row);
  for_each_depth_block(depth, k.depth_block, [&](index_t k0, index_t n) {
    const index_t rows = row_end - row, next = k0 + n < depth ? k0 + n : 0;
    const bool begins = k0 == 0 && bias != nullptr;
    const T* init = begins ? bias : c;
    const index_t init_step = begins ? 0 : kPanel;
    const T* block = transposed ? w + (k0 / kPanel * w_rows + panel * kPanel) * kPanel : w + (panel * w_rows + k0) * kPanel;
    // What is read next: the next block of this panel, or the first one of the next panel.
    const Ahead<T> ahead = transposed
                               ? Ahead<T>{w + (next / kPanel * w_rows + (next > 0 ? panel : panel + 1) * kPanel) * kPanel, w_rows * kPanel}
                               : Ahead<T>{block + n * kPanel, kPanel * kPanel};
    if constexpr (std::is_same_v<A, std::uint16_t>) {
      if (transposed) {
        half->pair_transposed(block, w_rows * kPanel, width, n, scratch);
      } else {
        half->pair_rows(block, n, scratch);
      }
      half->gemm(a.at(k0 / kPanel, row), a.step, scratch, rows, width, (n + 1) / 2, init, init_step, c, ahead);
    } else {
      if (transposed) {
        k.transpose(block, w_rows * kPanel, kPanel, width, n, scratch);
        block = scratch;
      }
      const NonzeroBits bits =
          nonzero.words == nullptr ? nonzero : NonzeroBits{nonzero.words + k0 / kPanel * nonzero.step + row, nonzero.step};
      k.gemm(a.at(k0 / kPanel, row), a.step, block, rows, width, n, init, init_step, c, ahead, bits);
    }
  });
}

// The same with weights that are pairs already, and of the panel alone. So deep a block of them is as large as one of float32.
inline void multiply_panel(const BFloat16Kernels& half, const Panels<std::uint16_t>& a, index_t depth, const float* pairs,
                           const float* bias, const Panels<float>& out, index_t panel, index_t width, index_t row, index_t row_end) {
  float* c = out.at(panel, row);
  for_each_depth_block(depth, 2 * kDepthBlock, [&](index_t k0, index_t n) {
    half.gemm(a.at(k0 / kPanel, row), a.step, pairs + k0 / 2 * kPanel, row_end - row, width, (n + 1) / 2, k0 == 0 ? bias : c,
              k0 == 0 ? 0 : kPanel, c, {nullptr, 0});
  });
}

// Rows of one panel of out = init + a * w, with layer l's weights as they are stored, or transposed. Without init: of what was there and
// the product. The depth's panels `part` alone are multiplied.
template <class T>
void product_with_weights(Team& team, const Batch<T>& batch, int l, bool transposed, const Panels<T>& a, index_t depth, Range part,
                          const Panels<T>& out, index_t panel, index_t width, index_t row, index_t row_end, const T* init) {
  const LayerSpec& owner = batch.network.layer(batch.network.owns_weights(l) ? l : batch.network.layer(l).tied_to);
  const index_t n = std::min(depth, part.end * kPanel) - part.begin * kPanel;
  const T* w = batch.network.data() + batch.network.window(l).weights + part.begin * kPanel * (transposed ? owner.n_in : kPanel);
  T* scratch = batch.room.scratch(team.rank());
  if constexpr (std::is_same_v<T, float>) {
    const Panels<std::uint16_t> rounded{batch.room.rounded.at(part.begin, 0), batch.room.rounded.step};
    if (batch.weights != nullptr) {  // in predictions, whose depth is never in parts
      return multiply_panel(*batch.half, rounded, n, batch.weights->panel(l, panel), init, out, panel, width, row, row_end);
    }
    if (batch.half != nullptr) {
      return multiply_panel(batch.k, batch.half, rounded, n, w, owner.n_in, transposed, init, out, panel, width, row, row_end, scratch);
    }
  }
  multiply_panel(batch.k, nullptr, Panels<T>{a.at(part.begin, 0), a.step}, n, w, owner.n_in, transposed, init, out, panel, width, row,
                 row_end, scratch, batch.nonzero(l, batch.skips.forward, 0));
}
inline Range whole(index_t depth) { return {0, panels(depth)}; }

inline constexpr index_t kLook = 32;  // steps until it is measured again how far the cores are from each other

// Whether transposed weights are multiplied in turn, each by the thread that has learned it: where cores are far from each other, so that
// reading what another has written takes long. A panel of the result then goes through all threads, one behind the other, which lengthen
// its chains by their parts of the depth, so that the bits are the same. Not worth it where these panels are as much as the weights that
// need not be read, or so few that the last thread waits long for the first of them.
inline bool in_turn(const Team& team, bool far, index_t rows, index_t depth, index_t features) {
  constexpr index_t kLeast = 4;  // a thread
  return far && rows > 1 && 2 * rows < depth && std::min(panels(depth), panels(features)) >= kLeast * team.size();
}

// lengthen(panel, part of the depth's panels, first) by each thread, one after another, for each panel of the result, with `first` where
// the chains begin; then finish(panel) by the last.
template <class Lengthen, class Finish>
void transposed_in_turn(Team& team, index_t depth, index_t features, Lengthen lengthen, Finish finish) {
  const index_t deep = panels(depth), size = team.size(), rank = team.rank();
  for (index_t panel = 0; panel < panels(features); ++panel) {
    // Where the depth cannot be divided evenly, each thread has a panel of it more now and then.
    const Range part{(deep * rank + panel % size) / size, (deep * (rank + 1) + panel % size) / size};
    team.await_piece();
    lengthen(panel, part, rank == 0);
    if (rank + 1 == size) finish(panel);
    team.hand_on();
  }
}

}  // namespace layerwise
