// Learning of restricted Boltzmann machines: contrastive divergence (Hinton 2002), from the data or from persistent chains (Tieleman 2008).
#pragma once

#include "net/gibbs.h"
#include "net/zeros.h"

namespace layerwise {

template <class T>
class RbmPlan {
 public:
  RbmPlan(Network<T>& machine, const Recipe& recipe, const GibbsSpec& gibbs);

  // As Plan::run. The loss is that of rebuilding the data: from the first hidden states, or (persistent) from the hidden means. The
  // poll is asked after a step and, where that takes long, within it: the step that is running is then given up: the weights stay,
  // although persistent chains and the running means of the sparsity target have moved on, so that the run is not whole.
  // Both go on from one call to the next, so a run is a function of its steps and of those before.
  RunStats run(const Data<T>& data, index_t first_step, index_t steps, const Rates& rates, const Poll& poll, const Sums& so_far = {});

  // What goes on, as numbers: the running means with a 0 or 1 before them that says whether they are known, then the chains, row by row;
  // either only if the machine has it.
  index_t memory_size() const;
  void get_memory(T* out) const;
  void set_memory(const T* in);

  T* first_moment() { return first_.data(); }
  T* second_moment() { return second_.data(); }

 private:
  // One batch: which rows, and what their step is.
  struct Step {
    const Data<T>& data;
    const index_t* ids;
    index_t rows;
    double weight;  // of all its rows
    std::uint32_t number;
    Update<T> update;
    bool far;  // the team's cores are: see `in_turn`
  };

  void shuffle(index_t rows, index_t epoch);
  void gather(Team& team, const Step& step);
  // Random states of a piece of layer l's units, and which of them are not 0.
  void sample(int l, const Panels<T>& mean, index_t panel, index_t row, index_t row_end, const Draw& draw);
  void watch_activity(Team& team, const Step& step);
  void weigh_hidden_means(Team& team, const Step& step);
  void reconstruction_loss(Team& team, const Step& step);
  void learn(Team& team, const Step& step, index_t chains);
  double pass(Team& team, const Step& step, const Poll& poll);
  index_t chains() const { return gibbs_.persistent ? recipe_.batch_size : 0; }
  bool sparse() const { return gibbs_.sparsity_cost > 0; }
  // Of the visible data, from a panel on; and of states that are what layer l gives, if it gives binary ones. Most hidden ones are 0 in a
  // machine that has learned; visible ones are as the data.
  NonzeroBits nonzero_data(bool skips, index_t panel) const { return skips ? data_nonzero_.bits(panel) : NonzeroBits{}; }
  NonzeroBits nonzero_states(int l, bool skips, index_t panel) const {
    const bool states = machine_.layer(l).activation == Activation::sigmoid && (l == kUp || gibbs_.sample_visible);
    return states && skips ? states_nonzero_[l].bits(panel) : NonzeroBits{};
  }

  Network<T>& machine_;
  const Recipe recipe_;
  const GibbsSpec gibbs_;
  const int threads_;
  Pace pace_;
  Buffer<T> memory_, scratch_, first_, second_;
  Panels<T> data_, hidden_;                         // positive phase: visible data, hidden means
  Panels<T> state_, visible_, chain_hidden_;        // negative phase: hidden states; visible means or states; hidden means
  Panels<T> rebuilt_;                               // inputs of the visible units, for the loss
  Panels<T> minus_share_, plus_share_;              // each row's share of the gradient, 32 times: of the data's, of the chains'
  Panels<T> minus_mean_visible_, activity_, pull_;  // one row each, for the sparsity target
  NonzeroRoom data_nonzero_, states_nonzero_[2];    // of the data; of the states that each layer gives
  ZeroSkips skips_;                                 // of the data
  std::vector<double> row_loss_;
  std::vector<index_t> order_;
  index_t shuffled_epoch_ = -1;
  bool activity_known_ = false;
  Patience patience_;
  double step_began_ = 0;
  bool interrupted_ = false;
};

}  // namespace layerwise
