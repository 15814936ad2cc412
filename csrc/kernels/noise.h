// What corrupts the input of a denoising autoencoder (Vincent et al. 2010, section 3.3), one row at a time.
#pragma once

#include "kernels/kernels.h"
#include "kernels/random.h"
#include "kernels/vmath.h"

namespace layerwise {
namespace {

// Which columns of a row a noise falls on, panel after panel: all ones in hit[c], or 0. Three rules: a word below one threshold,
// below its column's threshold, or a fixed number of columns.
template <class T>
class Choice {
 public:
  Choice(const NoiseRow<T>& row, const NoiseScalars<T>& s) : s_(s), all_(s.threshold), left_(row.cols), wanted_(s.count) {}

  void next(const std::uint32_t* words, index_t panel, std::uint32_t* hit) {
    const index_t cols = left_ < kPanel ? left_ : kPanel;
    if (s_.count >= 0) {
      // Selection sampling (Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S): of the n columns left, m wanted, the next is
      // taken with probability m / n. Every set of `count` columns is equally likely, within 2^-32 a step.
      for (index_t c = 0; c < kPanel; ++c) {
        const std::uint64_t place = c < cols ? words[c] * static_cast<std::uint64_t>(left_ - c) >> 32 : ~std::uint64_t{0};
        hit[c] = place < static_cast<std::uint64_t>(wanted_) ? ~0u : 0u;
        wanted_ -= hit[c] & 1u;
      }
    } else if (s_.thresholds != nullptr) {
      const std::uint64_t* limit = s_.thresholds + panel * kPanel;
      for (index_t c = 0; c < kPanel; ++c) hit[c] = (words[c] < limit[c]) & (c < cols) ? ~0u : 0u;
    } else {
      for (index_t c = 0; c < kPanel; ++c) hit[c] = all_(words[c]) & (c < cols) ? ~0u : 0u;
    }
    left_ -= cols;
  }

 private:
  const NoiseScalars<T>& s_;
  Below all_;
  index_t left_, wanted_;
};

template <class T>
inline RandomPlace place_of(const NoiseRow<T>& row, index_t panel) {
  RandomPlace place = row.place;
  place.group += static_cast<std::uint64_t>(panel);
  return place;
}

// Columns that follow a leader get its words; `held` is the last leader's, for those that go on in the next panel.
template <class T>
inline void follow_leaders(const NoiseScalars<T>& s, index_t panel, std::uint32_t* words, std::uint32_t& held) {
  if (s.leaders == nullptr) return;
  const index_t first = panel * kPanel;
  for (index_t c = 0; c < kPanel; ++c) {
    if (s.leaders[first + c] == first + c) held = words[c];
    words[c] = held;
  }
}

// replace(x, words, hit, panel) does the noise on 32 numbers.
template <class T, class Replace>
inline void corrupt_chosen(const NoiseRow<T>& row, const NoiseScalars<T>& s, Replace replace) {
  Choice<T> choice(row, s);
  std::uint32_t held = 0;
  for (index_t panel = 0; panel < panels(row.cols); ++panel) {
    std::uint32_t words[kPanel], hit[kPanel];
    random_words(place_of(row, panel), words);
    follow_leaders(s, panel, words, held);
    choice.next(words, panel, hit);
    replace(row.x + panel * row.step, words, hit, panel);
    if (row.weights == nullptr) continue;
    T* weight = row.weights + panel * row.weights_step;
    const T corrupted = s.corrupted_weight, clean = s.clean_weight;
    for (index_t c = 0; c < kPanel; ++c) weight[c] = hit[c] ? corrupted : clean;
  }
}

template <class T>
void leave_alone(const NoiseRow<T>&, const NoiseScalars<T>&) {}

template <class T>
void mask(const NoiseRow<T>& row, const NoiseScalars<T>& s) {
  corrupt_chosen(row, s, [](T* x, const std::uint32_t*, const std::uint32_t* hit, index_t) {
    for (index_t c = 0; c < kPanel; ++c) x[c] = hit[c] ? T(0) : x[c];
  });
}

// Inverted dropout of the inputs (Srivastava et al. 2014).
template <class T>
void drop_inputs(const NoiseRow<T>& row, const NoiseScalars<T>& s) {
  const T keep = s.keep_scale;
  corrupt_chosen(row, s, [keep](T* x, const std::uint32_t*, const std::uint32_t* hit, index_t) {
    for (index_t c = 0; c < kPanel; ++c) x[c] = hit[c] ? T(0) : x[c] * keep;
  });
}

// A word below half the threshold is pepper, the other chosen ones are salt.
template <class T>
void salt_and_pepper(const NoiseRow<T>& row, const NoiseScalars<T>& s) {
  const Below pepper(s.threshold / 2);
  const T low = s.low, high = s.high;
  corrupt_chosen(row, s, [&](T* x, const std::uint32_t* words, const std::uint32_t* hit, index_t panel) {
    if (s.thresholds == nullptr) {
      for (index_t c = 0; c < kPanel; ++c) {
        const T value = pepper(words[c]) ? low : high;
        x[c] = hit[c] ? value : x[c];
      }
    } else {
      const std::uint64_t* limit = s.thresholds + panel * kPanel;
      for (index_t c = 0; c < kPanel; ++c) {
        const T value = words[c] < limit[c] / 2 ? low : high;
        x[c] = hit[c] ? value : x[c];
      }
    }
  });
}

// The same column's value in another row of the data set, each from a row of its own: of the n - 1 others, number (word * (n - 1)) >> 32,
// with words of the next stream. Columns with one leader come from one row.
template <class T>
void swap_rows(const NoiseRow<T>& row, const NoiseScalars<T>& s) {
  const auto others = static_cast<std::uint64_t>(row.data_rows - 1);
  std::uint32_t held = 0;
  corrupt_chosen(row, s, [&](T* x, const std::uint32_t*, const std::uint32_t* hit, index_t panel) {
    if (others == 0) return;
    RandomPlace place = place_of(row, panel);
    ++place.stream;
    std::uint32_t words[kPanel];
    random_words(place, words);
    follow_leaders(s, panel, words, held);
    for (index_t c = 0; c < kPanel; ++c) {
      if (!hit[c]) continue;
      auto other = static_cast<index_t>(words[c] * others >> 32);
      other += other >= row.id ? 1 : 0;
      x[c] = row.data[other * row.cols + panel * kPanel + c];
    }
  });
}

// Box-Muller: words 0 and 1 of a block give the normal numbers of their two columns, words 2 and 3 theirs; that is,
// columns c and c + 8, and columns c + 16 and c + 24, for c = 0..7. With the uniform numbers u1 = (first word + 1/2) / 2^32
// and u2 = (second word + 1/2) / 2^32: sqrt(-2 log u1) cos(2 pi u2) for the first, sin for the second column.
template <class T>
inline void normal_numbers(const RandomPlace& place, T level, T* noise) {
  std::uint32_t words[kPanel];
  random_words(place, words);
  constexpr index_t kPairs = kPanel / 2;
  // Words as fractions in two exact parts, so that one rounding is left; 1 - u1 keeps the digits of a u1 near 1.
  T uniform[kPairs], rest[kPairs], turn[kPairs];
  const T high_part = T(1) / T(16777216), low_part = T(1) / T(4294967296.0);
  for (index_t i = 0; i < kPairs; ++i) {
    const std::uint32_t first = words[i + (i & 8)], second = words[i + (i & 8) + 8], missing = ~first;
    uniform[i] = T(std::int32_t(first >> 8)) * high_part + (T(std::int32_t(first & 255)) + T(0.5)) * low_part;
    rest[i] = T(std::int32_t(missing >> 8)) * high_part + (T(std::int32_t(missing & 255)) + T(0.5)) * low_part;
    turn[i] = T(std::int32_t(second) >> 8) * high_part + (T(std::int32_t(second & 255)) + T(0.5)) * low_part;
  }
  for (index_t i = 0; i < kPairs; i += kLanes<T>) {
    const Vec<T> u = load(uniform + i);
    const IntVec<T> near_one = u > T(0.75);
    const SplitLog<T> split = split_log<T>(u);
    const Vec<T> minus_log = -join_log<T>(near_one ? Vec<T>{} : split.exponent, near_one ? -load(rest + i) : split.f);
    const Vec<T> radius = sqrt(minus_log * T(2)) * level;
    const SinCos<T> direction = sincos_of_turn<T>(load(turn + i));
    T first[kLanes<T>], second[kLanes<T>];
    store(first, radius * direction.cos);
    store(second, radius * direction.sin);
    for (index_t lane = 0; lane < kLanes<T>; ++lane) {
      const index_t column = (i + lane) + ((i + lane) & 8);
      noise[column] = first[lane];
      noise[column + 8] = second[lane];
    }
  }
}

template <class T>
void gaussian(const NoiseRow<T>& row, const NoiseScalars<T>& s) {
  for (index_t panel = 0; panel < panels(row.cols); ++panel) {
    T noise[kPanel];
    normal_numbers(place_of(row, panel), s.levels == nullptr ? s.level : T(1), noise);
    if (s.levels != nullptr) {
      for (index_t c = 0; c < kPanel; ++c) noise[c] *= s.levels[panel * kPanel + c];
    }
    T* x = row.x + panel * row.step;
    const index_t cols = row.cols - panel * kPanel;
    for (index_t c = 0; c < kPanel; ++c) x[c] = c < cols ? x[c] + noise[c] : x[c];
  }
}

template <class T>
constexpr void fill_noises(Kernels<T>& table) {
  table.noise[static_cast<int>(NoiseKind::none)] = leave_alone<T>;
  table.noise[static_cast<int>(NoiseKind::masking)] = mask<T>;
  table.noise[static_cast<int>(NoiseKind::gaussian)] = gaussian<T>;
  table.noise[static_cast<int>(NoiseKind::salt_and_pepper)] = salt_and_pepper<T>;
  table.noise[static_cast<int>(NoiseKind::swap)] = swap_rows<T>;
  table.noise[static_cast<int>(NoiseKind::dropout)] = drop_inputs<T>;
}

}  // namespace
}  // namespace layerwise
