#include "net/streams.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/dispatch.h"

namespace layerwise {
namespace {

// Hands out a stream's words one after another.
class Words {
 public:
  Words(std::uint64_t seed, std::uint32_t step, std::uint32_t stream) : place_{seed, 0, step, stream} {}

  std::uint32_t next() {
    if (used_ == kPanel) {
      instruction_set().kernels->random_words(place_, words_);
      ++place_.group;
      used_ = 0;
    }
    return words_[used_++];
  }
  std::uint64_t next64() {
    const std::uint64_t low = next();
    return static_cast<std::uint64_t>(next()) << 32 | low;
  }
  double uniform() { return static_cast<double>(next64() >> 11) * 0x1p-53; }

 private:
  RandomPlace place_;
  std::uint32_t words_[kPanel];
  index_t used_ = kPanel;
};

}  // namespace

void random_words(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, std::uint32_t* out, index_t n) {
  Words words(seed, step, stream);
  std::generate_n(out, n, [&] { return words.next(); });
}

void random_uniform(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, double* out, index_t n) {
  Words words(seed, step, stream);
  std::generate_n(out, n, [&] { return words.uniform(); });
}

void random_normal(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, double* out, index_t n) {
  constexpr double kTwoPi = 6.283185307179586;
  Words words(seed, step, stream);
  for (index_t i = 0; i < n; i += 2) {
    const double radius = std::sqrt(-2 * std::log(1 - words.uniform())), angle = kTwoPi * words.uniform();
    out[i] = radius * std::cos(angle);
    if (i + 1 < n) out[i + 1] = radius * std::sin(angle);
  }
}

void random_shuffle(std::uint64_t seed, std::uint32_t step, std::uint32_t stream, index_t* order, index_t n) {
  Words words(seed, step, stream);
  for (index_t i = n - 1; i > 0; --i) {
    // The high half of a 64 x 64 bit product: uniform on 0 .. i within 2^-64 * i.
    const auto j = static_cast<index_t>(static_cast<unsigned __int128>(words.next64()) * static_cast<std::uint64_t>(i + 1) >> 64);
    std::swap(order[i], order[j]);
  }
}

}  // namespace layerwise
