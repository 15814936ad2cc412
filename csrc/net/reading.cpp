#include "net/reading.h"

#include <algorithm>
#include <atomic>
#include <numeric>
#include <vector>

#include "kernels/dispatch.h"
#include "net/plan_checks.h"
#include "net/zeros.h"

namespace layerwise {
namespace {

constexpr index_t kReadRows = 256;  // of a block, at most
// A thread: with so many, reading all weights costs it less than waiting for the others after each layer.
constexpr index_t kOwnRows = 64;

// Of a block that a thread takes for itself, at most: all together have 1,024, unless there are more than 32 threads.
constexpr index_t own_rows(index_t threads) { return std::clamp(index_t{1024} / threads, index_t{32}, kReadRows); }

// One block of rows, from the data to `out`.
template <class T>
void apply_block(Team& team, const Batch<T>& batch, const Data<T>& data, T* out) {
  gather(team, batch, data);
  meet(team, batch);
  forward(team, batch);
  const index_t n_out = batch.network.layer(batch.last - 1).n_out;
  const Panels<T>& result = batch.room.layers[at(batch.last - 1)].value;
  const Range share = team.share(batch.rows);
  for (index_t r = share.begin; r < share.end; ++r) {
    for (index_t p = 0; p < panels(n_out); ++p) {
      std::copy_n(result.at(p, r), width_of(n_out, p), out + (batch.first_row + r) * n_out + p * kPanel);
    }
  }
  team.barrier();
}

}  // namespace

template <class T>
void apply(const Network<T>& network, const RoundedWeights* weights, const T* x, index_t rows, int first, int last, bool logits, int asked,
           T* out) {
  if (rows == 0) return;
  const double work = multiply_adds(network, first, last) * static_cast<double>(rows);
  const double least = shares_rows(network, nullptr, rows, 2) ? kLeastWorkByRows : kLeastWork;
  const int threads = threads_for(work, asked, team_is_awake() ? least : kLeastWorkAsleep);
  // Each thread takes the next block of rows, alone: where another program has its core, the others go on. Or all share each layer.
  const bool alone = threads == 1 || rows >= kOwnRows * threads || shares_rows(network, nullptr, rows, threads);
  const index_t at_once = alone ? threads : 1, most = alone ? own_rows(threads) : kReadRows;
  // Even blocks: a last one of a single row would take another way.
  const index_t blocks = ((rows + most - 1) / most + at_once - 1) / at_once * at_once;
  std::vector<Workspace<T>> rooms;
  for (index_t i = 0; i < at_once; ++i) {
    rooms.emplace_back(network, nullptr, (rows + blocks - 1) / blocks, alone ? 1 : threads, first, last);
    if (weights != nullptr) rooms.back().reserve_rounded(network, first, last);
  }
  const Data<T> data{x, nullptr, nullptr, rows};
  const LayerSpec& lowest = network.layer(first);
  const ZeroSkips skips = weights == nullptr ? zero_skips(data, lowest.n_in, lowest.n_out) : ZeroSkips{};
  std::atomic<index_t> taken{0};
  const auto work_through = [&](Team& team, Workspace<T>& room, auto next_block) {
    Batch<T> batch{kernels<T>(), network, room, nullptr};
    batch.weights = weights;
    batch.half = weights == nullptr ? nullptr : &weights->kernels();
    batch.first = first;
    batch.last = last;
    batch.logits = logits;
    batch.skips = skips;
    for (index_t i = next_block(); i < blocks; i = next_block()) {
      batch.first_row = rows * i / blocks;
      batch.rows = rows * (i + 1) / blocks - batch.first_row;
      apply_block(team, batch, data, out);
    }
  };
  parallel(threads, [&](Team& team) {
    if (alone) {
      Team one;
      work_through(one, rooms[static_cast<std::size_t>(team.rank())], [&] { return taken.fetch_add(1); });
    } else {
      work_through(team, rooms[0], [i = index_t{0}]() mutable { return i++; });
    }
  });
}

template <class T>
double evaluate(const Network<T>& network, const Recipe& recipe, const Data<T>& data) {
  check_recipe(network, recipe);
  const index_t block = std::min(data.rows, kReadRows);
  const int threads = threads_for(multiply_adds(network, 0, network.depth()) * static_cast<double>(block), recipe.threads);
  Workspace<T> room(network, &recipe, block, threads, 0, network.depth());
  const ZeroSkips skips = zero_skips(data, network.inputs(), network.layer(0).n_out);
  double sum = 0, total = static_cast<double>(data.rows);
  if (data.weights != nullptr) total = std::accumulate(data.weights, data.weights + data.rows, 0.0);
  parallel(threads, [&](Team& team) {
    Batch<T> batch{kernels<T>(), network, room, &recipe};
    batch.last = network.depth();
    batch.logits = loss_is_in_logits(recipe);
    batch.input_is_target = data.y == nullptr;
    batch.skips = skips;
    for (index_t row = 0; row < data.rows; row += block) {
      batch.first_row = row;
      batch.rows = std::min(block, data.rows - row);
      batch.by_rows = shares_rows(network, &recipe, batch.rows, team.size());
      gather(team, batch, data);
      meet(team, batch);
      forward(team, batch);
      loss(team, batch);
      if (batch.by_rows) team.barrier();
      if (team.leads()) sum += weighted_loss(batch, data);
      team.barrier();
    }
  });
  return total > 0 ? sum / total : 0;
}

#define LAYERWISE_INSTANTIATE(T)                                                                                \
  template void apply<T>(const Network<T>&, const RoundedWeights*, const T*, index_t, int, int, bool, int, T*); \
  template double evaluate<T>(const Network<T>&, const Recipe&, const Data<T>&);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
