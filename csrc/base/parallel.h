// Threads: the only file pair that knows OpenMP is parallel.h / parallel.cpp.
//
// Every thread of a team runs the same function; barrier() separates its phases and share() gives each thread a contiguous
// part of the work. Work is cut by size and rank only, and no sum is split, so the number of threads cannot change a bit.
#pragma once

#include <atomic>
#include <type_traits>

#include "base/types.h"

namespace layerwise {

struct Range {
  index_t begin, end;
};

// What a thread tells the others of its team.
struct alignas(64) Signals {
  std::atomic<index_t> arrivals{0}, handed_on{0}, echoes{0};
  std::atomic<bool> far{false}, awake{false};
};

// What `Team::cores_are_far` answers for teams of several threads that begin from now on: supposing either is for tests.
enum class Cores { measured, near, far };
void suppose_cores(Cores cores);

class Team {
 public:
  Team() : Team(0, 1, nullptr, Cores::measured) {}
  Team(int rank, int size, Signals* signals, Cores cores) : rank_(rank), size_(size), signals_(signals), cores_(cores) {}
  int rank() const { return rank_; }
  int size() const { return size_; }
  bool leads() const { return rank_ == 0; }
  void barrier() {
    if (size_ > 1) wait_for_all();
  }
  Range share(index_t units) const { return {units * rank_ / size_, units * (rank_ + 1) / size_}; }

  // After a rest: a woken thread may wait for the core of the one that has woken it, which thus gives it away where one is missing. (Not at
  // once: others that wait for the core would have it for milliseconds.)
  void let_leave();

  // Pieces that go through all threads in turn: a thread awaits each from the one before it, and hands it on. (A barrier must lie between
  // the last piece of one such round and what it changed being used for another purpose.)
  void await_piece();
  void hand_on() { signals_[rank_].handed_on.store(++pieces_, std::memory_order_release); }
  // Whether the first and the last thread are on cores between which a cache line takes long, as it does where they share no cache.
  // All threads ask, and get the same answer.
  bool cores_are_far();

 private:
  void wait_for_all();

  const int rank_, size_;
  Signals* const signals_;  // one for each thread
  const Cores cores_;
  index_t arrivals_ = 0, pieces_ = 0, echoes_ = 0;
};

// Cores this process may use: affinity, cgroup quota, OMP_NUM_THREADS or threadpoolctl; 1 in a forked child.
int default_threads();
// Threads worth starting for `work` multiply-adds, of which a thread should have at least `least`; `asked` (if not 0) is a wish that is
// obeyed up to 64 threads or four a core.
inline constexpr double kLeastWork = 1e6;        // where each layer ends with a barrier
inline constexpr double kLeastWorkByRows = 2e5;  // where threads keep to rows of their own
inline constexpr double kLeastWorkAsleep = 4e6;  // where they must be woken, and that is all they are wanted for
int threads_for(double work, int asked, double least = kLeastWork);
// Whether the calling thread's last region ended so recently that its team has not fallen asleep, and no other team is at work. (A region
// of one thread counts as the last one, too: who calls in short order wants the others awake.)
bool team_is_awake();

enum class Subnormals { flushed, kept };

namespace detail {
void run_team(int threads, Subnormals subnormals, void (*body)(Team&, void*), void* context);

// The seconds since it was made in which the thread had work and another thread had its core.
class CoreWait {
 public:
  CoreWait();
  double seconds() const;

 private:
  long taken_;
  double began_, worked_;
};
}  // namespace detail

// Runs body(team) on `threads` threads. The body must not throw: it allocates nothing and checks nothing.
// Subnormal numbers count as zero inside, unless they are kept, and the caller's floating-point mode is restored.
template <class Body>
void parallel(int threads, Body&& body, Subnormals subnormals = Subnormals::flushed) {
  const auto call = [](Team& team, void* context) { (*static_cast<std::remove_reference_t<Body>*>(context))(team); };
  detail::run_team(threads, subnormals, call, &body);
}

// The same, with subnormal numbers flushed; returns, where `watches`, how many seconds the thread that waited longest for a core waited.
template <class Body>
double parallel_watched(int threads, bool watches, Body&& body) {
  if (!watches) {
    parallel(threads, body);
    return 0;
  }
  std::atomic<double> longest{0};
  parallel(threads, [&](Team& team) {
    const detail::CoreWait wait;
    body(team);
    const double seconds = wait.seconds();
    double known = longest.load();
    while (seconds > known && !longest.compare_exchange_weak(known, seconds)) {
    }
  });
  return longest;
}

}  // namespace layerwise
