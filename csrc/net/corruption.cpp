#include "net/corruption.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/check.h"

namespace layerwise {
namespace {

std::uint64_t threshold_of(double probability) { return static_cast<std::uint64_t>(probability * 0x1p32); }

template <class T>
void check(const NoiseSpec& noise, index_t cols) {
  const bool probability = noise.kind != NoiseKind::none && noise.kind != NoiseKind::gaussian;
  const auto level = [&](double x) {
    require(x >= 0 && std::isfinite(static_cast<double>(static_cast<T>(x))),
            "the noise's levels must be finite in the network's dtype and not negative");
    require(!probability || x <= 1, "the noise's levels must be in [0, 1], except for gaussian");
  };
  level(noise.level);
  for (const double x : noise.levels) level(x);
  require(noise.levels.empty() || static_cast<index_t>(noise.levels.size()) == cols,
          "the noise's levels must be empty or have one value a column");
  require(noise.kind != NoiseKind::dropout || (noise.levels.empty() && static_cast<T>(noise.level) < 1),
          "the noise's level must be one number below 1 for dropout");
  require(!noise.exact || (noise.kind == NoiseKind::masking && noise.levels.empty()), "only masking with one level can be exact");
  for (const double x : {noise.corrupted_weight, noise.clean_weight}) {
    require(x >= 0 && std::isfinite(static_cast<double>(static_cast<T>(x))), "the cells' weights must be finite and not negative");
  }
  require(noise.groups.empty() || (noise.kind == NoiseKind::swap && noise.groups.back().end == cols),
          "only swap noise has groups, which must cover all columns");
  require(!noise.emphasises() || probability, "gaussian noise falls on every input, so there is nothing to emphasise");
}

}  // namespace

template <class T>
Corruption<T>::Corruption(const NoiseSpec& noise, std::uint64_t seed, index_t cols)
    : kind_((check<T>(noise, cols), noise.kind)), seed_(seed), cols_(cols), scalars_{} {
  const auto padded = static_cast<std::size_t>(panels(cols) * kPanel);
  if (kind_ == NoiseKind::gaussian) {
    levels_.assign(noise.levels.begin(), noise.levels.end());
    if (!levels_.empty()) levels_.resize(padded);
  } else {
    for (const double level : noise.levels) thresholds_.push_back(threshold_of(level));
    if (!thresholds_.empty()) thresholds_.resize(padded);
    scalars_.threshold = threshold_of(noise.level);
  }
  if (!noise.groups.empty()) {
    leaders_.resize(padded);
    std::iota(leaders_.begin(), leaders_.end(), index_t{0});
  }
  for (const ColumnGroup& group : noise.groups) {
    if (group.kind != GroupKind::category) continue;
    const auto of_group = [&](auto& values) {
      if (!values.empty())
        std::fill(values.begin() + group.begin, values.begin() + group.end, values[static_cast<std::size_t>(group.begin)]);
    };
    of_group(leaders_);
    of_group(thresholds_);
  }
  scalars_.level = static_cast<T>(noise.level);
  scalars_.low = static_cast<T>(noise.low);
  scalars_.high = static_cast<T>(noise.high);
  scalars_.count = noise.exact ? static_cast<index_t>(std::floor(noise.level * static_cast<double>(cols) + 0.5)) : -1;
  scalars_.keep_scale = static_cast<T>(1 / (1 - (kind_ == NoiseKind::dropout ? noise.level : 0)));
  scalars_.corrupted_weight = static_cast<T>(noise.corrupted_weight);
  scalars_.clean_weight = static_cast<T>(noise.clean_weight);
}

template <class T>
void Corruption<T>::apply(const Kernels<T>& k, const Panels<T>& x, index_t r, const Panels<T>& weights, const Data<T>& data, index_t id,
                          std::uint32_t step) const {
  NoiseScalars<T> scalars = scalars_;
  // Set here and not once, so that a copy of this object never points into the first one.
  scalars.thresholds = thresholds_.empty() ? nullptr : thresholds_.data();
  scalars.levels = levels_.empty() ? nullptr : levels_.data();
  scalars.leaders = leaders_.empty() ? nullptr : leaders_.data();
  const RandomPlace place{seed_, static_cast<std::uint64_t>(id * panels(cols_)), step, kNoiseStream};
  T* weights_of_row = weights.data == nullptr ? nullptr : weights.at(0, r);
  k.noise[static_cast<int>(kind_)]({x.at(0, r), x.step, cols_, place, weights_of_row, weights.step, data.x, data.rows, id}, scalars);
}

template class Corruption<float>;
template class Corruption<double>;

}  // namespace layerwise
