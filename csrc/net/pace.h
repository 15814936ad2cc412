// How many threads the next steps get: the most allowed, a half, a quarter, ... or one. Which is fastest is timed while training,
// because a host may lend and take cores at any moment, and a team that waits for a thread without a core is slower than a smaller
// one. The bits do not depend on it.
//
// A number of threads is measured by one step, which finds threads asleep and caches cold, and up to three parts after it. Of the four
// the lower median counts: two of them may be disturbed, or one lucky. The first steps measure fewer and fewer threads, in 2 ms each, as
// long as that is faster. From then on twice as many and half as many are compared in turn with the choice, for 2 % of the time since the
// last trial: after 0.1 s, later more and more seldom, up to every 3.2 s; at once (but not before 0.1 s) where the steps have become
// slower. Where even that would lose more than 2 % of the time, because a single step is long, trials are as rare as keeps to 2 %.
//
// A core that is there for some milliseconds and gone for some (a quota, a neighbour) looks well in a trial and is slow between trials:
// how much longer the choice took than it was measured counts against it in the next comparisons, less and less; but not in the first 0.1
// s, when the threads of what the caller did before may still wait on the cores.
//
// Where threads wait for cores that other programs' threads have, half of a team often does as much and leaves the others alone, which a
// trial is too short to see. So a team of which a thread waited for a quarter of 0.02 s (of two such windows in a row, once no trial has
// found a better one) is halved without a trial, unless it is still clearly faster than half of it was. The whole one is tried again
// after 0.4 s, and later and later if that was a mistake. Two fits that begin at the same time on two cores so soon have a core each.
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

  bool chooses() const { return choose_; }
  int threads() const { return most_ >> now(); }

  // Steps of so many rows to run before the next look at the clock, at most `left`.
  index_t stretch(index_t left, index_t rows) {
    if (!choose_) return left;
    batch_ = static_cast<double>(rows);
    if (measuring() && part_ == 0) return std::min<index_t>(left, 1);
    const double length = measuring() ? trial() / kParts : kStretch;
    return static_cast<index_t>(std::clamp(length / (seconds_[now()] * batch_), 1.0, static_cast<double>(left)));
  }

  // What the last stretch took, and how long a thread waited for a core in it. It is counted by rows, since the last batch of an epoch may
  // have few.
  void took(double rows, double seconds, double waited) {
    if (!choose_ || rows <= 0) return;
    const bool seen = look(rows, seconds, waited);
    if (measuring()) return measured(seconds / rows, rows, seconds);
    since_trial_ += seconds;
    if (seen) {
      // The mean of late, in which an old window counts half of the next, and none more than so much: one in which the process was stopped,
      // for a minute perhaps, decides nothing for long.
      const double counted = std::min(row_, kMost * seconds_[level_]);
      late_ = late_ > 0 ? 0.5 * (late_ + counted) : counted;
      if (crowded_ >= (settled_ ? 2 : 1) && level_ < last_ && row_ > kClearly * half()) return halve();
    }
    const bool slower = late_ > kSlower * seconds_[level_] && since_trial_ >= std::max(kFirstInterval, shortest_);
    if (since_trial_ < interval_ && !slower) return;
    settled_ = true;
    if (level_ <= halved_) seldom_ = std::max(0.5 * seldom_, kHalvedInterval);  // such a team has its cores again
    measure(level_);
  }

 private:
  static constexpr double kStretch = 0.05, kShortestTrial = 0.002, kLongestTrial = 0.04, kFirstInterval = 0.1, kLongestInterval = 3.2;
  static constexpr double kHalvedInterval = 0.4;  // at first: until a halved team is tried again
  static constexpr double kShare = 0.02;
  static constexpr double kBetter = 0.97;  // what is worth a change: with the trials' 2 % no choice stands that is 5 % slower
  static constexpr double kSlower = 1.3, kMost = 3;
  static constexpr double kRemembered = 0.8;                // of an excess, at the next trial
  static constexpr double kWindow = 0.02, kCrowded = 0.25;  // so long is looked at, and that part of it may be spent on waiting
  static constexpr double kClearly = 0.7;                   // of the time of half of the team
  static constexpr int kParts = 3, kNone = -1;

  bool measuring() const { return measured_ != kNone; }
  int now() const { return measuring() ? measured_ : level_; }
  double trial() const { return std::clamp(kShare * interval_, kShortestTrial, kLongestTrial); }

  double usual(int level) const { return seconds_[level] * (1 + excess_[level]); }

  // Whether a window is complete, of which `row_` and `crowded_` then tell.
  bool look(double rows, double seconds, double waited) {
    looked_ += seconds;
    looked_rows_ += rows;
    waited_ += waited;
    if (looked_ < kWindow) return false;
    row_ = looked_ / looked_rows_;
    crowded_ = waited_ > kCrowded * looked_ ? crowded_ + 1 : 0;
    looked_ = looked_rows_ = waited_ = 0;
    return true;
  }
  void look_anew() {
    looked_ = looked_rows_ = waited_ = 0;
    crowded_ = 0;
  }

  // A row's time of half of the team, as far as it is known.
  double half() const { return seconds_[level_ + 1] > 0 ? seconds_[level_ + 1] : 2 * seconds_[level_]; }

  // The whole team is tried again after a while.
  void halve() {
    if (chosen_) seldom_ = std::min(2 * seldom_, kLongestInterval);
    chosen_ = settled_ = false;
    seconds_[level_ + 1] = half();
    tried_ = halved_ = level_++;
    interval_ = std::max(seldom_, shortest_);
    late_ = since_trial_ = 0;
    look_anew();
  }

  void measure(int level) {
    measured_ = level;
    part_ = 0;
    spent_ = 0;
    rows_ = 0;
    look_anew();
  }

  void measured(double row, double rows, double seconds) {
    parts_[part_] = row;
    std::sort(parts_, parts_ + part_ + 1);
    seconds_[measured_] = parts_[part_ / 2];
    rows_ += rows;
    if (part_ > 0) spent_ += seconds;
    const bool first = interval_ == 0;  // which is decided only once, and by threads that may just have been started
    if (part_++ < kParts && crowded_ == 0 && (first || spent_ < trial())) return;  // enough is known of long steps that wait
    if (measured_ == level_) return measure(tried_);
    decide();
  }

  // After a trial.
  void decide() {
    if (late_ > 0 && begun_) excess_[level_] = std::clamp(0.5 * (excess_[level_] + late_ / seconds_[level_] - 1), 0.0, kMost);
    excess_[tried_] *= kRemembered;
    const bool better = usual(tried_) < kBetter * usual(level_);
    const int direction = tried_ - level_;
    // What the next trial will lose, if things stay as they are.
    const double lost = std::abs(seconds_[tried_] - seconds_[level_]) * (better ? batch_ : rows_);
    if (better) level_ = tried_;
    if (better) settled_ = false;
    chosen_ = better && direction < 0;
    // On in the same direction while that pays, else the other neighbour, if there is one.
    const auto exists = [&](int level) { return level >= 0 && level <= last_; };
    tried_ = level_ + (better ? direction : -direction);
    if (!exists(tried_)) tried_ = level_ + (better ? -direction : direction);
    measured_ = kNone;
    begun_ = late_ > 0;
    late_ = since_trial_ = 0;
    look_anew();
    if (better && interval_ == 0 && seconds_[tried_] == 0) return measure(tried_);  // the first descent does not wait
    // A choice just made is doubted soon.
    shortest_ = lost / kShare;
    interval_ = std::max(better ? kFirstInterval : std::clamp(2 * interval_, kFirstInterval, kLongestInterval), shortest_);
  }

  int most_;
  bool choose_;
  int level_ = 0, tried_ = 1, last_ = 0;  // most >> level threads are the choice; the level tried now or next; that of one thread
  double seconds_[31] = {};               // a row's time at each level, as measured,
  double excess_[31] = {};                // and what part of that it took longer, as the choice
  int measured_ = kNone, part_ = 0;       // the level measured now, and which part of that
  double parts_[kParts + 1] = {};         // a row's time in each, ascending
  double rows_ = 0, batch_ = 0;           // of this measurement, and of a step
  double spent_ = 0;                      // in it, without its first part
  bool begun_ = false;                    // the first interval is over
  double late_ = 0;                       // a row's time of late
  double since_trial_ = 0, interval_ = 0, shortest_ = 0;
  double looked_ = 0, looked_rows_ = 0, waited_ = 0;  // of a window: seconds, rows, and the seconds that a thread waited for a core
  double row_ = 0;                                    // of the last window: a row's time
  int crowded_ = 0;                                   // and how many of the last ones in a row were spent on waiting
  bool settled_ = false, chosen_ = false;             // the team has stood a trial; the last trial has chosen it for being larger
  double seldom_ = kHalvedInterval;                   // after a halving
  int halved_ = kNone;                                // the level of the last one
};

}  // namespace layerwise
