// Runs Pace on a clock of its own. Standard input: threads, steps an epoch, seconds to simulate, noise, then any number of lines
// "until team alone": to that second a step takes so many seconds with the team and with one thread. Prints one line a stretch:
// the second it ended, its steps, threads and seconds.
#include <cstdio>
#include <iostream>
#include <random>
#include <vector>

#include "net/pace.h"

struct Times {
  double until, team, alone;
};

int main() {
  int threads;
  layerwise::index_t epoch;
  double seconds, noise;
  std::cin >> threads >> epoch >> seconds >> noise;
  std::vector<Times> world;
  for (Times t; std::cin >> t.until >> t.team >> t.alone;) world.push_back(t);
  std::mt19937 random(1);
  std::uniform_real_distribution<double> uniform(0, 1);
  layerwise::Pace pace(threads, true);
  double now = 0;
  std::size_t place = 0;
  for (layerwise::index_t done = 0; now < seconds;) {
    const layerwise::index_t steps = pace.stretch(epoch - done % epoch);
    const int given = pace.threads();
    const double began = now;
    for (layerwise::index_t i = 0; i < steps; ++i) {
      while (place + 1 < world.size() && now >= world[place].until) ++place;
      now += (given == 1 ? world[place].alone : world[place].team) * (1 + noise * uniform(random));
    }
    pace.took(steps, now - began);
    done += steps;
    std::printf("%.9g %td %d %.9g\n", now, steps, given, now - began);
  }
}
