// How many threads the next steps get: the most allowed, a half, a quarter, ... or one. Which is fastest is timed while training,
// because a host may lend and take cores at any moment, and a team that waits for a thread without a core is slower than a smaller
// one. The bits do not depend on it.
//
// A number of threads is measured by one step, which finds threads asleep and caches cold, and three parts after it, of which the
// fastest counts: what disturbs only ever adds. The first steps measure fewer and fewer threads, in 2 ms each, as long as that is
// faster. From then on twice as many and half as many are compared in turn with the choice, for 2 % of the time since the last trial:
// after 0.1 s, later more and more seldom, up to every 3.2 s; at once (but not before 0.1 s) where the steps have become slower. Where
// even that would lose more than 2 % of the time, because a single step is long, trials are as rare as keeps to 2 %.
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
    if (choose_) measure(0);
  }

  int threads() const { return most_ >> now(); }

  // Steps to run before the next look at the clock, at most `left`.
  index_t stretch(index_t left) const {
    if (!choose_) return left;
    if (measuring() && part_ == 0) return std::min<index_t>(left, 1);
    const double length = measuring() ? trial() / kParts : kStretch;
    return static_cast<index_t>(std::clamp(length / seconds_[now()], 1.0, static_cast<double>(left)));
  }

  // What the last stretch took.
  void took(index_t steps, double seconds) {
    if (!choose_ || steps <= 0) return;
    const double step = seconds / static_cast<double>(steps);
    if (measuring()) return measured(step, steps, seconds);
    // The mean of late, in which an old stretch counts half of the next: one disturbed stretch decides nothing.
    late_ = late_ > 0 ? 0.5 * (late_ + step) : step;
    since_trial_ += seconds;
    const bool slower = late_ > kSlower * seconds_[level_] && since_trial_ >= std::max(kFirstInterval, shortest_);
    if (since_trial_ >= interval_ || slower) measure(level_);
  }

 private:
  static constexpr double kStretch = 0.05, kShortestTrial = 0.002, kLongestTrial = 0.04, kFirstInterval = 0.1, kLongestInterval = 3.2;
  static constexpr double kShare = 0.02;
  static constexpr double kBetter = 0.97;  // what is worth a change: with the trials' 2 % no choice stands that is 5 % slower
  static constexpr double kSlower = 1.3;
  static constexpr int kParts = 3, kNone = -1;

  bool measuring() const { return measured_ != kNone; }
  int now() const { return measuring() ? measured_ : level_; }
  double trial() const { return std::clamp(kShare * interval_, kShortestTrial, kLongestTrial); }

  void measure(int level) {
    measured_ = level;
    part_ = 0;
    spent_ = 0;
    steps_ = 0;
  }

  void measured(double step, index_t steps, double seconds) {
    double& best = seconds_[measured_];
    best = part_ == 0 ? step : std::min(best, step);
    steps_ += steps;
    if (part_ > 0) spent_ += seconds;
    const bool first = interval_ == 0;  // which is decided only once, and by threads that may just have been started
    if (part_++ < kParts && (first || spent_ < trial())) return;
    if (measured_ == level_ && last_ > 0) return measure(tried_);
    decide();
  }

  // After a trial.
  void decide() {
    const bool better = seconds_[tried_] < kBetter * seconds_[level_];
    const int direction = tried_ - level_;
    // What the next trial will lose, if things stay as they are.
    const double lost = std::abs(seconds_[tried_] - seconds_[level_]) * static_cast<double>(better ? 1 : steps_);
    if (better) level_ = tried_;
    // On in the same direction while that pays, else the other neighbour, if there is one.
    const auto exists = [&](int level) { return level >= 0 && level <= last_; };
    tried_ = level_ + (better ? direction : -direction);
    if (!exists(tried_)) tried_ = level_ + (better ? -direction : direction);
    measured_ = kNone;
    late_ = since_trial_ = 0;
    if (better && interval_ == 0 && seconds_[tried_] == 0) return measure(tried_);  // the first descent does not wait
    // A choice just made is doubted soon.
    shortest_ = lost / kShare;
    interval_ = std::max(better ? kFirstInterval : std::clamp(2 * interval_, kFirstInterval, kLongestInterval), shortest_);
  }

  int most_;
  bool choose_;
  int level_ = 0, tried_ = 1, last_ = 0;  // most >> level threads are the choice; the level tried now or next; that of one thread
  double seconds_[31] = {};               // a step's time at each level
  int measured_ = kNone, part_ = 0;       // the level measured now, and which part of that
  index_t steps_ = 0;                     // of this measurement
  double spent_ = 0;                      // in it, without its first part
  double late_ = 0;                       // a step's time of late
  double since_trial_ = 0, interval_ = 0, shortest_ = 0;
};

}  // namespace layerwise
