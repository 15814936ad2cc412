// Prints how often a thread of a team of so many came out of a barrier before another had come to it.
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/parallel.h"

int main(int, char** arguments) {
  const int threads = std::atoi(arguments[1]), rounds = std::atoi(arguments[2]);
  std::vector<std::atomic<int>> came(static_cast<std::size_t>(threads));
  std::atomic<int> early{0};
  layerwise::parallel(threads, [&](layerwise::Team& team) {
    for (int round = 1; round <= rounds; ++round) {
      // One of them comes late.
      for (volatile int wait = round % team.size() == team.rank() ? 2000 : 0; wait > 0; wait = wait - 1) {
      }
      came[static_cast<std::size_t>(team.rank())].store(round, std::memory_order_relaxed);
      team.barrier();
      for (const std::atomic<int>& other : came) early += other.load(std::memory_order_relaxed) < round;
    }
  });
  std::printf("%d\n", early.load());
}
