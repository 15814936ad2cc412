// How many threads the next steps get: the most allowed, a half, a quarter, ... or one. Which is fastest is timed while training,
// because a host may lend and take cores at any moment, and a team that waits for a thread without a core is slower than a smaller
// one. The bits do not depend on it.
//
// The first steps try fewer and fewer threads, for 2 ms each, as long as that is faster. From then on twice as many and half as many
// are tried in turn, for 2 % of the time since the last trial: after 0.1 s, later more and more seldom, up to every 3.2 s; at once
// (but not before 0.1 s) where the steps have become slower. Where even that would lose more than 2 % of the time, because a single
// step is long, trials are as rare as keeps to 2 %.
#pragma once

#include <algorithm>
#include <cmath>

#include "base/types.h"

namespace layerwise {

class Pace {
 public:
  // Without `choose` it is always `most`: the caller asked for that many.
  Pace(int most, bool choose) : most_(most), choose_(choose && most > 1) {
    while (most_ >> last_ > 1) ++last_;
    tried_ = std::min(1, last_);
  }

  int threads() const { return most_ >> (trying_ ? tried_ : level_); }

  // Steps to run before the next look at the clock, at most `left`.
  index_t stretch(index_t left) const {
    if (!choose_) return left;
    const double known = seconds_[trying_ ? tried_ : level_], step = known > 0 ? known : seconds_[level_];
    if (step <= 0) return std::min<index_t>(left, 1);
    const double length = trying_ || interval_ == 0 ? std::clamp(kShare * interval_, kShortestTrial, kLongestTrial) : kStretch;
    return static_cast<index_t>(std::clamp(length / step, 1.0, static_cast<double>(left)));
  }

  // What the last stretch took.
  void took(index_t steps, double seconds) {
    if (!choose_ || steps <= 0) return;
    const double step = seconds / static_cast<double>(steps);
    if (trying_) {
      seconds_[tried_] = step;
      decide(steps);
      return;
    }
    double& known = seconds_[level_];
    if (!warm_) {  // the first step starts threads and finds nothing in the caches: good enough to count the next ones by
      known = step;
      warm_ = true;
      return;
    }
    // The mean of late, in which an old stretch counts half of the next: one disturbed stretch decides nothing.
    known = settled_ > 0 ? 0.5 * (known + step) : step;
    if (settled_ <= 0) settled_ = step;
    since_trial_ += seconds;
    trying_ = since_trial_ >= interval_ || (known > kSlower * settled_ && since_trial_ >= std::max(kFirstInterval, shortest_));
  }

 private:
  static constexpr double kStretch = 0.05, kShortestTrial = 0.002, kLongestTrial = 0.04, kFirstInterval = 0.1, kLongestInterval = 3.2;
  static constexpr double kShare = 0.02;
  static constexpr double kBetter = 0.97;  // what is worth a change: with the trials' 2 % no choice stands that is 5 % slower
  static constexpr double kSlower = 1.3;

  // After a trial of so many steps.
  void decide(index_t steps) {
    const bool better = seconds_[tried_] < kBetter * seconds_[level_];
    const int direction = tried_ - level_;
    // What the next trial will lose, if things stay as they are.
    const double lost = std::abs(seconds_[tried_] - seconds_[level_]) * static_cast<double>(better ? 1 : steps);
    if (better) level_ = tried_;
    // On in the same direction while that pays, else the other neighbour, if there is one.
    const auto exists = [&](int level) { return level >= 0 && level <= last_; };
    tried_ = level_ + (better ? direction : -direction);
    if (!exists(tried_)) tried_ = level_ + (better ? -direction : direction);
    settled_ = seconds_[level_];
    since_trial_ = 0;
    trying_ = better && interval_ == 0 && seconds_[tried_] == 0;  // the first descent does not wait
    if (trying_) return;
    // A choice just made is doubted soon.
    shortest_ = lost / kShare;
    interval_ = std::max(better ? kFirstInterval : std::clamp(2 * interval_, kFirstInterval, kLongestInterval), shortest_);
  }

  int most_;
  bool choose_;
  bool warm_ = false, trying_ = false;
  int level_ = 0, tried_ = 1, last_ = 0;  // most >> level threads are the choice; the level tried now or next; that of one thread
  double seconds_[31] = {};               // a step's time at each level
  double settled_ = 0;                    // that of the choice, when it was made
  double since_trial_ = 0, interval_ = 0, shortest_ = 0;
};

}  // namespace layerwise
