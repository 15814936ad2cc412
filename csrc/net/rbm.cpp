#include "net/rbm.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "kernels/catalog.h"
#include "net/array_functions.h"
#include "net/streams.h"
#include "net/zeros.h"

namespace layerwise {
namespace {

constexpr double kLongStep = 0.5;  // seconds: a shorter step is finished before the run stops

template <class T>
void check(const Network<T>& machine, const Recipe& recipe, const GibbsSpec& gibbs) {
  check_machine(machine);
  const bool binary = machine.layer(kDown).activation == Activation::sigmoid;
  require(recipe.loss == (binary ? Loss::sigmoid_cross_entropy : Loss::squared_error),
          "the loss of a Boltzmann machine is sigmoid_cross_entropy with binary visible units, squared_error with Gaussian ones");
  require(recipe.noise.kind == NoiseKind::none && !recipe.noise.emphasises() && recipe.dropout.empty() && recipe.frozen.empty() &&
              recipe.rate_scale.empty() && !recipe.missing_targets,
          "a Boltzmann machine has no noise, dropout, frozen layers, rate_scale or missing_targets");
  require(!recipe.penalties.any(), "a Boltzmann machine has no penalties: alpha and a sparsity target are what it can have");
  require(!recipe.bfloat16, "a Boltzmann machine is not trained in bfloat16");
  check_steps<T>(recipe);
  const auto rounded = [](double x) { return static_cast<double>(static_cast<T>(x)); };
  require(gibbs.k >= 1 && gibbs.k <= 1000000, "k must be between 1 and 1000000");
  require(gibbs.sparsity_cost >= 0 && std::isfinite(rounded(gibbs.sparsity_cost)), "sparsity_cost must be finite and not negative");
  require(gibbs.sparsity_target > 0 && gibbs.sparsity_target < 1, "sparsity_target must be in (0, 1)");
  require(gibbs.sparsity_decay >= 0 && rounded(gibbs.sparsity_decay) < 1, "sparsity_decay must be in [0, 1)");
  require(gibbs.sparsity_cost == 0 || machine.layer(kUp).activation == Activation::sigmoid, "a sparsity target needs binary hidden units");
}

}  // namespace

template <class T>
RbmPlan<T>::RbmPlan(Network<T>& machine, const Recipe& recipe, const GibbsSpec& gibbs)
    : machine_(machine),
      recipe_((check(machine, recipe, gibbs), recipe)),
      gibbs_(gibbs),
      threads_(threads_for(gibbs_work(machine, recipe.batch_size), recipe.threads)),
      pace_(threads_, recipe.threads == 0),
      scratch_(kScratch * threads_, 2),
      data_nonzero_(machine.inputs(), recipe.batch_size),
      states_nonzero_{{machine.layer(kUp).n_out, recipe.batch_size}, {machine.inputs(), recipe.batch_size}},
      row_loss_(static_cast<std::size_t>(recipe.batch_size)) {
  if (has_first_moment(recipe.optimizer.kind)) first_ = Buffer<T>(machine.size(), 3);
  if (has_second_moment(recipe.optimizer.kind)) second_ = Buffer<T>(machine.size(), 4);
  const index_t n_visible = machine.inputs(), n_hidden = machine.layer(kUp).n_out;
  // As in Workspace: an odd number of rows between panels; the first call adds up the sizes, the second hands out the places.
  const auto place = [&](T* base) {
    index_t end = 0;
    const auto room = [&](index_t features, index_t rows) {
      const Panels<T> panel{base == nullptr ? nullptr : base + end, rows * kPanel};
      end += panels(features) * panel.step;
      return panel;
    };
    const index_t rows = recipe_.batch_size | 1;
    for (Panels<T>* p : {&data_, &visible_, &rebuilt_}) *p = room(n_visible, rows);
    for (Panels<T>* p : {&hidden_, &state_, &chain_hidden_}) *p = room(n_hidden, rows);
    for (Panels<T>* p : {&minus_share_, &plus_share_}) *p = room(kPanel, rows);
    minus_mean_visible_ = room(n_visible, 1);
    for (Panels<T>* p : {&activity_, &pull_}) *p = room(n_hidden, 1);
    return end;
  };
  memory_ = Buffer<T>(place(nullptr), 1);
  place(memory_.data());
}

// Fisher and Yates, with the random words of (seed, epoch), as in Plan.
template <class T>
void RbmPlan<T>::shuffle(index_t rows, index_t epoch) {
  if (shuffled_epoch_ == epoch) return;
  std::iota(order_.begin(), order_.end(), index_t{0});
  shuffled_epoch_ = epoch;
  if (recipe_.shuffle && epoch != kPart)
    random_shuffle(recipe_.seed, static_cast<std::uint32_t>(epoch), kShuffleStream, order_.data(), rows);
}

// The batch's rows, and every row's share of the gradient: minus its weight among the data, plus its weight among the chains. Where no row
// weighs anything the chains count nothing either: alone they would unlearn.
template <class T>
void RbmPlan<T>::gather(Team& team, const Step& step) {
  const Range rows = team.share(step.rows);
  for (index_t r = rows.begin; r < rows.end; ++r) {
    copy_row(step.data.x + step.ids[r] * machine_.inputs(), machine_.inputs(), data_, r);
    if (skips_.any()) kernels<T>().nonzero_bits(data_.at(0, r), data_.step, machine_.inputs(), data_nonzero_.at(0, r), data_nonzero_.step);
    const auto share = static_cast<T>(step.weight > 0 ? weight_of(step.data, step.ids[r]) / step.weight : 0.0);
    std::fill_n(minus_share_.at(0, r), kPanel, -share);
    if (!gibbs_.persistent) std::fill_n(plus_share_.at(0, r), kPanel, share);
  }
  if (!gibbs_.persistent) return;
  const Range chains = team.share(recipe_.batch_size);
  const auto share = static_cast<T>(step.weight > 0 ? 1 / static_cast<double>(recipe_.batch_size) : 0.0);
  for (index_t r = chains.begin; r < chains.end; ++r) std::fill_n(plus_share_.at(0, r), kPanel, share);
}

template <class T>
void RbmPlan<T>::sample(int l, const Panels<T>& mean, index_t panel, index_t row, index_t row_end, const Draw& draw) {
  const Panels<T>& states = l == kUp ? state_ : visible_;
  sample_piece(machine_, l, mean, states, panel, row, row_end, draw);
  states_nonzero_[l].find(states, panel, width_of(machine_.layer(l).n_out, panel), row, row_end);
}

// The running mean of the hidden units' probabilities, and how strongly the sparsity target pulls each.
template <class T>
void RbmPlan<T>::watch_activity(Team& team, const Step& step) {
  const Kernels<T>& k = kernels<T>();
  const index_t n_hidden = machine_.layer(kUp).n_out;
  const bool any = step.weight > 0;
  const auto decay = static_cast<T>(!any              ? 1
                                    : activity_known_ ? gibbs_.sparsity_decay
                                                      : 0),
             target = static_cast<T>(gibbs_.sparsity_target);
  const auto cost = static_cast<T>(any ? gibbs_.sparsity_cost : 0);
  const auto minus_mean = [&](const Panels<T>& x, index_t panel, index_t width, T* out) {
    k.gemm_t(minus_share_.at(0, 0), x.at(panel, 0), 1, width, step.rows, kZeros<T>, 0, out, {});
  };
  const Range hidden = team.share(panels(n_hidden));
  for (index_t p = hidden.begin; p < hidden.end; ++p) {
    T* pull = pull_.at(p, 0);
    minus_mean(hidden_, p, width_of(n_hidden, p), pull);
    for (index_t c = 0; c < width_of(n_hidden, p); ++c) {
      T& activity = activity_.at(p, 0)[c];
      activity = decay * activity - (1 - decay) * pull[c];
      pull[c] = cost * (target - activity);
    }
  }
  const Range visible = team.share(panels(machine_.inputs()));
  for (index_t p = visible.begin; p < visible.end; ++p) minus_mean(data_, p, width_of(machine_.inputs(), p), minus_mean_visible_.at(p, 0));
}

// The data's hidden means become what the gradient's product needs: minus each row's share of them.
template <class T>
void RbmPlan<T>::weigh_hidden_means(Team& team, const Step& step) {
  const Range hidden = team.share(panels(machine_.layer(kUp).n_out));
  for (index_t p = hidden.begin; p < hidden.end; ++p) {
    kernels<T>().multiply(hidden_.at(p, 0), minus_share_.at(0, 0), hidden_.at(p, 0), step.rows * kPanel);
  }
}

template <class T>
void RbmPlan<T>::reconstruction_loss(Team& team, const Step& step) {
  const Range rows = team.share(step.rows);
  const index_t n = rows.end - rows.begin;
  if (n == 0) return;
  double* row_loss = row_loss_.data() + rows.begin;
  std::fill_n(row_loss, n, 0.0);
  kernels<T>().loss[static_cast<int>(recipe_.loss)](rebuilt_.at(0, rows.begin), rebuilt_.step, data_.at(0, rows.begin), data_.step, nullptr,
                                                    0, n, machine_.inputs(), nullptr, row_loss, false, nullptr, 0);
}

// The gradient of the objective, minus (data - chains), in 32 x 32 blocks of one chain each: the data's rows, the chains' rows, the
// sparsity target; each block goes to the optimiser at once.
template <class T>
void RbmPlan<T>::learn(Team& team, const Step& step, index_t chains) {
  const Kernels<T>& k = kernels<T>();
  const index_t n_visible = machine_.inputs(), n_hidden = machine_.layer(kUp).n_out, blocks = panels(n_visible);
  T* local = scratch_.data() + team.rank() * kScratch + kDepthBlock * kPanel;
  std::fill_n(local, kPanel * kPanel, T{0});
  const auto apply = [&](index_t begin, index_t n, bool weights) {
    UpdateScalars<T> s = step.update.scalars;
    if (!weights) s.l2 = s.weight_decay = 0;
    const auto moment = [&](T* m) { return m == nullptr ? nullptr : m + begin; };
    k.update[static_cast<int>(step.update.kind)](machine_.data() + begin, moment(step.update.first), moment(step.update.second), local, n,
                                                 s);
  };
  const Range units = team.share(panels(n_hidden) * blocks);
  for (index_t u = units.begin; u < units.end; ++u) {
    const index_t panel = u / blocks, block = u % blocks;
    const index_t rows = width_of(n_visible, block), width = width_of(n_hidden, panel);
    k.gemm_t(data_.at(block, 0), hidden_.at(panel, 0), rows, width, step.rows, kZeros<T>, 0, local, nonzero_data(skips_.gradient, block));
    k.gemm_t(visible_.at(block, 0), chain_hidden_.at(panel, 0), rows, width, chains, local, kPanel, local,
             nonzero_states(kDown, skips_.gradient, block));
    if (sparse()) k.gemm_t(minus_mean_visible_.at(block, 0), pull_.at(panel, 0), rows, width, 1, local, kPanel, local, {});
    // The weights' padding must stay zero.
    for (index_t r = 0; width < kPanel && r < rows; ++r) std::fill_n(local + r * kPanel + width, kPanel - width, T{0});
    apply(machine_.window(kUp).weights + (panel * n_visible + block * kPanel) * kPanel, rows * kPanel, true);
  }
  const Range hidden = team.share(panels(n_hidden));
  for (index_t p = hidden.begin; p < hidden.end; ++p) {
    const index_t width = width_of(n_hidden, p);
    std::fill_n(local, kPanel, T{0});
    k.column_sums(hidden_.at(p, 0), step.rows, local);
    k.column_sums(chain_hidden_.at(p, 0), chains, local);
    for (index_t c = 0; sparse() && c < width; ++c) local[c] -= pull_.at(p, 0)[c];
    std::fill_n(local + width, kPanel - width, T{0});
    apply(machine_.window(kUp).bias + p * kPanel, kPanel, false);
  }
  const Range visible = team.share(blocks);
  for (index_t p = visible.begin; p < visible.end; ++p) {
    const index_t width = width_of(n_visible, p);
    k.gemm_t(minus_share_.at(0, 0), data_.at(p, 0), 1, width, step.rows, kZeros<T>, 0, local, {});
    k.gemm_t(plus_share_.at(0, 0), visible_.at(p, 0), 1, width, chains, local, kPanel, local, {});
    std::fill_n(local + width, kPanel - width, T{0});
    apply(machine_.window(kDown).bias + p * kPanel, kPanel, false);
  }
  team.barrier();
}

// Every thread of the team runs this; the returned loss (a weighted sum over rows) is thread 0's. The positive phase draws the hidden
// states with stream kGibbsStream; round t = 1 .. k draws the visible ones with kGibbsStream + 2 t - 1, the hidden ones with + 2 t.
template <class T>
double RbmPlan<T>::pass(Team& team, const Step& step, const Poll& poll) {
  const bool persistent = gibbs_.persistent;
  const index_t chains = persistent ? recipe_.batch_size : step.rows;
  const index_t* chain_ids = persistent ? nullptr : step.data.ids != nullptr ? step.data.ids + step.ids[0] : step.ids;
  T* scratch = scratch_.data() + team.rank() * kScratch;
  const auto draw = [&](index_t half) {
    return Draw{recipe_.seed, step.number, static_cast<std::uint32_t>(kGibbsStream + half), chain_ids};
  };
  const auto nothing = [](index_t, index_t, index_t) {};

  gather(team, step);
  team.barrier();
  const auto begin_chains = [&](index_t panel, index_t row, index_t row_end) {
    if (!persistent) sample(kUp, hidden_, panel, row, row_end, draw(0));
  };
  means(team, machine_, kUp, data_, step.rows, hidden_, hidden_, scratch, begin_chains, nonzero_data(skips_.forward, 0));
  team.barrier();
  double sum = 0;
  for (index_t t = 1; t <= gibbs_.k; ++t) {
    // Down. In the first round also what the data are rebuilt as, and what needs the hidden means unweighted.
    if (t == 1 && sparse()) watch_activity(team, step);
    if (t == 1 && persistent) means(team, machine_, kDown, hidden_, step.rows, rebuilt_, Panels<T>{}, scratch, nothing, {}, step.far);
    const Panels<T>& sums = t == 1 && !persistent ? rebuilt_ : visible_;
    const auto sample_visible = [&](index_t panel, index_t row, index_t row_end) {
      if (gibbs_.sample_visible) sample(kDown, visible_, panel, row, row_end, draw(2 * t - 1));
    };
    means(team, machine_, kDown, state_, chains, sums, visible_, scratch, sample_visible, nonzero_states(kUp, true, 0), step.far);
    if (team.leads()) interrupted_ = Patience::now() - step_began_ > kLongStep && patience_.ask(poll);
    team.barrier();
    if (interrupted_) return 0;  // the next question comes after the next barrier, so that all threads see the same answer
    // Up.
    if (t == 1) {
      reconstruction_loss(team, step);
      weigh_hidden_means(team, step);
    }
    const bool last = t == gibbs_.k;
    const auto go_on = [&](index_t panel, index_t row, index_t row_end) {
      if (persistent || !last) sample(kUp, chain_hidden_, panel, row, row_end, draw(2 * t));
      T* h = chain_hidden_.at(panel, row);
      if (last) kernels<T>().multiply(h, plus_share_.at(0, row), h, (row_end - row) * kPanel);
    };
    means(team, machine_, kUp, visible_, chains, chain_hidden_, chain_hidden_, scratch, go_on, nonzero_states(kDown, skips_.forward, 0));
    team.barrier();
  }
  if (team.leads()) {
    activity_known_ = activity_known_ || step.weight > 0;
    for (index_t r = 0; r < step.rows; ++r) {
      const double weight = weight_of(step.data, step.ids[r]);
      if (weight != 0) sum += weight * row_loss_[static_cast<std::size_t>(r)];
    }
  }
  learn(team, step, chains);
  return sum;
}

template <class T>
RunStats RbmPlan<T>::run(const Data<T>& data, index_t first_step, index_t steps, const Rates& rates, const Poll& poll, const Sums& so_far) {
  check_rates<T>(rates, steps);
  check_part(data, recipe_, steps);
  const double start = Patience::now();
  const index_t batch_size = std::min(recipe_.batch_size, data.rows), steps_per_epoch = (data.rows + batch_size - 1) / batch_size;
  if (static_cast<index_t>(order_.size()) != data.rows) {
    order_.resize(static_cast<std::size_t>(data.rows));
    shuffled_epoch_ = -1;
  }
  skips_ = zero_skips(data, machine_.inputs(), machine_.layer(kUp).n_out);
  RunStats stats;
  double loss_sum = so_far.loss, weight_sum = so_far.weight;
  bool stop = false;
  interrupted_ = false;
  patience_ = Patience();
  for (index_t done = 0; done < steps && !stop;) {
    const index_t stretch_end = done + pace_.stretch(steps - done, batch_size);
    const index_t rows_before = stats.rows;
    const double began = Patience::now();
    const double waited = parallel_watched(pace_.threads(), pace_.chooses(), [&](Team& team) {
      bool far = false;
      // Each thread would fetch the others' weights once, for all rounds, but in turn panels travel in each.
      const index_t panel_rows = gibbs_.k * (gibbs_.persistent ? recipe_.batch_size : batch_size);
      const bool matters = in_turn(team, true, panel_rows, machine_.layer(kUp).n_out, machine_.inputs());
      for (index_t s = done; s < stretch_end && !stop; ++s) {
        const index_t number = first_step + s, place = data.ids != nullptr ? s : number % steps_per_epoch, begin = place * batch_size;
        if (place == 0 || s == done) {
          if (team.leads()) shuffle(data.rows, data.ids != nullptr ? kPart : number / steps_per_epoch);
          team.barrier();
        }
        if ((s - done) % kLook == 0) far = matters && team.cores_are_far();
        const double momentum = rates.momenta == nullptr ? recipe_.optimizer.momentum : rates.momenta[s];
        const index_t* ids = order_.data() + begin;
        const index_t rows = std::min(batch_size, data.rows - begin);
        double weight = 0;
        for (index_t r = 0; r < rows; ++r) weight += weight_of(data, ids[r]);
        const Step step{data,
                        ids,
                        rows,
                        weight,
                        static_cast<std::uint32_t>(number),
                        {recipe_.optimizer.kind, update_scalars<T>(recipe_.optimizer, number + 1, rates.rates[s], momentum, recipe_.alpha),
                         first_.data(), second_.data()},
                        far};
        if (team.leads()) step_began_ = Patience::now();
        const double sum = pass(team, step, poll);
        if (team.leads() && interrupted_) stats.whole = memory_size() == 0;
        if (team.leads() && !interrupted_) {
          loss_sum += sum;
          weight_sum += step.weight;
          stats.rows += step.rows;
          stats.finite = std::isfinite(sum);
          stats.steps += stats.finite ? 1 : 0;
          interrupted_ = patience_.ask(poll);
        }
        if (team.leads()) stop = !stats.finite || interrupted_;
        team.barrier();
      }
    });
    pace_.took(static_cast<double>(stats.rows - rows_before), Patience::now() - began, waited);
    done = stretch_end;
  }
  stats.interrupted = interrupted_;
  stats.sums = {loss_sum, weight_sum};
  stats.loss = weight_sum > 0 ? loss_sum / weight_sum : 0;
  stats.seconds = Patience::now() - start;
  return stats;
}

template <class T>
index_t RbmPlan<T>::memory_size() const {
  const index_t n_hidden = machine_.layer(kUp).n_out;
  return (sparse() ? 1 + n_hidden : 0) + chains() * n_hidden;
}

template <class T>
void RbmPlan<T>::get_memory(T* out) const {
  const index_t n_hidden = machine_.layer(kUp).n_out;
  const auto copy_out = [&](const Panels<T>& x, index_t row) {
    for (index_t p = 0; p < panels(n_hidden); ++p) out = std::copy_n(x.at(p, row), width_of(n_hidden, p), out);
  };
  if (sparse()) {
    *out++ = static_cast<T>(activity_known_ ? 1 : 0);
    copy_out(activity_, 0);
  }
  for (index_t r = 0; r < chains(); ++r) copy_out(state_, r);
}

template <class T>
void RbmPlan<T>::set_memory(const T* in) {
  const index_t n_hidden = machine_.layer(kUp).n_out;
  const auto copy_in = [&](const Panels<T>& x, index_t row) {
    copy_row(in, n_hidden, x, row);
    in += n_hidden;
  };
  if (sparse()) {
    activity_known_ = *in++ != 0;
    copy_in(activity_, 0);
  }
  for (index_t r = 0; r < chains(); ++r) copy_in(state_, r);
  for (index_t p = 0; p < panels(n_hidden); ++p) states_nonzero_[kUp].find(state_, p, width_of(n_hidden, p), 0, chains());
}

template class RbmPlan<float>;
template class RbmPlan<double>;

}  // namespace layerwise
