// The kernels of one instruction set. CMake compiles this file once for each, with its flags and the name of its table.
#include "kernels/kernels.h"

#include "kernels/activations.h"
#include "kernels/fused.h"
#include "kernels/gemm.h"
#include "kernels/gemv.h"
#include "kernels/losses.h"
#include "kernels/mixed.h"
#include "kernels/noise.h"
#include "kernels/normalization.h"
#include "kernels/penalties.h"
#include "kernels/random.h"
#include "kernels/row_major.h"
#include "kernels/sampling.h"
#include "kernels/simd.h"

namespace layerwise {
namespace {

template <class T>
constexpr Kernels<T> table() {
  Kernels<T> k{};
  fill_products(k);
  fill_single_row(k);
  fill_row_major(k);
  fill_activations(k);
  fill_losses(k);
  fill_mixed(k);
  fill_optimizers(k);
  fill_random(k);
  fill_noises(k);
  fill_normalization(k);
  fill_penalties(k);
  fill_sampling(k);
  return k;
}

}  // namespace

extern constexpr KernelSet LAYERWISE_KERNELS = {table<float>(), table<double>(), random_words};

}  // namespace layerwise
