#include "net/plan.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "kernels/catalog.h"
#include "kernels/dispatch.h"
#include "net/array_functions.h"
#include "net/penalties.h"
#include "net/products.h"
#include "net/single_row.h"
#include "net/streams.h"
#include "net/zeros.h"

namespace layerwise {
namespace {

constexpr double kPollSeconds = 0.02;
// Rows a thread, of those that share rows: with fewer, what would travel are rather the weights that the other threads have just learned.
constexpr index_t kLeastOwnRows = 40;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Weights of the rows of a block divided by the weight of the whole batch, which is returned.
template <class T>
void set_row_scale(Range rows, const Batch<T>& batch, const Data<T>& data, double total) {
  for (index_t r = rows.begin; r < rows.end; ++r) {
    batch.room.row_scale[static_cast<std::size_t>(r)] = static_cast<T>(total > 0 ? weight_of(data, batch.id(r)) / total : 0.0);
  }
}

// Whether at least two rows weigh anything, so that they have a variance.
template <class T>
bool have_variance(const Batch<T>& batch, const Data<T>& data) {
  index_t count = 0;
  for (index_t r = 0; r < batch.rows && count < 2; ++r) count += weight_of(data, batch.id(r)) > 0 ? 1 : 0;
  return count > 1;
}

}  // namespace

template <class T>
Plan<T>::Plan(Network<T>& network, const Recipe& recipe)
    : network_(network),
      recipe_((check_recipe(network, recipe), recipe)),
      threads_(threads_for(3 * multiply_adds(network, 0, network.depth()) * static_cast<double>(recipe.batch_size), recipe.threads,
                           shares_rows(network, &recipe, recipe.batch_size, 2) ? kLeastWorkByRows : kLeastWork)),
      pace_(threads_, recipe.threads == 0),
      corruption_(recipe.noise, recipe.seed, network.inputs()),
      // Statistics are those of a whole batch, which then takes no row blocks.
      whole_(network.normalizes() || recipe.batch_size <= kRowBlock),
      room_(network, &recipe_, whole_ ? recipe.batch_size : kRowBlock, threads_, 0, network.depth(), whole_) {
  if (has_first_moment(recipe.optimizer.kind)) first_ = Buffer<T>(network.size(), 3);
  if (has_second_moment(recipe.optimizer.kind)) second_ = Buffer<T>(network.size(), 4);
}

template <class T>
Batch<T> Plan<T>::batch_of(const Data<T>& data) {
  Batch<T> batch{kernels<T>(), network_, room_, &recipe_};
  batch.last = network_.depth();
  batch.logits = loss_is_in_logits(recipe_);
  batch.train = true;
  batch.corruption = corruption_.any() ? &corruption_ : nullptr;
  batch.input_is_target = data.y == nullptr && batch.corruption == nullptr;
  batch.whole = data.ids;
  batch.skips = skips_;
  return batch;
}

template <class T>
ZeroSkips Plan<T>::skips_for(const Data<T>& data) const {
  if (recipe_.bfloat16 || recipe_.batch_size == 1 || !corruption_.keeps_zeros()) return {};
  return zero_skips(data, network_.inputs(), network_.layer(0).n_out);
}

// Fisher and Yates, with the random words of (seed, epoch): the order depends on nothing else.
template <class T>
void Plan<T>::shuffle(index_t rows, index_t epoch) {
  if (shuffled_epoch_ == epoch) return;
  std::iota(order_.begin(), order_.end(), index_t{0});
  shuffled_epoch_ = epoch;
  if (!recipe_.shuffle || epoch == kPart) return;
  random_shuffle(recipe_.seed, static_cast<std::uint32_t>(epoch), kShuffleStream, order_.data(), rows);
}

template <class T>
Update<T> Plan<T>::update_at(index_t step, double rate, const double* momentum) {
  const double mu = momentum != nullptr ? *momentum : recipe_.optimizer.momentum;
  UpdateScalars<T> s = update_scalars<T>(recipe_.optimizer, step + 1, rate, mu, recipe_.alpha);
  const PenaltySpec& penalties = recipe_.penalties;
  // With clip_norm the shape is known when the gradient is: `complete`.
  if (penalties.clip_norm == 0 && (penalties.l1 != 0 || penalties.clip_value != 0)) {
    s.shape = {true, static_cast<T>(penalties.l1), std::exchange(s.l2, T{0})};
    if (penalties.clip_value != 0) s.shape.limit = static_cast<T>(penalties.clip_value);
  }
  return {recipe_.optimizer.kind, s, first_.data(), second_.data()};
}

template <class T>
void Plan<T>::ask(const Poll& poll) {
  if (now() - polled_ < kPollSeconds) return;
  interrupted_ = poll();
  polled_ = now();
}

// Every thread of the team runs this; the returned loss (a sum over rows, weighted) is thread 0's.
template <class T>
double Plan<T>::pass(Team& team, Batch<T>& batch, const Data<T>& data, Range rows, bool gathered, const Update<T>* update, Batch<T>* next,
                     const Poll& poll) {
  const index_t begin = rows.begin, end = rows.end;
  double total = static_cast<double>(end - begin), sum = 0;
  const index_t* ids = batch.ids;
  if (data.weights != nullptr) {
    total = 0;
    for (index_t r = begin; r < end; ++r) total += weight_of(data, ids != nullptr ? ids[r] : r);
  }
  const bool whole = update != nullptr && end - begin <= room_.rows;
  bool fused = whole && recipe_.penalties.clip_norm == 0;
  const bool several = end - begin > room_.rows, means_first = several && !recipe_.penalties.sparsity.empty();
  for (index_t row = begin; row < end && means_first; row += room_.rows) {
    enter(team, batch, data, {row, end}, false, ids, total);
    add_means(team, batch, row > begin);
  }
  for (index_t row = begin; row < end; row += room_.rows) {
    enter(team, batch, data, {row, end}, gathered, ids, total);
    if (recipe_.penalties.of_activations()) prepare_penalties(team, batch, row > begin, means_first);
    const bool begins = fused && next != nullptr && begins_next(batch, next->rows);
    if (begins) fetch(team, *next, data);
    loss(team, batch);
    if (begins) gather(team, *next, data);  // read by `learn`, after the barriers of the backward pass
    if (batch.rows == 1) {
      backward_single_row(team, batch, network_, fused ? update : nullptr);
    } else {
      backward(team, batch);
    }
    if (batch.by_rows) team.barrier();
    fused = fused || (whole && batch.rows > 1 && is_surely_short(team, batch));
    if (team.leads()) {
      sum += weighted_loss(batch, data);
      if (update == nullptr) penalty_ += activation_penalty(batch);
      ask(poll);
    }
    if (next != nullptr && !begins) fetch(team, *next, data);
    learn(team, batch, network_, update, fused ? nullptr : gradient_.data(), row > begin, row + batch.rows >= end, begins ? next : nullptr);
    if (next != nullptr && !begins) gather(team, *next, data);
    if (begins) next->begun = true;
    if (!several && fused) break;
    team.barrier();
    if (interrupted_ && row + batch.rows < end) {
      if (team.leads()) given_up_ = true;
      return sum;
    }
  }
  batch.ids = ids;
  if (!fused) complete(team, batch, update);
  return sum;
}

template <class T>
void Plan<T>::enter(Team& team, Batch<T>& batch, const Data<T>& data, Range rows, bool gathered, const index_t* ids, double total) {
  batch.rows = std::min(room_.rows, rows.end - rows.begin);
  batch.ids = ids != nullptr ? ids + rows.begin : nullptr;
  batch.first_row = rows.begin;
  batch.half = recipe_.bfloat16 && batch.rows > 1 ? bfloat16_kernels() : nullptr;
  batch.by_rows =
      batch.half == nullptr && batch.rows >= kLeastOwnRows * team.size() && shares_rows(network_, &recipe_, batch.rows, team.size());
  batch.own_statistics = network_.normalizes() && have_variance(batch, data);
  set_row_scale(team.share(batch.rows), batch, data, total);
  if (!gathered) gather(team, batch, data);
  // The statistics of normalised layers need the scale of all rows.
  if (!gathered || network_.normalizes()) meet(team, batch);
  forward(team, batch);
}

template <class T>
void Plan<T>::complete(Team& team, const Batch<T>& batch, const Update<T>* update) {
  const T* gradient = gradient_.data();
  if (team.leads()) share_gradients(network_, gradient_.data());
  if (update == nullptr) return;
  Update<T> rest = *update;
  if (recipe_.penalties.clip_norm != 0) {  // alpha's and l1's terms are part of what is clipped, so the optimiser must not add them again
    rest.scalars.shape.factor = clip_factor(team, batch, gradient);
    rest.scalars.shape.any = rest.scalars.shape.factor != 1;
    rest.scalars.l2 = 0;
  }
  apply_update(team, batch, network_, rest, gradient);
  if (recipe_.penalties.max_norm != 0) bound_norms(team, batch, network_);
}

template <class T>
RunStats Plan<T>::run(const Data<T>& data, index_t first_step, index_t steps, const Rates& rates, const Poll& poll, const Sums& so_far) {
  check_rates<T>(rates, steps);
  check_part(data, recipe_, steps);
  const double start = now();
  const index_t batch_size = std::min(recipe_.batch_size, data.rows), steps_per_epoch = (data.rows + batch_size - 1) / batch_size;
  if (static_cast<index_t>(order_.size()) != data.rows) {
    order_.resize(static_cast<std::size_t>(data.rows));
    shuffled_epoch_ = -1;
  }
  if ((batch_size > room_.rows || recipe_.penalties.clip_norm != 0) && gradient_.size() == 0) gradient_ = Buffer<T>(network_.size(), 5);

  RunStats stats;
  double loss_sum = so_far.loss, weight_sum = so_far.weight;
  bool stop = false;
  skips_ = skips_for(data);
  interrupted_ = given_up_ = false;
  polled_ = start;
  for (index_t done = 0; done < steps && !stop;) {
    const index_t stretch_end = done + pace_.stretch(steps - done, batch_size);
    const index_t rows_before = stats.rows;
    const double began = now();
    const double waited = parallel_watched(pace_.threads(), pace_.chooses(), [&](Team& team) {
      Batch<T> batch = batch_of(data);
      bool gathered = false;
      for (index_t s = done; s < stretch_end && !stop; ++s) {
        const index_t step = first_step + s, place = data.ids != nullptr ? s : step % steps_per_epoch;
        const index_t begin = place * batch_size, end = std::min(data.rows, begin + batch_size);
        if (place == 0 || s == done) {
          if (team.leads()) shuffle(data.rows, data.ids != nullptr ? kPart : step / steps_per_epoch);
          team.barrier();
        }
        // A host may move its guest's cores at any moment. (Small networks do without the others' numbers.)
        if ((s - done) % kLook == 0) batch.far = !shares_rows(network_, &recipe_, batch_size, team.size()) && team.cores_are_far();
        batch.ids = order_.data();
        batch.step = static_cast<std::uint32_t>(step);
        const Update<T> update = update_at(step, rates.rates[s], rates.momenta == nullptr ? nullptr : rates.momenta + s);
        // The next batch is known where this step ends neither the epoch, whose order it has, nor the stretch.
        Batch<T> next = batch;
        next.ids = order_.data() + end;
        next.rows = std::min(data.rows - end, batch_size);
        next.step = batch.step + 1;
        next.side = 1 - batch.side;
        next.begun = false;
        const bool known = whole_ && next.rows > 0 && s + 1 < stretch_end;
        const double sum = pass(team, batch, data, {begin, end}, gathered, &update, known ? &next : nullptr, poll);
        if (team.leads() && !given_up_) {
          loss_sum += sum;
          for (index_t r = begin; r < end; ++r) weight_sum += weight_of(data, order_[static_cast<std::size_t>(r)]);
          stats.rows += end - begin;
          stats.finite = std::isfinite(sum);
          stats.steps += stats.finite ? 1 : 0;
        }
        if (team.leads()) stop = !stats.finite || interrupted_;
        gathered = known;
        batch.side = known ? next.side : batch.side;
        batch.begun = next.begun;
        team.barrier();
      }
    });
    pace_.took(static_cast<double>(stats.rows - rows_before), now() - began, waited);
    done = stretch_end;
  }
  if (!stats.finite) room_.clear();
  stats.interrupted = interrupted_;
  stats.sums = {loss_sum, weight_sum};
  stats.loss = weight_sum > 0 ? loss_sum / weight_sum : 0;
  stats.seconds = now() - start;
  return stats;
}

template <class T>
double Plan<T>::gradient(const Data<T>& data, std::uint32_t step, T* flat, const Poll& poll) {
  require(!network_.normalizes() || data.rows <= room_.rows,
          "the gradient of a network with batch_norm needs a batch_size of at least the rows of X");
  skips_ = skips_for(data);
  interrupted_ = given_up_ = false;
  penalty_ = 0;
  polled_ = now();
  if (gradient_.size() == 0) gradient_ = Buffer<T>(network_.size(), 5);
  std::fill_n(gradient_.data(), gradient_.size(), T{0});
  double sum = 0, total = static_cast<double>(data.rows);
  if (data.weights != nullptr) total = std::accumulate(data.weights, data.weights + data.rows, 0.0);
  parallel(threads_, [&](Team& team) {
    Batch<T> batch = batch_of(data);
    batch.step = step;
    const double part = pass(team, batch, data, {0, data.rows}, false, nullptr, nullptr, poll);
    team.barrier();
    if (team.leads()) {
      sum = part;
      penalty_ += other_penalties(batch);
    }
  });
  double penalty = 0;
  for (int l = 0; l < network_.depth(); ++l) {
    const bool frozen = !recipe_.frozen.empty() && recipe_.frozen[static_cast<std::size_t>(l)];
    if (!network_.owns_weights(l) || frozen) continue;
    const T* w = network_.data() + network_.window(l).weights;
    T* g = gradient_.data() + network_.window(l).weights;
    const index_t n = panels(network_.layer(l).n_out) * kPanel * network_.layer(l).n_in;
    for (index_t i = 0; i < n; ++i) {
      penalty += static_cast<double>(w[i]) * static_cast<double>(w[i]);
      g[i] += static_cast<T>(recipe_.alpha) * w[i];
    }
  }
  network_.flatten(gradient_.data(), flat);
  loss_ = total > 0 ? sum / total : 0;
  if (!std::isfinite(sum)) room_.clear();
  return loss_ + 0.5 * recipe_.alpha * penalty + penalty_;
}

template class Plan<float>;
template class Plan<double>;

}  // namespace layerwise
