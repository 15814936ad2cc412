// Two fits at the same time on two cores, each with a Pace of its own, on a simulated clock. Arguments: seconds of a step with two threads
// and with one, steps an epoch, seconds to simulate, and how much later the second begins. Prints for both how many steps it made and how
// many seconds it had two threads.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "net/pace.h"

constexpr layerwise::index_t kRows = 32;  // of a batch

struct Fit {
  layerwise::Pace pace{2, true};
  double now = 0, began = 0, waited = 0, with_two = 0;
  layerwise::index_t left = 0, stretch = 0, steps = 0;
  int threads = 1;
};

int main(int, char** argv) {
  const double team = std::atof(argv[1]), alone = std::atof(argv[2]), seconds = std::atof(argv[4]);
  const layerwise::index_t epoch = std::atol(argv[3]);
  Fit fits[2];
  fits[1].now = std::atof(argv[5]);
  for (;;) {
    Fit& fit = fits[0].now <= fits[1].now ? fits[0] : fits[1];
    if (fit.now > seconds) break;
    if (fit.left == 0) {
      fit.left = fit.stretch = fit.pace.stretch(epoch - fit.steps % epoch, kRows);
      fit.threads = fit.pace.threads();
      fit.began = fit.now;
      fit.waited = 0;
    }
    // Each core is shared by the threads on it in turn; a team waits for its slowest thread.
    const int others = &fit == &fits[0] ? fits[1].threads : fits[0].threads, all = fit.threads + others;
    const double usual = fit.threads == 2 ? team : alone, took = usual * std::max(1.0, 0.5 * all);
    fit.now += took;
    fit.waited += took - usual;
    if (fit.threads == 2) fit.with_two += took;
    ++fit.steps;
    if (--fit.left == 0) fit.pace.took(static_cast<double>(fit.stretch * kRows), fit.now - fit.began, fit.waited);
  }
  for (const Fit& fit : fits) std::printf("%ld %.9g\n", static_cast<long>(fit.steps), fit.with_two);
}
