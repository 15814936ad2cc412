#include "base/parallel.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <strings.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace layerwise {
namespace {

// libgomp's worker threads do not exist in a forked child and waiting for them would hang for ever, so a child runs on one thread.
std::atomic<bool> forked{false};
const int registered = pthread_atfork(nullptr, nullptr, [] { forked = true; });

// Flush-to-zero in training: moments of weights that never get a gradient decay into subnormal numbers, which are several times slower.
// All threads have the same mode, whatever the caller's is.
class SubnormalMode {
 public:
#if defined(__x86_64__)
  explicit SubnormalMode(Subnormals wanted) : mode_(_mm_getcsr()) {
    constexpr unsigned kFlush = 0x8040;
    _mm_setcsr(wanted == Subnormals::flushed ? mode_ | kFlush : mode_ & ~kFlush);
  }
  ~SubnormalMode() { _mm_setcsr(mode_); }

 private:
  unsigned mode_;
#elif defined(__aarch64__)
  explicit SubnormalMode(Subnormals wanted) {
    constexpr std::uint64_t kFlush = 1ull << 24;
    asm volatile("mrs %0, fpcr" : "=r"(mode_));
    asm volatile("msr fpcr, %0" ::"r"(wanted == Subnormals::flushed ? mode_ | kFlush : mode_ & ~kFlush));
  }
  ~SubnormalMode() { asm volatile("msr fpcr, %0" ::"r"(mode_)); }

 private:
  std::uint64_t mode_;
#endif
};

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// About 50 microseconds of spinning, then let others have the core: the missing thread may be waiting for it.
template <class Waits>
void spin_while(Waits waits, int& spins) {
  for (; waits(); ++spins) {
    if (spins < 2000) {
      pause();
    } else {
      sched_yield();
    }
  }
}
template <class Waits>
void spin_while(Waits waits) {
  int spins = 0;
  spin_while(waits, spins);
}

std::atomic<Cores> supposed{Cores::measured};

// Whole cores' worth of the cgroup's CPU quota, or a large number where there is none.
int quota() {
  constexpr int kNone = 1 << 20;
  const auto cores = [](double allowed, double period) { return std::max(1, static_cast<int>(std::ceil(allowed / period))); };
  std::string line, path;
  std::ifstream groups("/proc/self/cgroup");
  while (std::getline(groups, line)) {
    if (line.rfind("0::", 0) == 0) path = line.substr(3);
  }
  int best = kNone;
  // version 2: every ancestor's limit holds
  for (;;) {
    std::ifstream file("/sys/fs/cgroup" + (path == "/" ? "" : path) + "/cpu.max");
    std::string allowed;
    double period = 0;
    if (file >> allowed >> period && allowed != "max" && period > 0) best = std::min(best, cores(std::atof(allowed.c_str()), period));
    if (path.empty() || path == "/") break;
    path = path.substr(0, path.rfind('/'));
  }
  double allowed = 0, period = 0;
  std::ifstream limit("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), length("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (limit >> allowed && length >> period && allowed > 0 && period > 0) best = std::min(best, cores(allowed, period));
  return best;
}

int affinity() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)));
}

// A new thread starts on the core of the one that made it, and one that wakes may be put there: two that wait for each other would share
// it for some milliseconds, until the system moves one. So a thread leaves such a core itself, and may go where it likes from then on.
void leave_core(int leaders) {
  cpu_set_t allowed, others;
  if (leaders < 0 || sched_getcpu() != leaders || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  others = allowed;
  CPU_CLR(leaders, &others);
  if (CPU_COUNT(&others) > 0 && sched_setaffinity(0, sizeof others, &others) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
}

double seconds_of(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// How many regions there are at this moment, and when the calling thread's last one ended.
std::atomic<int> regions{0};
thread_local double last_region_ended = 0;
class Region {
 public:
  Region() { ++regions; }
  ~Region() {
    --regions;
    last_region_ended = seconds_of(CLOCK_MONOTONIC);
  }
  Region(const Region&) = delete;
};

// Whether the environment has OpenMP's threads fall asleep at once.
const bool passive = [] {
  const char *policy = std::getenv("OMP_WAIT_POLICY"), *spins = std::getenv("GOMP_SPINCOUNT");
  return (policy != nullptr && strcasecmp(policy, "passive") == 0) || (spins != nullptr && std::atof(spins) == 0);
}();

// How often the calling thread's core was given to another thread though it had work.
long times_taken() {
  rusage use;
  getrusage(RUSAGE_THREAD, &use);
  return use.ru_nivcsw;
}

}  // namespace

// A thread's arrival is a word of its own that all others read. (Threads that count together in one place wait for its cache line in turn;
// where they pass on whom they have heard of, all wait for one that has come and then lost its core.)
void Team::wait_for_all() {
  signals_[rank_].arrivals.store(++arrivals_, std::memory_order_release);
  int spins = 0;
  for (int ahead = 1; ahead < size_; ++ahead) {
    const std::atomic<index_t>& other = signals_[rank_ + ahead - (rank_ + ahead < size_ ? 0 : size_)].arrivals;
    spin_while([&] { return other.load(std::memory_order_acquire) < arrivals_; }, spins);
  }
}

void Team::let_leave() {
  constexpr int kSpins = 600;  // some 20 microseconds
  if (!leads()) return signals_[rank_].awake.store(true, std::memory_order_relaxed);
  const auto asleep = [](const Signals& signals) { return !signals.awake.load(std::memory_order_relaxed); };
  for (int spins = 0; spins < kSpins; ++spins) {
    if (std::none_of(signals_ + 1, signals_ + size_, asleep)) return;
    pause();
  }
  sched_yield();
}

void Team::await_piece() {
  if (rank_ == 0) return;
  const std::atomic<index_t>& before = signals_[rank_ - 1].handed_on;
  spin_while([&] { return before.load(std::memory_order_acquire) <= pieces_; });
}

bool Team::cores_are_far() {
  constexpr index_t kEchoes = 16;
  constexpr double kFar = 150e-9;  // there and back; 50 to 80 ns where cores share a cache, 200 to 300 where they do not
  if (size_ == 1) return false;
  if (cores_ != Cores::measured) return cores_ == Cores::far;
  Signals &first = signals_[0], &last = signals_[size_ - 1];
  // The shortest counts: a disturbed echo may take milliseconds. Reading the clock is a call of the system on some machines.
  double shortest = 1, clock = 1;
  for (index_t i = 0; i < kEchoes && leads(); ++i) {
    const double asked = seconds_of(CLOCK_MONOTONIC), began = seconds_of(CLOCK_MONOTONIC);
    clock = std::min(clock, began - asked);
    first.echoes.store(++echoes_, std::memory_order_release);
    spin_while([&] { return last.echoes.load(std::memory_order_acquire) < echoes_; });
    shortest = std::min(shortest, seconds_of(CLOCK_MONOTONIC) - began);
  }
  for (index_t i = 0; i < kEchoes && rank_ == size_ - 1; ++i) {
    ++echoes_;
    spin_while([&] { return first.echoes.load(std::memory_order_acquire) < echoes_; });
    last.echoes.store(echoes_, std::memory_order_release);
  }
  if (leads()) first.far = shortest - clock > kFar;
  barrier();
  return first.far;
}

void suppose_cores(Cores cores) { supposed = cores; }

int default_threads() {
  if (forked) return 1;
  static const int allowed = quota();
  return std::max(1, std::min({affinity(), allowed, omp_get_max_threads()}));
}

int threads_for(double work, int asked, double least) {
  if (forked) return 1;
  // libgomp ends the process when it cannot make a thread, so a wish far beyond the cores is not obeyed to the letter.
  if (asked > 0) return std::min(asked, std::max(64, 4 * affinity()));
  // With less, waiting for each other costs more than the second core brings. (Which cores there are is asked of the system each time.)
  const double worth = work / least;
  return worth < 2 ? 1 : static_cast<int>(std::min<double>(default_threads(), worth));
}

bool team_is_awake() {
  constexpr double kAwake = 60e-6;  // by the spin count that the package sets, threads of Zen 4 wait a little longer
  return !passive && regions == 0 && seconds_of(CLOCK_MONOTONIC) - last_region_ended < kAwake;
}

namespace detail {

// Reading the thread's clock brings the system's account up to date, and it may then give the core away, so that this comes last here
// and first there.
CoreWait::CoreWait() : taken_(times_taken()), began_(seconds_of(CLOCK_MONOTONIC)), worked_(seconds_of(CLOCK_THREAD_CPUTIME_ID)) {}

// A core that is taken away comes back after some milliseconds. What is missing beyond that was no other thread's: the thread slept, for
// the disk perhaps (X may be a memory map), or the machine's host had the core.
double CoreWait::seconds() const {
  constexpr double kTurn = 0.01;
  const double worked = seconds_of(CLOCK_THREAD_CPUTIME_ID) - worked_, idle = seconds_of(CLOCK_MONOTONIC) - began_ - worked;
  return std::clamp(idle, 0.0, kTurn * static_cast<double>(times_taken() - taken_));
}

void run_team(int threads, Subnormals subnormals, void (*body)(Team&, void*), void* context) {
  const bool asleep = threads > 1 && !team_is_awake();
  const Region region;
  if (threads <= 1 || forked || omp_in_parallel()) {
    Team team;
    const SubnormalMode mode(subnormals);
    body(team, context);
    return;
  }
  std::vector<Signals> signals(static_cast<std::size_t>(threads));
  const Cores cores = supposed;
  const int core = sched_getcpu();
#pragma omp parallel num_threads(threads)
  {
    Team team(omp_get_thread_num(), omp_get_num_threads(), signals.data(), cores);  // the runtime may give fewer threads than asked for
    if (!team.leads()) leave_core(core);
    if (asleep) team.let_leave();
    const SubnormalMode mode(subnormals);
    body(team, context);
  }
}

}  // namespace detail
}  // namespace layerwise
