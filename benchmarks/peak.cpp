// What the machine gives at this moment, for _timing.py, which compiles it: fused multiply-adds in registers alone, on some threads, for
// some milliseconds, where a host that has taken a core away shows; and how long a cache line takes from one core to another and back,
// where one shows that has moved a core to where the other's caches are far.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Vector __attribute__((vector_size(4 * kLanes)));
constexpr int kChains = 10, kRounds = 2000;

using Clock = std::chrono::steady_clock;

// The caller's cores but for the one it runs on: a new thread starts where its maker runs, and would share that core for some milliseconds.
static std::vector<int> other_cores() {
  std::vector<int> found;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return found;  // more cores than the set has room for
  const int own = sched_getcpu();
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed) && core != own) found.push_back(core);
  }
  return found;
}

// Moves the thread that calls it to the `i`-th of those cores.
static void move_to(const std::vector<int>& cores, int i) {
  if (cores.empty()) return;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(cores[i % cores.size()], &one);
  sched_setaffinity(0, sizeof one, &one);
}

// Multiply-adds of one thread until the deadline.
static double count(Clock::time_point deadline, std::atomic<float>& sink) {
  Vector chain[kChains] = {}, factor = Vector{} + 0.5f, term = Vector{} + 1.0f;
  double done = 0;
  while (Clock::now() < deadline) {
    for (int round = 0; round < kRounds; ++round) {
#pragma GCC unroll 10
      for (int i = 0; i < kChains; ++i) {
        chain[i] = chain[i] * factor + term;
        asm volatile("" : "+v"(chain[i]));  // or the compiler would see where this converges
      }
    }
    done += double(kRounds) * kChains * kLanes;
  }
  Vector sum = chain[0];
#pragma GCC unroll 10
  for (int i = 1; i < kChains; ++i) sum += chain[i];  // unrolled too, or the chains would lie in memory
  sink.store(sum[0], std::memory_order_relaxed);
  return done;
}

extern "C" double fma_gflops(int threads, double seconds) {
  std::atomic<float> sink{0};
  std::vector<double> done(threads);
  std::vector<std::thread> others;
  const std::vector<int> cores = other_cores();
  std::atomic<int> placed{1};
  std::atomic<bool> started{false};
  Clock::time_point deadline;
  for (int t = 1; t < threads; ++t) {
    others.emplace_back([&, t] {
      move_to(cores, t - 1);
      ++placed;
      while (!started.load(std::memory_order_acquire)) std::this_thread::yield();
      done[t] = count(deadline, sink);
    });
  }
  while (placed.load() < threads) std::this_thread::yield();  // or the time would count in which they wait for this thread's core
  const Clock::time_point start = Clock::now();
  deadline = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  started.store(true, std::memory_order_release);
  done[0] = count(deadline, sink);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double one : done) sum += one;
  return 2 * sum / std::chrono::duration<double>(Clock::now() - start).count() / 1e9;
}

// Seconds.
extern "C" double line_round_trip(double seconds) {
  constexpr int kTrips = 20;
  alignas(128) static std::atomic<int> turn;
  turn = 0;
  std::atomic<bool> over{false};
  const std::vector<int> cores = other_cores();
  std::thread other([&] {
    move_to(cores, 0);
    for (int next = 1; !over.load(std::memory_order_relaxed);) {
      if (turn.load(std::memory_order_acquire) != next) continue;
      turn.store(next + 1, std::memory_order_release);
      next += 2;
    }
  });
  int sent = 1;
  const auto trips = [&](int number) {
    const Clock::time_point began = Clock::now();
    for (int trip = 0; trip < number; ++trip, sent += 2) {
      turn.store(sent, std::memory_order_release);
      while (turn.load(std::memory_order_acquire) != sent + 1) {
      }
    }
    return std::chrono::duration<double>(Clock::now() - began).count() / number;
  };
  trips(1);  // until the other is in its place
  const Clock::time_point deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  // The best of many short series, one at least: one in which a thread was held says nothing.
  double best = trips(kTrips);
  while (Clock::now() < deadline) best = std::min(best, trips(kTrips));
  over = true;
  other.join();
  return best;
}
