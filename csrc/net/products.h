// Products of panels, and how a team divides them.
#pragma once

#include <algorithm>

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

// With a single row: calls piece(first panel, panels) for a thread's groups: the same for each phase, so that a core meets its own part of
// the weights again.
template <class Piece>
void share_groups(Team& team, index_t features, Piece piece) {
  const Range share = team.share(panel_groups(features));
  for (index_t g = share.begin; g < share.end; ++g) piece(g * kGroupPanels, std::min(kGroupPanels, panels(features) - g * kGroupPanels));
}

// Rows row .. row_end - 1 of one panel of out = bias + a w, or bias + a wᵀ with `transposed`: w lies in panels [columns / 32][rows of
// w][32] and has w_rows rows. `scratch` takes a transposed block of kDepthBlock x 32 numbers.
template <class T>
void multiply_panel(const Kernels<T>& k, const Panels<T>& a, index_t depth, const T* w, index_t w_rows, bool transposed, const T* bias,
                    const Panels<T>& out, index_t panel, index_t width, index_t row, index_t row_end, T* scratch) {
  T* c = out.at(panel, row);
  // Even blocks of whole panels: a short last one would cost a reading and a writing of all sums for little.
  const index_t blocks = (depth + kDepthBlock - 1) / kDepthBlock, step = panels((depth + blocks - 1) / blocks) * kPanel;
  for (index_t k0 = 0; k0 < depth; k0 += step) {
    const index_t n = std::min(step, depth - k0);
    const T* block = w + (panel * w_rows + k0) * kPanel;
    Ahead<T> ahead{block + n * kPanel, kPanel * kPanel};
    if (transposed) {
      const index_t next = k0 + n < depth ? (k0 + n) / kPanel * w_rows + panel * kPanel : (panel + 1) * kPanel;
      ahead = {w + next * kPanel, w_rows * kPanel};
      k.transpose(w + (k0 / kPanel * w_rows + panel * kPanel) * kPanel, w_rows * kPanel, width, n, scratch);
      block = scratch;
    }
    k.gemm(a.at(k0 / kPanel, row), a.step, block, row_end - row, width, n, k0 == 0 ? bias : c, k0 == 0 ? 0 : kPanel, c, ahead);
  }
}

}  // namespace layerwise
