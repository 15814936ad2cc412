// Prints whether each of two threads finds the cores far from each other, by a clock that is `factor` times as fast as the true one and
// takes `delay` true nanoseconds to read.
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "base/parallel.h"

namespace {

double factor = 1, delay = 0;

double true_nanoseconds(clockid_t clock) {
  timespec time;
  syscall(SYS_clock_gettime, clock, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

}  // namespace

// Instead of the C library's.
extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static const double start = true_nanoseconds(CLOCK_MONOTONIC);
  const double now = true_nanoseconds(clock);
  while (true_nanoseconds(clock) < now + delay) {
  }
  const double passed = factor * (now - start);
  time->tv_sec = static_cast<time_t>(passed / 1e9);
  time->tv_nsec = static_cast<long>(passed - 1e9 * static_cast<double>(time->tv_sec));
  return 0;
}

int main(int, char** arguments) {
  factor = std::atof(arguments[1]);
  delay = std::atof(arguments[2]);
  int far[2] = {}, core[2] = {};
  layerwise::parallel(2, [&](layerwise::Team& team) {
    // The system may need some milliseconds until each of them has a core of its own, if there are two.
    for (int round = 0; round < 10000; ++round) {
      team.barrier();
      core[team.rank()] = sched_getcpu();
      team.barrier();
      if (core[0] != core[1]) break;
    }
    // And it may take one of them for a moment.
    for (int again = 0; again < 9; ++again) far[team.rank()] += team.cores_are_far();
  });
  std::printf("%d %d\n", far[0] > 4, far[1] > 4);
}
