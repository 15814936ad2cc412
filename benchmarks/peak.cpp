// What the processor can do at this moment: fused multiply-adds in registers alone, on some threads, for some milliseconds.
// Compiled by _timing.py for the machine it runs on; a host that has taken a core away shows here and nowhere else.
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
  for (int i = 1; i < kChains; ++i) sum += chain[i];
  sink.store(sum[0], std::memory_order_relaxed);
  return done;
}

extern "C" double fma_gflops(int threads, double seconds) {
  std::atomic<float> sink{0};
  std::vector<double> done(threads);
  std::vector<std::thread> others;
  const Clock::time_point start = Clock::now();
  const Clock::time_point deadline = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (int t = 1; t < threads; ++t) others.emplace_back([&, t] { done[t] = count(deadline, sink); });
  done[0] = count(deadline, sink);
  for (std::thread& other : others) other.join();
  double sum = 0;
  for (const double one : done) sum += one;
  return 2 * sum / std::chrono::duration<double>(Clock::now() - start).count() / 1e9;
}
