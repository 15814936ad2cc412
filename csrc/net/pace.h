// How many threads the next steps get: the most allowed, or one. Which is faster is timed while training, because a host may lend
// and take cores at any moment, and a team that waits for a thread without a core is slower than one thread alone. The bits do not
// depend on it.
//
// The first steps try both, for 2 ms each. From then on the other choice is tried for 2 % of the time since it was last tried:
// after 0.1 s, later more and more seldom, up to every 3.2 s; at once (but not before 0.1 s) where the steps have become slower.
// Where even that would lose more than 2 % of the time, because a single step is long, it is tried as seldom as keeps to 2 %.
#pragma once

#include <algorithm>

#include "base/types.h"

namespace layerwise {

class Pace {
 public:
  // Without `choose` it is always `most`: the caller asked for that many.
  Pace(int most, bool choose) : most_(most), choose_(choose && most > 1) {}

  int threads() const { return alone_ != probing_ ? 1 : most_; }

  // Steps to run before the next look at the clock, at most `left`.
  index_t stretch(index_t left) const {
    if (!choose_) return left;
    const double step = seconds_[alone_ != probing_] > 0 ? seconds_[alone_ != probing_] : seconds_[alone_];
    if (step <= 0) return std::min<index_t>(left, 1);
    const double length = probing_ || interval_ == 0 ? std::clamp(kShare * interval_, kShortestProbe, kLongestProbe) : kStretch;
    return static_cast<index_t>(std::clamp(length / step, 1.0, static_cast<double>(left)));
  }

  // What the last stretch took.
  void took(index_t steps, double seconds) {
    if (!choose_ || steps <= 0) return;
    const double step = seconds / static_cast<double>(steps);
    double& known = seconds_[alone_ != probing_];
    if (!warm_) {  // the first step starts threads and finds nothing in the caches: good enough to count the next ones by
      known = step;
      warm_ = true;
    } else if (probing_) {
      known = step;
      decide(steps);
    } else {
      // The mean of late, in which an old stretch counts half of the next: one disturbed stretch decides nothing.
      known = settled_ > 0 ? 0.5 * (known + step) : step;
      if (settled_ <= 0) settled_ = step;
      since_probe_ += seconds;
      probing_ = since_probe_ >= interval_ || (known > kSlower * settled_ && since_probe_ >= std::max(kFirstInterval, shortest_));
    }
  }

 private:
  static constexpr double kStretch = 0.05, kShortestProbe = 0.002, kLongestProbe = 0.04, kFirstInterval = 0.1, kLongestInterval = 3.2;
  static constexpr double kShare = 0.02;
  static constexpr double kBetter = 0.97;  // what is worth a change: with the probes' 2 % no choice stands that is 5 % slower
  static constexpr double kSlower = 1.3;

  // After a probe of so many steps.
  void decide(index_t steps) {
    const bool better = seconds_[!alone_] < kBetter * seconds_[alone_];
    if (better) alone_ = !alone_;
    // What the next probe will lose, if things stay as they are. A choice just made is doubted soon.
    const double lost = (seconds_[!alone_] - seconds_[alone_]) * static_cast<double>(better ? 1 : steps);
    shortest_ = lost / kShare;
    interval_ = better ? kFirstInterval : std::clamp(2 * interval_, kFirstInterval, kLongestInterval);
    interval_ = std::max(interval_, shortest_);
    settled_ = seconds_[alone_];
    since_probe_ = 0;
    probing_ = false;
  }

  int most_;
  bool choose_;
  bool warm_ = false;
  bool alone_ = false;  // one thread is the choice
  bool probing_ = false;
  double seconds_[2] = {0, 0};  // a step's time with `most_` threads and with one
  double settled_ = 0;          // that of the choice, when it was made
  double since_probe_ = 0, interval_ = 0, shortest_ = 0;
};

}  // namespace layerwise
