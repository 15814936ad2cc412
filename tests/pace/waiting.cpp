// How long threads wait for a core, of a fifth of a second on one core: prints the seconds for two threads that work, for two that sleep,
// for one that works alone, and for one that works beside another process, looked at every 0.3 ms.
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

#include "base/parallel.h"

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class Body>
double waited(int threads, double seconds, Body body) {
  const double end = now() + seconds;
  return layerwise::parallel_watched(threads, true, [&](layerwise::Team&) {
    while (now() < end) body();
  });
}

int main() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) return 1;
  const double working = waited(2, 0.2, [] {}), sleeping = waited(2, 0.2, [] { usleep(1000); });
  const pid_t other = fork();
  if (other == 0) {
    for (volatile long i = 0;; i = i + 1) {
    }
  }
  double beside = 0;
  for (const double end = now() + 0.2; now() < end;) beside += waited(1, 0.3e-3, [] {});
  kill(other, SIGKILL);
  std::printf("%.9g %.9g %.9g\n", working, sleeping, beside);
}
