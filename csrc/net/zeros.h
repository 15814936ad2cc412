// Inputs that are mostly 0, as pictures, counts of words and categories are: products of the first layer leave most of the zeros out.
#pragma once

#include <vector>

#include "kernels/dispatch.h"
#include "net/data.h"

namespace layerwise {

// The NonzeroBits of a matrix in panels, row by row as they are found.
struct NonzeroRoom {
  NonzeroRoom() = default;
  NonzeroRoom(index_t features, index_t rows)
      : step(panels(rows) * kPanel + kPanel), words(static_cast<std::size_t>(panels(features) * step)) {}

  std::uint32_t* at(index_t panel, index_t row) { return words.data() + panel * step + row; }
  NonzeroBits bits(index_t panel = 0) const { return {words.data() + panel * step, step}; }
  // Finds those of rows row .. row_end - 1 of one panel, whose first `width` columns count.
  template <class T>
  void find(const Panels<T>& x, index_t panel, index_t width, index_t row, index_t row_end) {
    for (index_t r = row; r < row_end; ++r) kernels<T>().nonzero_bits(x.at(panel, r), 0, width, at(panel, r), 0);
  }

  index_t step = 0;
  std::vector<std::uint32_t> words;
};

// Which products of a layer leave zeros of its input out.
struct ZeroSkips {
  bool forward = false;   // the forward product: features that are 0 in neighbouring rows
  bool gradient = false;  // the weight gradient: rows in which neighbouring features are 0
  bool any() const { return forward || gradient; }
};

// Those that are worth it, by a sample of rows, for a layer with so many inputs and outputs.
template <class T>
ZeroSkips zero_skips(const Data<T>& data, index_t n_in, index_t n_out);

}  // namespace layerwise
