// One batch through the network: gather, forward, loss, backward. Each function is a phase (or a few with
// barriers between) that every thread of the team runs; a thread works on whole panels and rows, never on a part of a sum.
#pragma once

#include <algorithm>

#include "base/parallel.h"
#include "net/corruption.h"
#include "net/rounded_weights.h"
#include "net/workspace.h"

namespace layerwise {

// What the phases of one batch share.
template <class T>
struct Batch {
  const Kernels<T>& k;
  const Network<T>& network;
  Workspace<T>& room;
  const Recipe* recipe;  // null: forward only
  index_t rows = 0;
  const index_t* ids = nullptr;  // positions of the rows in the data; null: first_row, first_row + 1, ...
  index_t first_row = 0;
  std::uint32_t step = 0;   // for noise and dropout
  bool train = false;       // noise and dropout on
  int first = 0, last = 0;  // layers first .. last - 1
  bool logits = false;      // leave out the very last activation
  bool input_is_target = false;
  const Corruption<T>* corruption = nullptr;  // null: the input stays clean
  const BFloat16Kernels* half = nullptr;      // not null: the products of this batch are made in bfloat16
  const RoundedWeights* weights = nullptr;    // not null: what those products read
  bool by_rows = false;                       // each thread takes rows of its own through all layers, without meeting the others
  bool far = false;                           // the team's cores are: see `in_turn`
  ZeroSkips skips = {};                       // of the first layer, but for a single row
  bool own_statistics = false;                // normalised layers that learn take the statistics of these rows, not the running ones

  const index_t* whole = nullptr;  // Data::ids
  int side = 0;                    // of Workspace::given
  bool begun = false;              // the first layer's sums are there already: see `begins_next`

  const Given<T>& given() const { return room.given[side]; }
  bool knows_zeros() const { return skips.any() && rows > 1; }
  // What layer l's product that skips zeros, if it does, knows of its input from a panel on.
  NonzeroBits nonzero(int l, bool skips_zeros, index_t panel) const {
    return knows_zeros() && skips_zeros && l == first ? room.nonzero[side].bits(panel) : NonzeroBits{};
  }
  index_t id(index_t row) const { return ids != nullptr ? ids[row] : first_row + row; }
  // The row's position in the whole data set: what its random numbers depend on.
  index_t random_id(index_t row) const { return whole != nullptr ? whole[id(row)] : id(row); }
};

constexpr std::size_t at(int l) { return static_cast<std::size_t>(l); }
constexpr index_t width_of(index_t features, index_t panel) { return std::min(kPanel, features - panel * kPanel); }
inline bool is_frozen(const Recipe& recipe, int l) { return !recipe.frozen.empty() && recipe.frozen[at(l)]; }

template <class T>
alignas(64) inline constexpr T kZeros[kGroupPanels * kPanel] = {};

template <class T>
bool drops_out(const Batch<T>& batch, int l) {
  return batch.train && !batch.room.layers[at(l)].kept.empty();
}

// What layer l reads.
template <class T>
const Panels<T>& input_of(const Batch<T>& batch, int l) {
  if (l == batch.first) return batch.given().input;
  const LayerRoom<T>& below = batch.room.layers[at(l - 1)];
  return drops_out(batch, l - 1) ? below.output : below.value;
}

// How the team may share a batch: small networks by rows (learning: where there are enough of them, see plan.cpp), so that nothing travels
// between cores from gather to the end of backward; large ones by the panels of each layer, so that each core reads a part of the weights.
// The bits are the same.
template <class T>
bool shares_rows(const Network<T>& network, const Recipe* recipe, index_t rows, int threads);
// Between two phases, of which the later reads what other threads have written in the earlier, unless each keeps to its rows.
template <class T>
void meet(Team& team, const Batch<T>& batch) {
  if (!batch.by_rows) team.barrier();
}

template <class T>
void gather(Team& team, const Batch<T>& batch, const Data<T>& data);
// Asks for the rows that a thread will gather later, where they are few enough to wait in its second-level cache beside a step's work.
template <class T>
void fetch(Team& team, const Batch<T>& batch, const Data<T>& data);
template <class T>
void forward(Team& team, const Batch<T>& batch);
// Fills row_loss and the output layer's delta (with `train`) from row_scale.
template <class T>
void loss(Team& team, const Batch<T>& batch);
// The sum of the rows' losses times their weights.
template <class T>
double weighted_loss(const Batch<T>& batch, const Data<T>& data);
// Deltas of every layer from the output down to the lowest one that learns.
template <class T>
void backward(Team& team, const Batch<T>& batch);
// Its parts: the derivative by layer l's input, made the delta of layer l - 1 piece by piece (from what the product left there), where that
// layer is normalised once more when all rows of a panel are there, and where its slope takes whole rows, after all pieces.
template <class T>
void input_gradient(Team& team, const Batch<T>& batch, int l);
template <class T>
void finish_delta(Team& team, const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end);
template <class T>
void finish_panel_delta(const Batch<T>& batch, int l, index_t panel);
template <class T>
void finish_softmax_delta(Team& team, const Batch<T>& batch, int l);

// The lowest layer with anything to learn.
template <class T>
int lowest_learning(const Network<T>& network, const Recipe& recipe);

}  // namespace layerwise
