#include "net/gibbs.h"

#include "base/check.h"

namespace layerwise {

template <class T>
void check_machine(const Network<T>& machine) {
  const auto known = [&](int l) {
    const Activation f = machine.layer(l).activation;
    return f == Activation::sigmoid || (f == Activation::identity && machine.layer(l).groups.empty());
  };
  require(machine.depth() == 2 && machine.layer(1).tied_to == 0, "a Boltzmann machine is an encoder and a decoder that is tied to it");
  require(!machine.normalizes(), "a Boltzmann machine has no batch_norm");
  require(known(kUp) && known(kDown), "a Boltzmann machine's units are sigmoid (binary) or identity (Gaussian)");
  require(machine.layer(kUp).activation == Activation::sigmoid || machine.layer(kDown).activation == Activation::sigmoid,
          "a Boltzmann machine with Gaussian units on both sides is no distribution");
}

namespace {

constexpr index_t kReadRows = 256;  // chains of a block

}  // namespace

template <class T>
bool sample_chains(const Network<T>& machine, T* v, index_t rows, index_t steps, bool with_means, std::uint64_t seed, int asked,
                   const Poll& poll) {
  check_machine(machine);
  if (rows == 0) return true;
  const index_t n_visible = machine.inputs(), n_hidden = machine.layer(kUp).n_out, block = std::min(rows, kReadRows);
  const int threads = threads_for(gibbs_work(machine, block), asked);
  const index_t row_step = (block | 1) * kPanel;
  Buffer<T> memory((panels(n_visible) + panels(n_hidden)) * row_step, 1), scratch(kScratch * threads, 2);
  const Panels<T> visible{memory.data(), row_step}, hidden{memory.data() + panels(n_visible) * row_step, row_step};
  NonzeroRoom nonzero[2] = {{n_hidden, block}, {n_visible, block}};  // of what each layer gives
  std::vector<index_t> ids(static_cast<std::size_t>(block));
  bool stop = false;
  Patience patience;
  parallel(threads, [&](Team& team) {
    T* own = scratch.data() + team.rank() * kScratch;
    for (index_t row = 0; row < rows && !stop; row += block) {
      const index_t n = std::min(block, rows - row);
      const Range share = team.share(n);
      for (index_t r = share.begin; r < share.end; ++r) {
        copy_row(static_cast<const T*>(v + (row + r) * n_visible), n_visible, visible, r);
        for (index_t p = 0; p < panels(n_visible); ++p) nonzero[kDown].find(visible, p, width_of(n_visible, p), r, r + 1);
        ids[static_cast<std::size_t>(r)] = row + r;
      }
      team.barrier();
      for (index_t s = 0; s < steps && !stop; ++s) {
        const auto states_of = [&](int l, const Panels<T>& from, const Panels<T>& to, bool sampled) {
          const Draw draw{seed, static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(kGibbsStream + l), ids.data()};
          const auto sample = [&](index_t panel, index_t begin, index_t end) {
            if (sampled) sample_piece(machine, l, to, to, panel, begin, end, draw);
            nonzero[l].find(to, panel, width_of(machine.layer(l).n_out, panel), begin, end);
          };
          const bool binary = machine.layer(1 - l).activation == Activation::sigmoid;
          means(team, machine, l, from, n, to, to, own, sample, binary ? nonzero[1 - l].bits() : NonzeroBits{});
        };
        states_of(kUp, visible, hidden, true);
        team.barrier();
        states_of(kDown, hidden, visible, !with_means || s + 1 < steps);
        if (team.leads()) stop = patience.ask(poll);
        team.barrier();
      }
      for (index_t r = share.begin; r < share.end; ++r) {
        for (index_t p = 0; p < panels(n_visible); ++p) {
          std::copy_n(visible.at(p, r), width_of(n_visible, p), v + (row + r) * n_visible + p * kPanel);
        }
      }
      team.barrier();
    }
  });
  return !stop;
}

#define LAYERWISE_INSTANTIATE(T)                     \
  template void check_machine<T>(const Network<T>&); \
  template bool sample_chains<T>(const Network<T>&, T*, index_t, index_t, bool, std::uint64_t, int, const Poll&);
LAYERWISE_INSTANTIATE(float)
LAYERWISE_INSTANTIATE(double)

}  // namespace layerwise
