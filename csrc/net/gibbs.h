// Gibbs sampling in a restricted Boltzmann machine: its two sides in turn, means and random states.
//
// A machine is a network of two layers, an encoder and the decoder that is tied to it: the encoder's bias is that of the hidden units,
// the decoder's that of the visible ones. Sigmoid means binary units, identity means Gaussian units, normal with variance 1.
#pragma once

#include <chrono>

#include "kernels/dispatch.h"
#include "net/plan.h"
#include "net/products.h"

namespace layerwise {

inline constexpr int kUp = 0, kDown = 1;  // the layers: visible to hidden, hidden to visible
// A thread's scratch: a transposed block of weights, then a 32 x 32 block of the gradient.
inline constexpr index_t kScratch = (kDepthBlock + kPanel + 8) * kPanel;

// Throws unless the network is such a machine.
template <class T>
void check_machine(const Network<T>& machine);

// Multiply-adds of half a Gibbs step.
template <class T>
double gibbs_work(const Network<T>& machine, index_t rows) {
  return static_cast<double>(machine.inputs()) * static_cast<double>(machine.layer(kUp).n_out) * static_cast<double>(rows);
}

// The random numbers of one half of a Gibbs step. The group of a row counts from its position: ids[r], or r without ids.
struct Draw {
  std::uint64_t seed;
  std::uint32_t step, stream;
  const index_t* ids;
};

// Random states of a piece of layer l's units; `state` may be `mean`.
template <class T>
void sample_piece(const Network<T>& machine, int l, const Panels<T>& mean, const Panels<T>& state, index_t panel, index_t row,
                  index_t row_end, const Draw& draw) {
  const Kernels<T>& k = kernels<T>();
  const LayerSpec& spec = machine.layer(l);
  NoiseScalars<T> standard{};
  standard.level = 1;
  for (index_t r = row; r < row_end; ++r) {
    const index_t id = draw.ids != nullptr ? draw.ids[r] : r;
    const RandomPlace place{draw.seed, static_cast<std::uint64_t>(id * panels(spec.n_out) + panel), draw.step, draw.stream};
    T* to = state.at(panel, r);
    if (spec.activation == Activation::sigmoid) {
      k.bernoulli(mean.at(panel, r), to, place);
    } else {
      if (to != mean.at(panel, r)) copy_panel(mean.at(panel, r), to);
      // One panel of the row, whose place is that panel's.
      k.noise[static_cast<int>(NoiseKind::gaussian)]({to, 0, width_of(spec.n_out, panel), place, nullptr, 0, nullptr, 0, 0}, standard);
    }
  }
}

// Layer l's means given the other side: z = bias + from W (up) or bias + from Wᵀ (down), mean = f(z); z may be mean, and an empty mean
// leaves it at z. Then after(panel, row, row_end) for each piece. With `nonzero`, which is of `from`, its zeros are left out. `far`: the
// threads have learned the weights, on cores that are far from each other.
template <class T, class After>
void means(Team& team, const Network<T>& machine, int l, const Panels<T>& from, index_t rows, const Panels<T>& z, const Panels<T>& mean,
           T* scratch, After after, const NonzeroBits& nonzero = {nullptr, 0}, bool far = false) {
  const Kernels<T>& k = kernels<T>();
  const LayerSpec& spec = machine.layer(l);
  const Window& window = machine.window(l);
  const auto product = [&](index_t panel, index_t row, index_t row_end, Range part, bool begins) {
    const T* w = machine.data() + window.weights + part.begin * kPanel * machine.inputs();
    const NonzeroBits bits = nonzero.words == nullptr ? nonzero : NonzeroBits{nonzero.words + part.begin * nonzero.step, nonzero.step};
    multiply_panel(k, nullptr, Panels<T>{from.at(part.begin, 0), from.step}, std::min(spec.n_in, part.end * kPanel) - part.begin * kPanel,
                   w, machine.inputs(), l == kDown, begins ? machine.data() + window.bias + panel * kPanel : nullptr, z, panel,
                   width_of(spec.n_out, panel), row, row_end, scratch, bits);
  };
  const auto finish = [&](index_t panel, index_t row, index_t row_end) {
    if (mean.data != nullptr) {
      k.value[static_cast<int>(spec.activation)](z.at(panel, row), mean.at(panel, row), (row_end - row) * kPanel,
                                                 machine.data() + window.parameter + panel * kPanel);
    }
    after(panel, row, row_end);
  };
  if (l == kDown && in_turn(team, far, rows, spec.n_in, spec.n_out)) {
    const auto lengthen = [&](index_t panel, Range part, bool begins) { product(panel, 0, rows, part, begins); };
    return transposed_in_turn(team, spec.n_in, spec.n_out, lengthen, [&](index_t panel) { finish(panel, 0, rows); });
  }
  share_pieces(team, k.tile_rows, rows, panels(spec.n_out), [&](index_t panel, index_t row, index_t row_end) {
    product(panel, row, row_end, whole(spec.n_in), true);
    finish(panel, row, row_end);
  });
}

template <class T>
void copy_row(const T* row, index_t features, const Panels<T>& out, index_t r) {
  for (index_t p = 0; p < panels(features); ++p) std::copy_n(row + p * kPanel, width_of(features, p), out.at(p, r));
}

// Asks the poll at most every 20 ms.
class Patience {
 public:
  bool ask(const Poll& poll) {
    if (now() - asked_ < 0.02) return false;
    const bool answer = poll();
    asked_ = now();
    return answer;
  }
  static double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

 private:
  double asked_ = now();
};

// Gibbs chains, one a row, that start from the visible states in `v` (row-major): `steps` times hidden states, then visible ones, which
// replace v. With `means` the last visible ones are means. Row r's random numbers are those of (seed, r, step). False: interrupted.
template <class T>
bool sample_chains(const Network<T>& machine, T* v, index_t rows, index_t steps, bool with_means, std::uint64_t seed, int threads,
                   const Poll& poll);

}  // namespace layerwise
