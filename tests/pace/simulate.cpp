// Runs Pace on a clock of its own. Standard input: threads, steps an epoch, the size of an epoch's last step, seconds to simulate,
// noise, the seconds that the first two stretches take longer and those of one with more threads than the stretch before, then any number
// of lines "until t t ... t w w ... w": to that second a step takes so many seconds with all threads, half of them, ..., one, of which a
// thread waits for a core that part w. Prints one line a stretch: the second it ended, its steps, threads and seconds.
#include <cstdio>
#include <iostream>
#include <random>
#include <vector>

#include "net/pace.h"

struct Times {
  double until;
  std::vector<double> step, waits;  // by how often the threads were halved
};

constexpr layerwise::index_t kRows = 100;  // of a batch

int main() {
  int threads;
  layerwise::index_t epoch;
  double last, seconds, noise, start, wake;
  std::cin >> threads >> epoch >> last >> seconds >> noise >> start >> wake;
  std::vector<Times> world;
  for (Times t; std::cin >> t.until; world.push_back(t)) {
    t.step.clear();
    t.waits.clear();
    for (int given = threads; given > 0; given /= 2) std::cin >> t.step.emplace_back();
    for (int given = threads; given > 0; given /= 2) std::cin >> t.waits.emplace_back();
  }
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  layerwise::Pace pace(threads, true);
  double now = 0;
  std::size_t place = 0;
  int stretches = 0, before = threads;
  for (layerwise::index_t done = 0; now < seconds;) {
    const layerwise::index_t steps = pace.stretch(epoch - done % epoch, kRows);
    const int given = pace.threads();
    int level = 0;
    while (threads >> level > given) ++level;
    const double began = now;
    if (stretches++ < 2) now += start;
    if (given > before) now += wake;
    before = given;
    double whole = 0, waited = 0;
    for (layerwise::index_t i = 0; i < steps; ++i) {
      const double size = (done + i + 1) % epoch == 0 ? last : 1;
      while (place + 1 < world.size() && now >= world[place].until) ++place;
      const double took = size * world[place].step[level] * (1 + noise * uniform(random));
      now += took;
      waited += took * world[place].waits[level];
      whole += size;
    }
    pace.took(kRows * whole, now - began, waited);
    done += steps;
    std::printf("%.9g %.9g %d %.9g\n", now, whole, given, now - began);
  }
}
