// Network + workspace + optimiser memory: what trains.
#pragma once

#include <functional>

#include "net/learning.h"
#include "net/pace.h"
#include "net/plan_checks.h"

namespace layerwise {

// What an epoch's mean loss is made of: the sums over the rows seen of weight * loss, and of weight.
struct Sums {
  double loss = 0;
  double weight = 0;
};

struct RunStats {
  double loss = 0;  // mean over the rows seen, weighted; without the alpha term
  Sums sums;        // of that mean, so that the next run may go on with them
  index_t rows = 0;
  index_t steps = 0;
  bool finite = true;
  bool interrupted = false;
  bool whole = true;  // of an interrupted run: whether all that training remembers is as it was after `steps` steps
  double seconds = 0;
};

// Asked now and then (at most every 20 ms) by the calling thread; true stops the run after the current step, or inside a step of
// several row blocks, which is then given up whole.
using Poll = std::function<bool()>;

template <class T>
class Plan {
 public:
  Plan(Network<T>& network, const Recipe& recipe);

  // Steps first_step .. first_step + steps - 1. A step is one batch; which rows, what noise and what dropout it sees depends on its
  // number alone, so that a run may be cut anywhere; where `so_far` are the sums of the part before, so that the loss is that of the whole,
  // to the bit. Of a part of the data (Data::ids) each step takes the next rows, in the order they have. Allocates only when the data has
  // more rows than ever before.
  RunStats run(const Data<T>& data, index_t first_step, index_t steps, const Rates& rates, const Poll& poll, const Sums& so_far = {});
  // Objective (with alpha's term) and gradient over all rows, in blocks, with the noise and dropout of `step`.
  double gradient(const Data<T>& data, std::uint32_t step, T* flat, const Poll& poll);

  // Of the rows that `gradient` saw last: their loss alone, without any penalty.
  double last_loss() const { return loss_; }
  T* first_moment() { return first_.data(); }
  T* second_moment() { return second_.data(); }
  const Recipe& recipe() const { return recipe_; }

 private:
  Batch<T> batch_of(const Data<T>& data);
  ZeroSkips skips_for(const Data<T>& data) const;
  void ask(const Poll& poll);
  void shuffle(index_t rows, index_t epoch);
  Update<T> update_at(index_t step, double rate, const double* momentum);
  // One pass of a batch in row blocks of at most kRowBlock rows; gradients go to gradient_ unless there is one block and an update. The
  // rows of `next`, if it is not null, are gathered on the way (and its first layer may be begun), and those of `batch` need not be if they
  // are `gathered`. Ends without a barrier.
  double pass(Team& team, Batch<T>& batch, const Data<T>& data, Range rows, bool gathered, const Update<T>* update, Batch<T>* next,
              const Poll& poll);
  // Its beginning, for the rows row .. end - 1 or as many of them as there is room for: gather and forward.
  void enter(Team& team, Batch<T>& batch, const Data<T>& data, Range rows, bool gathered, const index_t* ids, double total);
  // Its end, where the gradient of all rows has been stored.
  void complete(Team& team, const Batch<T>& batch, const Update<T>* update);

  Network<T>& network_;
  const Recipe recipe_;
  const int threads_;
  Pace pace_;
  const Corruption<T> corruption_;
  const bool whole_;  // batches have one row block
  Workspace<T> room_;
  Buffer<T> first_, second_;
  Buffer<T> gradient_;  // only for batches of several row blocks, and where it is clipped
  std::vector<index_t> order_;
  index_t shuffled_epoch_ = -1;
  double polled_ = 0;
  ZeroSkips skips_;  // Batch::skips of these data
  bool interrupted_ = false;
  double loss_ = 0;        // of the rows seen by `gradient`
  double penalty_ = 0;     // of the activations seen by `gradient`
  bool given_up_ = false;  // a batch of several row blocks, interrupted before its update
};

}  // namespace layerwise
