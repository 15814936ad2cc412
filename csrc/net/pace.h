// How many threads the next steps get: the most allowed, or one. Which is faster is timed while training, because a host may lend
// and take cores at any moment, and a team that waits for a thread without a core is slower than one thread alone. The bits do not
// depend on it.
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
    const double step = seconds_[alone_ != probing_] > 0 ? seconds_[alone_ != probing_] : seconds_[alone_ == probing_];
    if (step <= 0) return std::min<index_t>(left, 1);
    return std::clamp<index_t>(static_cast<index_t>((probing_ ? kProbe : kStretch) / step), 1, left);
  }

  // What the last stretch took.
  void took(index_t steps, double seconds) {
    if (!choose_) return;
    const double step = seconds / static_cast<double>(steps);
    double& known = seconds_[alone_ != probing_];
    if (probing_) {
      known = step;
      probing_ = false;
      since_probe_ = 0;
      const bool better = step < 0.95 * seconds_[alone_];
      if (better) alone_ = !alone_;
      // A choice just made is doubted soon, one that has stood is doubted more and more seldom.
      interval_ = better ? kFirstInterval : std::min(2 * interval_, kLongestInterval);
    } else {
      known = known > 0 ? 0.5 * (known + step) : step;
      since_probe_ += seconds;
      probing_ = since_probe_ >= interval_;
    }
  }

 private:
  // A probe costs at most its own length, some 1 % of the longest interval and 7 % of the first.
  static constexpr double kStretch = 0.05, kProbe = 0.02, kFirstInterval = 0.3, kLongestInterval = 2.4;

  int most_;
  bool choose_;
  bool alone_ = false;  // one thread is the choice
  bool probing_ = false;
  double seconds_[2] = {0, 0};  // a step's time with `most_` threads and with one
  double since_probe_ = 0, interval_ = kFirstInterval;
};

}  // namespace layerwise
