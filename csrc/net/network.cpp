#include "net/network.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/check.h"
#include "kernels/catalog.h"

namespace layerwise {
namespace {

constexpr index_t kLargest = index_t{1} << 31;  // features of a layer; keeps every product of sizes inside 64 bits

void check_groups(const LayerSpec& layer, bool is_last, const std::string& name) {
  if (layer.groups.empty()) return;
  require(is_last && layer.activation == Activation::identity, name + ": only a last layer of activation identity may have groups");
  index_t end = 0;
  for (const ColumnGroup& group : layer.groups) {
    require(group.begin == end && group.end > end, name + ": groups must follow one another, each of at least one column");
    end = group.end;
  }
  require(end == layer.n_out, name + ": groups must cover n_out columns");
}

void check_normalization(const LayerSpec& layer, bool is_last, double least, const std::string& name) {
  if (!layer.normalized) return;
  require(!is_last, name + ": the last layer cannot be normalised");
  require(layer.norm_momentum > 0 && layer.norm_momentum <= 1, name + ": the momentum of batch_norm must be in (0, 1]");
  require(layer.norm_epsilon >= least && std::isfinite(layer.norm_epsilon),
          name + ": the epsilon of batch_norm must be positive and finite, also when rounded to the network's dtype");
}

// `least` is the smallest positive number of the network's dtype.
void check(const std::vector<LayerSpec>& layers, double least) {
  require(!layers.empty(), "a network needs at least one layer");
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const LayerSpec& layer = layers[l];
    const std::string name = "layer " + std::to_string(l);
    require(layer.n_in > 0 && layer.n_out > 0 && layer.n_in < kLargest && layer.n_out < kLargest,
            name + ": n_in and n_out must be between 1 and 2^31 - 1");
    require(l == 0 || layers[l - 1].n_out == layer.n_in, name + ": n_in must be the n_out of the layer before");
    require(layer.learn == Learn::fixed || learnable(layer.activation), name + ": only prelu and swish have a parameter to learn");
    // Their slopes are written with the value, whose sign must be the input's.
    require(std::isfinite(layer.parameter), name + ": parameter must be finite");
    require(layer.activation != Activation::leaky_relu || layer.parameter >= 0,
            name + ": the parameter of leaky_relu must not be negative");
    require(layer.activation != Activation::elu || layer.parameter > 0, name + ": the parameter of elu must be positive");
    check_groups(layer, l + 1 == layers.size(), name);
    check_normalization(layer, l + 1 == layers.size(), least, name);
    if (layer.tied_to < 0) continue;
    require(static_cast<std::size_t>(layer.tied_to) < l, name + ": tied_to must be an earlier layer");
    const LayerSpec& owner = layers[static_cast<std::size_t>(layer.tied_to)];
    require(owner.tied_to < 0, name + ": tied_to must be a layer with weights of its own");
    require(owner.n_in == layer.n_out && owner.n_out == layer.n_in, name + ": must have the transposed shape of the layer it is tied to");
  }
}

// Visits every element of a matrix as (its place in panels, its place in a plain row-major matrix).
template <class Visit>
void for_each_element(index_t rows, index_t cols, Visit visit) {
  for (index_t p = 0; p < panels(cols); ++p) {
    const index_t width = std::min(kPanel, cols - p * kPanel);
    for (index_t r = 0; r < rows; ++r) {
      for (index_t c = 0; c < width; ++c) visit((p * rows + r) * kPanel + c, r * cols + p * kPanel + c);
    }
  }
}

}  // namespace

template <class T>
Network<T>::Network(std::vector<LayerSpec> layers) : layers_(std::move(layers)), users_(layers_.size(), -1) {
  check(layers_, static_cast<double>(std::numeric_limits<T>::min()));
  index_t end = 0;
  for (std::size_t l = 0; l < layers_.size(); ++l) {
    const LayerSpec& layer = layers_[l];
    const index_t width = panels(layer.n_out) * kPanel;
    Window window{};
    if (layer.tied_to < 0) {
      require(layer.n_in <= (index_t{1} << 40) / width, "layer " + std::to_string(l) + ": too many weights");
      window.weights = end;
      end += layer.n_in * width;
      parameter_count_ += layer.n_in * layer.n_out;
    } else {
      const auto owner = static_cast<std::size_t>(layer.tied_to);
      require(users_[owner] < 0, "layer " + std::to_string(l) + ": another layer is tied to the same weights");
      users_[owner] = static_cast<int>(l);
      window.weights = windows_[owner].weights;
    }
    window.bias = end;
    window.parameter = end + width;
    end += 2 * width;
    if (layer.normalized) {
      window.scale = end;
      window.mean = end + width;
      window.variance = end + 2 * width;
      end += 3 * width;
      parameter_count_ += 3 * layer.n_out;
    }
    parameter_count_ += layer.n_out + (layer.learn == Learn::unit ? layer.n_out : layer.learn == Learn::shared ? 1 : 0);
    windows_.push_back(window);
  }
  numbers_ = Buffer<T>(end);
  for (int l = 0; l < depth(); ++l) {
    std::fill_n(data() + window(l).parameter, panels(layer(l).n_out) * kPanel, static_cast<T>(layer(l).parameter));
    if (!layer(l).normalized) continue;
    std::fill_n(data() + window(l).scale, layer(l).n_out, T{1});
    std::fill_n(data() + window(l).variance, layer(l).n_out, T{1});
  }
}

template <class T>
void Network<T>::get_weights(int l, T* out) const {
  const LayerSpec& owner = owns_weights(l) ? layer(l) : layer(layer(l).tied_to);
  const T* w = data() + window(l).weights;
  const bool transposed = !owns_weights(l);
  for_each_element(owner.n_in, owner.n_out, [&](index_t panel, index_t plain) {
    out[transposed ? plain % owner.n_out * owner.n_in + plain / owner.n_out : plain] = w[panel];
  });
}

template <class T>
void Network<T>::set_weights(int l, const T* values) {
  const LayerSpec& owner = owns_weights(l) ? layer(l) : layer(layer(l).tied_to);
  T* w = data() + window(l).weights;
  const bool transposed = !owns_weights(l);
  std::fill_n(w, owner.n_in * panels(owner.n_out) * kPanel, T{0});
  for_each_element(owner.n_in, owner.n_out, [&](index_t panel, index_t plain) {
    w[panel] = values[transposed ? plain % owner.n_out * owner.n_in + plain / owner.n_out : plain];
  });
}

template <class T>
void Network<T>::flatten(const T* numbers, T* flat) const {
  for (int l = 0; l < depth(); ++l) {
    const LayerSpec& spec = layer(l);
    if (owns_weights(l)) {
      const T* w = numbers + window(l).weights;
      for_each_element(spec.n_in, spec.n_out, [&](index_t panel, index_t plain) { flat[plain] = w[panel]; });
      flat += spec.n_in * spec.n_out;
    }
    flat = std::copy_n(numbers + window(l).bias, spec.n_out, flat);
    if (spec.learn == Learn::unit) flat = std::copy_n(numbers + window(l).parameter, spec.n_out, flat);
    if (spec.learn == Learn::shared) *flat++ = numbers[window(l).parameter];
    if (!spec.normalized) continue;
    for (const index_t begin : {window(l).scale, window(l).mean, window(l).variance}) {
      flat = std::copy_n(numbers + begin, spec.n_out, flat);
    }
  }
}

template <class T>
void Network<T>::unflatten(const T* flat, T* numbers) const {
  for (int l = 0; l < depth(); ++l) {
    const LayerSpec& spec = layer(l);
    if (owns_weights(l)) {
      T* w = numbers + window(l).weights;
      std::fill_n(w, spec.n_in * panels(spec.n_out) * kPanel, T{0});
      for_each_element(spec.n_in, spec.n_out, [&](index_t panel, index_t plain) { w[panel] = flat[plain]; });
      flat += spec.n_in * spec.n_out;
    }
    copy_and_pad(flat, spec.n_out, numbers + window(l).bias);
    flat += spec.n_out;
    if (spec.learn == Learn::unit) {
      copy_and_pad(flat, spec.n_out, numbers + window(l).parameter);
      flat += spec.n_out;
    }
    if (spec.learn == Learn::shared) std::fill_n(numbers + window(l).parameter, panels(spec.n_out) * kPanel, *flat++);
    if (!spec.normalized) continue;
    for (const index_t begin : {window(l).scale, window(l).mean, window(l).variance}) {
      copy_and_pad(flat, spec.n_out, numbers + begin);
      flat += spec.n_out;
    }
  }
}

template class Network<float>;
template class Network<double>;

}  // namespace layerwise
