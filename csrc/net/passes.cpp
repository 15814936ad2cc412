#include "net/passes.h"

#include <algorithm>

#include "kernels/catalog.h"
#include "net/bfloat16.h"
#include "net/normalization.h"
#include "net/penalties.h"
#include "net/products.h"

namespace layerwise {
namespace {

template <class T, class Piece>
void for_each_piece(Team& team, const Batch<T>& batch, index_t n_panels, Piece piece) {
  if (!batch.by_rows) return share_pieces(team, batch.k.tile_rows, batch.rows, n_panels, piece);
  const Range rows = team.share(batch.rows);
  for (index_t panel = 0; panel < n_panels && rows.begin < rows.end; ++panel) piece(panel, rows.begin, rows.end);
}

// `count` panels from the first of out = init + x * w, for a single row.
template <class T>
void row_times_weights(const Batch<T>& batch, int l, const Panels<T>& x, index_t first, index_t count, const T* init,
                       const Panels<T>& out) {
  const index_t n_in = batch.network.layer(l).n_in;
  if constexpr (std::is_same_v<T, float>) {
    if (batch.weights != nullptr) {
      const Panels<std::uint16_t>& rounded = batch.room.rounded;
      return batch.half->gemv(rounded.at(0, 0), rounded.step, batch.weights->panel(l, first), batch.weights->panel_step(l), count,
                              pairs_of(n_in), init, out.at(first, 0), out.step);
    }
  }
  const T* w = batch.network.data() + batch.network.window(l).weights + first * n_in * kPanel;
  batch.k.gemv(x.at(0, 0), x.step, w, n_in * kPanel, count, n_in, init, out.at(first, 0), out.step);
}

template <class T>
T keep_scale(const Batch<T>& batch, int l) {
  return static_cast<T>(1 / (1 - batch.recipe->dropout[at(l)]));
}

// What dropout has kept of the rows of a panel, from row `row` on.
template <class T>
std::uint32_t* kept_of(const Batch<T>& batch, int l, index_t panel, index_t row) {
  return batch.room.layers[at(l)].kept.data() + panel * batch.room.rows + row;
}

template <class T>
void drop_out(const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const auto threshold = static_cast<std::uint64_t>(batch.recipe->dropout[at(l)] * 4294967296.0);
  for (index_t r = row; r < row_end; ++r) {
    const auto group = static_cast<std::uint64_t>(batch.random_id(r) * panels(batch.network.layer(l).n_out) + panel);
    const RandomPlace place{batch.recipe->seed, group, batch.step, kDropoutStream + static_cast<std::uint32_t>(l)};
    *kept_of(batch, l, panel, r) =
        batch.k.dropout(room.value.at(panel, r), room.output.at(panel, r), place, threshold, keep_scale(batch, l));
  }
}

template <class T>
bool skips_activation(const Batch<T>& batch, int l) {
  return l == batch.last - 1 && batch.logits;
}

// g (in delta) becomes the delta of layer l: times the slope of its activation.
template <class T>
void slope_of_piece(const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const LayerSpec& spec = batch.network.layer(l);
  T* by_parameter = room.by_parameter.data == nullptr ? nullptr : room.by_parameter.at(panel, row);
  batch.k.slope[static_cast<int>(spec.activation)](room.z.at(panel, row), room.value.at(panel, row), room.delta.at(panel, row),
                                                   (row_end - row) * kPanel,
                                                   batch.network.data() + batch.network.window(l).parameter + panel * kPanel, by_parameter);
}

template <class T>
void softmax_slope_of_rows(const Batch<T>& batch, int l, Range rows) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  batch.k.softmax_slope(room.value.at(0, rows.begin), room.value.step, room.delta.at(0, rows.begin), room.delta.step, rows.end - rows.begin,
                        batch.network.layer(l).n_out);
}

}  // namespace

template <class T>
bool shares_rows(const Network<T>& network, const Recipe* recipe, index_t rows, int threads) {
  constexpr index_t kSecondLevel = index_t{512} << 10;  // bytes of weights that each core can keep
  constexpr index_t kRows = 8;                          // a thread: fewer would leave the register tile empty
  return rows >= kRows * threads && network.size() * static_cast<index_t>(sizeof(T)) <= kSecondLevel &&
         (recipe == nullptr || !(recipe->penalties.of_activations() || network.normalizes()));
}

template <class T>
void gather(Team& team, const Batch<T>& batch, const Data<T>& data) {
  const Given<T>& given = batch.given();
  const auto copy_row = [](const T* row, index_t features, const Panels<T>& out, index_t r) {
    index_t p = 0;
    for (; (p + 1) * kPanel <= features; ++p) copy_panel(row + p * kPanel, out.at(p, r));
    if (p * kPanel < features) std::copy(row + p * kPanel, row + features, out.at(p, r));  // the padding is 0 from the start
  };
  const index_t n_in = batch.network.layer(batch.first).n_in, n_out = batch.network.outputs();
  const Range rows = team.share(batch.rows);
  for (index_t r = rows.begin; r < rows.end; ++r) {
    const index_t id = batch.id(r);
    copy_row(data.x + id * n_in, n_in, given.input, r);
    if (batch.recipe == nullptr) continue;
    if (!batch.input_is_target) {
      if (data.y != nullptr) {
        copy_row(data.y + id * n_out, n_out, given.target, r);
      } else {
        copy_row(data.x + id * n_in, n_in, given.target, r);
      }
    }
    if (batch.corruption != nullptr)
      batch.corruption->apply(batch.k, given.input, r, given.cell_weights, data, batch.random_id(r), batch.step);
  }
  NonzeroRoom& nonzero = batch.room.nonzero[batch.side];
  for (index_t r = rows.begin; r < rows.end && batch.knows_zeros(); ++r)
    batch.k.nonzero_bits(given.input.at(0, r), given.input.step, n_in, nonzero.at(0, r), nonzero.step);
}

template <class T>
void fetch(Team& team, const Batch<T>& batch, const Data<T>& data) {
  constexpr index_t kFew = index_t{16} << 10;  // bytes
  const index_t n_in = batch.network.layer(batch.first).n_in, n_out = data.y != nullptr ? batch.network.outputs() : 0;
  const Range rows = team.share(batch.rows);
  if ((rows.end - rows.begin) * (n_in + n_out) * static_cast<index_t>(sizeof(T)) > kFew) return;
  // Every line that the row touches, into the second-level cache: into the first, of so many at once most would be dropped.
  const auto fetch_row = [](const T* row, index_t features) {
    constexpr index_t kLine = 64 / static_cast<index_t>(sizeof(T));
    for (index_t i = 0; i < features; i += kLine) __builtin_prefetch(row + i, 0, 2);
    __builtin_prefetch(row + features - 1, 0, 2);
  };
  for (index_t r = rows.begin; r < rows.end; ++r) {
    fetch_row(data.x + batch.id(r) * n_in, n_in);
    if (data.y != nullptr) fetch_row(data.y + batch.id(r) * n_out, n_out);
  }
}

template <class T>
void forward(Team& team, const Batch<T>& batch) {
  for (int l = batch.first; l < batch.last; ++l) {
    const LayerSpec& spec = batch.network.layer(l);
    const LayerRoom<T>& room = batch.room.layers[at(l)];
    const T* numbers = batch.network.data();
    const Window& window = batch.network.window(l);
    const bool by_row = spec.activation == Activation::softmax;
    const bool activates = !skips_activation(batch, l);
    // The shift of a normalised layer comes after its product has been normalised.
    const Panels<T>& sums = spec.normalized ? room.normal : room.z;
    const auto start = [&](index_t panel) { return spec.normalized ? kZeros<T> : numbers + window.bias + panel * kPanel; };
    const auto epilogue = [&](index_t panel, index_t row, index_t row_end) {
      if (spec.normalized) normalize_piece(batch, l, panel, row, row_end);
      if (activates && !by_row) {
        batch.k.value[static_cast<int>(spec.activation)](room.z.at(panel, row), room.value.at(panel, row), (row_end - row) * kPanel,
                                                         numbers + window.parameter + panel * kPanel);
      }
      if (drops_out(batch, l) && !by_row) drop_out(batch, l, panel, row, row_end);
    };
    const Panels<T>& x = input_of(batch, l);
    round_operand(team, batch, x, spec.n_in);
    if (batch.rows == 1 && (batch.network.owns_weights(l) || batch.weights != nullptr)) {
      share_groups(team, spec.n_out, [&](index_t first, index_t n) {
        if (l > batch.first || !batch.begun) row_times_weights(batch, l, x, first, n, start(first), sums);
        for (index_t panel = first; panel < first + n; ++panel) epilogue(panel, 0, 1);
      });
    } else if (batch.rows == 1 && batch.train) {
      multiply_row_transposed(team, batch, batch.network.layer(spec.tied_to), numbers + window.weights, x);
      const Range share = team.share(panels(spec.n_out));
      for (index_t panel = share.begin; panel < share.end; ++panel) {
        add_groups(batch, spec.n_in, panel, width_of(spec.n_out, panel), start(panel), sums.at(panel, 0));
        epilogue(panel, 0, 1);
      }
    } else {
      const bool transposed = !batch.network.owns_weights(l), takes_moments = spec.normalized && by_own_rows(batch, l);
      const auto product = [&](index_t panel, index_t row, index_t row_end) {
        product_with_weights(team, batch, l, transposed, x, spec.n_in, whole(spec.n_in), sums, panel, width_of(spec.n_out, panel), row,
                             row_end, start(panel));
      };
      const auto finish = [&](index_t panel) {
        if (takes_moments) take_moments(batch, l, panel);
        epilogue(panel, 0, batch.rows);
      };
      if (transposed && in_turn(team, batch.far && !batch.by_rows, batch.rows, spec.n_in, spec.n_out)) {
        const auto lengthen = [&](index_t panel, Range part, bool begins) {
          product_with_weights(team, batch, l, true, x, spec.n_in, part, sums, panel, width_of(spec.n_out, panel), 0, batch.rows,
                               begins ? start(panel) : nullptr);
        };
        transposed_in_turn(team, spec.n_in, spec.n_out, lengthen, finish);
      } else if (takes_moments) {
        share_panels(team, batch.k.tile_rows, batch.rows, panels(spec.n_out), product, finish);
      } else {
        for_each_piece(team, batch, panels(spec.n_out), [&](index_t panel, index_t row, index_t row_end) {
          product(panel, row, row_end);
          epilogue(panel, row, row_end);
        });
      }
    }
    meet(team, batch);
    if (!spec.groups.empty() && activates) {
      const Range rows = team.share(batch.rows);
      batch.k.mixed(room.value.at(0, rows.begin), room.value.step, rows.end - rows.begin, spec.groups.data(),
                    static_cast<index_t>(spec.groups.size()));
      meet(team, batch);
    }
    if (by_row && activates) {
      const Range rows = team.share(batch.rows);
      batch.k.softmax(room.z.at(0, rows.begin), room.z.step, room.value.at(0, rows.begin), room.value.step, rows.end - rows.begin,
                      spec.n_out);
      meet(team, batch);
      if (drops_out(batch, l)) {
        for_each_piece(team, batch, panels(spec.n_out),
                       [&](index_t panel, index_t row, index_t row_end) { drop_out(batch, l, panel, row, row_end); });
        meet(team, batch);
      }
    }
  }
}

template <class T>
void loss(Team& team, const Batch<T>& batch) {
  const int l = batch.last - 1;
  const LayerSpec& spec = batch.network.layer(l);
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const bool in_logits = loss_is_in_logits(*batch.recipe);
  const Panels<T>& p = in_logits ? room.z : room.value;
  const Panels<T>& t = batch.input_is_target ? batch.given().input : batch.given().target;
  const Range rows = team.share(batch.rows);
  const index_t n = rows.end - rows.begin;
  if (n > 0) {
    T* delta = batch.train ? room.delta.at(0, rows.begin) : nullptr;
    const Panels<T>& cells = batch.given().cell_weights;
    const T* weights = batch.corruption == nullptr || cells.data == nullptr ? nullptr : cells.at(0, rows.begin);
    std::fill_n(batch.room.row_loss.data() + rows.begin, n, 0.0);
    const auto run = [&](auto kernel, auto... groups) {
      kernel(p.at(0, rows.begin), p.step, t.at(0, rows.begin), t.step, delta, room.delta.step, n, spec.n_out,
             batch.room.row_scale.data() + rows.begin, batch.room.row_loss.data() + rows.begin, batch.recipe->missing_targets, weights,
             cells.step, groups...);
    };
    if (spec.groups.empty()) {
      run(batch.k.loss[static_cast<int>(batch.recipe->loss)]);
    } else {
      run(batch.k.mixed_loss, spec.groups.data(), static_cast<index_t>(spec.groups.size()));
    }
    if (batch.train && !in_logits) {
      if (spec.activation == Activation::softmax) {
        softmax_slope_of_rows(batch, l, rows);
      } else {
        for (index_t panel = 0; panel < panels(spec.n_out); ++panel) slope_of_piece(batch, l, panel, rows.begin, rows.end);
      }
    }
  }
  meet(team, batch);
}

template <class T>
double weighted_loss(const Batch<T>& batch, const Data<T>& data) {
  double sum = 0;
  for (index_t r = 0; r < batch.rows; ++r) {
    // A row of weight 0 counts nothing, even where its loss is infinite.
    const double weight = weight_of(data, batch.id(r));
    if (weight != 0) sum += weight * batch.room.row_loss[static_cast<std::size_t>(r)];
  }
  return sum;
}

template <class T>
int lowest_learning(const Network<T>& network, const Recipe& recipe) {
  int l = 0;
  while (l < network.depth() && is_frozen(recipe, l)) ++l;
  return l;
}

template <class T>
void finish_delta(Team& team, const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end) {
  const LayerRoom<T>& room = batch.room.layers[at(l)];
  const bool penalised = batch.recipe->penalties.of_activations();
  if (drops_out(batch, l)) {
    batch.k.dropout_slope(kept_of(batch, l, panel, row), keep_scale(batch, l), row_end - row, room.delta.at(panel, row));
  }
  if (penalised) add_to_activation_delta(batch, l, panel, row, row_end);
  if (batch.network.layer(l).activation != Activation::softmax) slope_of_piece(batch, l, panel, row, row_end);
  if (penalised) add_to_sum_delta(team, batch, l, panel, row, row_end);
}

template <class T>
void finish_panel_delta(const Batch<T>& batch, int l, index_t panel) {
  const LayerSpec& spec = batch.network.layer(l);
  if (spec.normalized && spec.activation != Activation::softmax) normalize_delta(batch, l, panel);
}

template <class T>
void finish_softmax_delta(Team& team, const Batch<T>& batch, int l) {
  const LayerSpec& spec = batch.network.layer(l);
  if (spec.activation != Activation::softmax) return;
  softmax_slope_of_rows(batch, l, team.share(batch.rows));
  meet(team, batch);
  if (!spec.normalized) return;
  const Range share = team.share(panels(spec.n_out));
  for (index_t panel = share.begin; panel < share.end; ++panel) normalize_delta(batch, l, panel);
  team.barrier();
}

template <class T>
void input_gradient(Team& team, const Batch<T>& batch, int l) {
  const index_t n_in = batch.network.layer(l).n_in, n_out = batch.network.layer(l).n_out;
  const Panels<T>&delta = batch.room.layers[at(l)].delta, &out = batch.room.layers[at(l - 1)].delta;
  round_operand(team, batch, delta, n_out);
  const bool transposed = batch.network.owns_weights(l);
  const auto piece = [&](index_t panel, index_t row, index_t row_end) {
    product_with_weights(team, batch, l, transposed, delta, n_out, whole(n_out), out, panel, width_of(n_in, panel), row, row_end,
                         kZeros<T>);
    finish_delta(team, batch, l - 1, panel, row, row_end);
  };
  const auto finish_panel = [&](index_t panel) { finish_panel_delta(batch, l - 1, panel); };
  if (transposed && in_turn(team, batch.far && !batch.by_rows, batch.rows, n_out, n_in)) {
    const auto lengthen = [&](index_t panel, Range part, bool begins) {
      product_with_weights(team, batch, l, true, delta, n_out, part, out, panel, width_of(n_in, panel), 0, batch.rows,
                           begins ? kZeros<T> : nullptr);
    };
    transposed_in_turn(team, n_out, n_in, lengthen, [&](index_t panel) {
      finish_delta(team, batch, l - 1, panel, 0, batch.rows);
      finish_panel(panel);
    });
  } else if (batch.network.layer(l - 1).normalized) {
    share_panels(team, batch.k.tile_rows, batch.rows, panels(n_in), piece, finish_panel);
  } else {
    for_each_piece(team, batch, panels(n_in), piece);
  }
  meet(team, batch);
  finish_softmax_delta(team, batch, l - 1);
}

template <class T>
void backward(Team& team, const Batch<T>& batch) {
  for (int l = batch.last - 1; l > lowest_learning(batch.network, *batch.recipe); --l) input_gradient(team, batch, l);
}

#define LAYERWISE_INSTANTIATE(T)                                                         \
  template void finish_delta<T>(Team&, const Batch<T>&, int, index_t, index_t, index_t); \
  template void finish_panel_delta<T>(const Batch<T>&, int, index_t);                    \
  template void finish_softmax_delta<T>(Team&, const Batch<T>&, int);                    \
  template void input_gradient<T>(Team&, const Batch<T>&, int);                          \
  template bool shares_rows<T>(const Network<T>&, const Recipe*, index_t, int);          \
  template void gather<T>(Team&, const Batch<T>&, const Data<T>&);                       \
  template void fetch<T>(Team&, const Batch<T>&, const Data<T>&);                        \
  template void forward<T>(Team&, const Batch<T>&);                                      \
  template void loss<T>(Team&, const Batch<T>&);                                         \
  template double weighted_loss<T>(const Batch<T>&, const Data<T>&);                     \
  template void backward<T>(Team&, const Batch<T>&);                                     \
  template int lowest_learning<T>(const Network<T>&, const Recipe&);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
