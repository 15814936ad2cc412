// How long a thread waited for a core: prints the seconds of two threads that work on one core for a fifth of a second, of two that sleep
// on it, and of one that works there alone.
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/parallel.h"

template <class Body>
double waited(int threads, Body body) {
  const auto begin = std::chrono::steady_clock::now();
  return layerwise::parallel_watched(threads, [&](layerwise::Team&) {
    while (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < 0.2) body();
  });
}

int main() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) return 1;
  std::printf("%.9g %.9g %.9g\n", waited(2, [] {}), waited(2, [] { usleep(1000); }), waited(1, [] {}));
}
