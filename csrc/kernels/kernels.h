// What a processor offers: one table of plain functions per instruction set and element type.
//
// A kernel allocates nothing, throws nothing, starts no thread and keeps no state. Matrices are in panels
// (base/types.h). Each result element is one chain of fused multiply-adds in a fixed order, so that vector width,
// tile size, threads and blocking cannot change a bit.
#pragma once

#include "base/types.h"

namespace layerwise {

// The order of these lists is the order of the tables below and of the names in catalog.cpp.
enum class Activation { identity, sigmoid, tanh, relu, leaky_relu, prelu, elu, softplus, gelu, gelu_tanh, silu, swish, softmax };
inline constexpr int kActivations = 13;
enum class Loss { squared_error, sigmoid_cross_entropy, softmax_cross_entropy, mixed };
inline constexpr int kLosses = 4;
enum class GroupKind { number, flag, category };
inline constexpr int kGroups = 3;
enum class OptimizerKind { sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw };
inline constexpr int kOptimizers = 7;
enum class NoiseKind { none, masking, gaussian, salt_and_pepper, swap, dropout };
inline constexpr int kNoises = 6;

// Columns begin .. end - 1 of a table: numbers, flags (each 0 or 1), or the levels of one category (of which one is 1).
struct ColumnGroup {
  GroupKind kind;
  index_t begin, end;
};

// What is made of a gradient before the optimiser sees it: l1 * sign(w) and l2 * w are added, the sum is multiplied by factor, and its
// numbers are held within [-limit, limit].
template <class T>
struct GradientShape {
  bool any = false;  // false: nothing, whatever the numbers
  T l1 = 0, l2 = 0;  // 0 for biases and activation parameters
  T factor = 1, limit = T(__builtin_inf());
};

// One optimiser step's scalars, worked out once per step in double and rounded once.
template <class T>
struct UpdateScalars {
  T rate;                       // learning rate of this step (of this layer)
  T momentum;                   // momentum, or beta_1
  T decay;                      // beta_2, or the decay of RMSProp's average
  T momentum_rest, decay_rest;  // 1 - momentum, 1 - decay, of the rounded numbers
  T epsilon;
  T first_correction;   // 1 / (1 - beta_1^t), or 1 without bias correction
  T second_correction;  // 1 / (1 - beta_2^t), or 1
  T l2;                 // alpha: adds alpha * w to the gradient (0 for biases and activation parameters)
  T weight_decay;       // AdamW: w <- w - rate * weight_decay * w (0 for biases and activation parameters)
  bool epsilon_inside;  // sqrt(v + epsilon) instead of sqrt(v) + epsilon
  GradientShape<T> shape;
};

// The place of one random group: 32 numbers for one row of one panel.
// Philox4x32-10 with key = seed and counter = (block low, block high, step, stream), block = 8 * group + b, b = 0..7.
// Word w of block b belongs to column 8 * w + b of the group.
struct RandomPlace {
  std::uint64_t seed;
  std::uint64_t group;
  std::uint32_t step;
  std::uint32_t stream;
};

// What a noise is, the same for all rows. The arrays have a number for each column, padded to whole panels.
template <class T>
struct NoiseScalars {
  std::uint64_t threshold;          // probability * 2^32 (0 .. 2^32), compared with a 32-bit random word
  T level;                          // standard deviation of Gaussian noise
  T low, high;                      // salt-and-pepper values
  const std::uint64_t* thresholds;  // not null: instead of threshold
  const T* levels;                  // not null: instead of level
  const index_t* leaders;           // not null, swap: for each column the one (itself, or before it) whose random words it shares
  index_t count;                    // not negative: so many columns of each row are chosen, whatever the threshold
  T corrupted_weight, clean_weight;
  T keep_scale;  // dropout: what the inputs it leaves are multiplied by
};

// One row to corrupt: feature f is x[(f / 32) * step + f % 32], and its random words are at groups place.group + f / 32.
template <class T>
struct NoiseRow {
  T* x;
  index_t step;
  index_t cols;
  RandomPlace place;
  T* weights;  // not null: receives corrupted_weight where the noise fell and clean_weight elsewhere (layout of x)
  index_t weights_step;
  const T* data;  // swap: the whole data set, row-major, of data_rows rows of cols numbers, and this row's position in it
  index_t data_rows;
  index_t id;
};

// Memory that is read next: blocks of 32 x 32 numbers, `step` numbers apart, one for each panel of the depth. It is fetched while this
// product computes, because the processor's own prefetching stops at the end of a page. Null: nothing.
template <class T>
struct Ahead {
  const T* block;
  index_t step;
};

// Which numbers of a matrix in panels are not 0: feature f of row r has bit f % 32 of words[(f / 32) * step + r]. Up to 32 words past the
// last row's are read, whatever they are. Null: nothing is known.
struct NonzeroBits {
  const std::uint32_t* words;
  index_t step;
};

// Two batches' parts of a weight gradient: g[i][j] = sum_k a(k, i) b(k, j), where a(k, i) = a[(i / 32) * a_step + k * 32 + i % 32] and
// b is one panel of 32 columns. The second part (the rows that a tied decoder has read) continues the chains of the first.
template <class T>
struct GradientSource {
  const T* a;
  index_t a_step;
  const T* b;
  index_t depth;        // 0: nothing
  NonzeroBits nonzero;  // of a, as in gemm_t; the second part has none
};

// What 32 units of a layer are normalised by, a number each: their statistics, and the scale and shift that are learned.
template <class T>
struct Normalization {
  const T *mean, *variance, *scale, *shift;
  T epsilon;  // added to the variance
};

// What a single row of the batch adds to the gradient of a panel of weights: x(i) * delta[j], the panels of x being x_step apart.
template <class T>
struct OuterProduct {
  const T* x;
  index_t x_step;
  const T* delta;
};

// A row that is multiplied by a panel of weights as soon as they have learned: out[j] = init[j] + sum_i x(i) * w(i, j). x null: none.
template <class T>
struct NextRow {
  const T* x;
  index_t x_step;
  const T* init;
  T* out;
};

// The deepest block of a product (`depth_block`), for which scratch has room.
inline constexpr index_t kDepthBlock = 256;

template <class T>
struct Kernels {
  index_t tile_rows;    // rows of the register tile of full panels: work is best cut at its multiples
  index_t depth_block;  // deeper products are best cut into blocks of so many rows of b, with the same bits; at most kDepthBlock

  // c[r][0..32) = init[r][0..32) + sum_k a(r, k) * b[k][0..32) for r < rows, k < depth; only columns < cols are computed.
  // Row-major panels everywhere: b and c have row step 32, init has row step init_step (0: one row for all; 32: c itself).
  // gemm:   a(r, k) = a[(k / 32) * a_step + r * 32 + k % 32]   (a's features are the depth: forward, input gradient)
  // gemm_t: a(r, k) = a[k * 32 + r], rows <= 32                (a's rows are the depth: weight gradient)
  // Both want at least one row and one column. With a's `nonzero`, which begins where a does, a step of the depth in which all numbers of
  // a register tile's rows are 0 is left out: it adds nothing to finite sums of finite weights. That no sign tells what was left out, a sum
  // of 0 is +0 then. (Not for up to 16 columns, which count all of a, as without.)
  void (*gemm)(const T* a, index_t a_step, const T* b, index_t rows, index_t cols, index_t depth, const T* init, index_t init_step, T* c,
               const Ahead<T>& ahead, const NonzeroBits& nonzero);
  void (*gemm_t)(const T* a, const T* b, index_t rows, index_t cols, index_t depth, const T* init, index_t init_step, T* c,
                 const NonzeroBits& nonzero);
  // Finds NonzeroBits of one row: words[p * words_step] for panel p of x.
  void (*nonzero_bits)(const T* x, index_t x_step, index_t cols, std::uint32_t* words, index_t words_step);
  // For a single row, `n_panels` <= 4 panels of weights with `rows` rows, w(i, j) = w[(j / 32) * w_step + i * 32 + j % 32]:
  // gemv:   out[j] = init[j] + sum_i x(i) * w(i, j), panels of out being out_step apart; the chains of gemm.
  // gemv_t: out[i] = sum_j w(i, j) * delta(j); 32 partial chains (one per column of a panel) and a fixed tree.
  // x(i) = x[(i / 32) * x_step + i % 32], and delta likewise.
  void (*gemv)(const T* x, index_t x_step, const T* w, index_t w_step, index_t n_panels, index_t rows, const T* init, T* out,
               index_t out_step);
  void (*gemv_t)(const T* w, index_t w_step, index_t n_panels, index_t rows, const T* delta, index_t delta_step, T* out);
  // For a single row and a row-major b, the chains of gemm: c[j] += sum_k x[k] * b(k, j), where b(k, j) = b[k * b_step + j], or for
  // add_rows_t b[j * b_step + k].
  void (*add_rows)(const T* x, const T* b, index_t b_step, index_t depth, index_t cols, T* c);
  void (*add_rows_t)(const T* x, const T* b, index_t b_step, index_t depth, index_t cols, T* c);
  // to[r * to_step + c] = from[r * from_step + c] for r < rows, c < 32: a whole panel's rows out of a row-major matrix, or into one.
  void (*copy_rows)(const T* from, index_t from_step, index_t rows, T* to, index_t to_step);
  // out[j * 32 + i] = w[(j / 32) * w_step + i * row_step + j % 32] for i < rows <= 32 (0 for i >= rows), j < n: of panels (row_step 32)
  // or of a row-major matrix (w_step 32).
  void (*transpose)(const T* w, index_t w_step, index_t row_step, index_t rows, index_t n, T* out);
  // sums[c] += x[r * 32 + c], one chain over r.
  void (*column_sums)(const T* x, index_t rows, T* sums);

  // Elementwise on n numbers; n need not be a multiple of anything. `parameter` is 32 numbers, used with period 32.
  // value: a = f(z). slope: g = g * f'(z), written with z or a = f(z) as catalog.cpp's needs_input says; when
  // `by_parameter` is not null it receives (old g) * df/dparameter. a may be z; softmax has no entry here (null).
  void (*value[kActivations])(const T* z, T* a, index_t n, const T* parameter);
  void (*slope[kActivations])(const T* z, const T* a, T* g, index_t n, const T* parameter, T* by_parameter);
  // Softmax of `rows` rows of `cols` features in panels with step `step`: a = softmax(z), padding set to 0; may be in place.
  void (*softmax)(const T* z, index_t z_step, T* a, index_t a_step, index_t rows, index_t cols);
  // g <- a * (g - <g, a>), row by row: the full Jacobian of softmax.
  void (*softmax_slope)(const T* a, index_t a_step, T* g, index_t g_step, index_t rows, index_t cols);

  // Losses of `rows` rows in panels: adds each row's loss to row_loss, and writes the delta (d loss / d z for the cross-entropies,
  // d loss / d a for the squared error) times row_scale[r]; padding columns of delta are set to 0. delta may be null (loss only).
  // p is z (logits) for the cross-entropies and a (the output) for the squared error. With `masked`, cells whose target is NaN
  // count nothing: loss 0, delta 0 (not for softmax: a row with a NaN target counts nothing as a whole).
  // squared_error: sum_j (a_j - t_j)^2.  sigmoid: sum_j max(z, 0) - z t + log1p(exp(-|z|)).  softmax: sum_j t_j (logsumexp(z) - z_j).
  // `weights` (null: all 1; softmax never has them) multiply each cell's loss and delta.
  void (*loss[kLosses])(const T* p, index_t p_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t rows, index_t cols,
                        const T* row_scale, double* row_loss, bool masked, const T* weights, index_t weights_step);
  // Of columns cut into groups (loss has no entry for it): the sum of the squared errors of numbers, the sigmoid cross-entropies of flags
  // and the softmax cross-entropy of each category, in logits. A weight multiplies its cell's loss; of a category, its cell's target. A
  // category with a NaN target counts nothing as a whole. The padding of delta is left as it is.
  void (*mixed_loss)(const T* z, index_t z_step, const T* t, index_t t_step, T* delta, index_t delta_step, index_t rows, index_t cols,
                     const T* row_scale, double* row_loss, bool masked, const T* weights, index_t weights_step, const ColumnGroup* groups,
                     index_t n_groups);
  // What its logits mean, in place: numbers as they are, the sigmoid of flags, the softmax of each category.
  void (*mixed)(T* a, index_t step, index_t rows, const ColumnGroup* groups, index_t n_groups);

  // One optimiser step on n parameters; m and v are the moments (null where the kind has none). Formulas: docs/numerics.md.
  void (*update[kOptimizers])(T* w, T* m, T* v, const T* g, index_t n, const UpdateScalars<T>& s);
  // The same on `rows` rows of a panel of weights, w[i * 32 + j], whose gradient comes from a single row of the batch (of the second
  // product there may be none: x null); and `gemv` of the next row with that panel as it is then.
  void (*update_outer[kOptimizers])(T* w, T* m, T* v, index_t rows, const OuterProduct<T> (&products)[2], const NextRow<T>& next,
                                    const UpdateScalars<T>& s);
  // gemv_t, and then the same step with x(i) * delta(j) on those weights, which are read once for both.
  void (*gemv_t_update[kOptimizers])(T* w, T* m, T* v, index_t w_step, index_t n_panels, index_t rows, const T* x, index_t x_step,
                                     const T* delta, index_t delta_step, T* out, const UpdateScalars<T>& s);
  // The same on `blocks` times 32 rows of a panel of weights, whose gradient is the sum of two products. Columns >= cols, where the
  // gradient is 0, may be left out. This one alone heeds s.shape; of other gradients `shape` is called before.
  void (*fused_update[kOptimizers])(const GradientSource<T> (&sources)[2], index_t blocks, index_t cols, T* w, T* m, T* v,
                                    const UpdateScalars<T>& s);

  // out[r][0..cols) = the gradient g in the shape s, on rows of a panel of weights; cols is a multiple of every vector. out may be g.
  void (*shape)(const T* g, const T* w, index_t rows, index_t cols, const GradientShape<T>& s, T* out);

  // Corrupts one row in place; columns >= cols stay as they are.
  void (*noise[kNoises])(const NoiseRow<T>& row, const NoiseScalars<T>& s);
  // Inverted dropout of one row of a panel: out[0..32) = a[0..32) times 0 with probability threshold / 2^32, else times keep_scale. Returns
  // what was kept, bit c for column c. dropout_slope does the same to `rows` rows of g, by what was kept of each.
  std::uint32_t (*dropout)(const T* a, T* out, const RandomPlace& place, std::uint64_t threshold, T keep_scale);
  void (*dropout_slope)(const std::uint32_t* kept, T keep_scale, index_t rows, T* g);
  // state[0..32) = 1 with probability p[0..32), else 0: the states of one row of one panel of binary units. May be in place.
  void (*bernoulli)(const T* p, T* state, const RandomPlace& place);
  // out[i] = a[i] * b[i].
  void (*multiply)(const T* a, const T* b, T* out, index_t n);

  // Penalties, on `rows` rows of one panel; `by_unit` has 32 numbers, one a column.
  // curvature: out = f''(z), written with what the slope is written with, and in by_parameter (may be null) the derivative of f' by a
  // parameter that can be learned; softmax has no entry.
  void (*curvature[kActivations])(const T* z, const T* a, T* out, index_t rows, const T* parameter, T* by_parameter);
  // g[r][c] += row_scale[r] * (by_unit[c] + l1[c] * sign(a[r][c])).
  void (*add_activation_penalty)(const T* a, const T* row_scale, const T* by_unit, const T* l1, index_t rows, T* g);
  // out[r][c] += row_scale[r] * by_unit[c] * x[r][c] * y[r][c].
  void (*add_products)(const T* row_scale, const T* by_unit, const T* x, const T* y, index_t rows, T* out);
  // g[r][c] += by_unit[c] * w[r][c] + l1 * sign(w[r][c]).
  void (*add_weight_penalty)(const T* w, const T* by_unit, T l1, index_t rows, T* g);
  // x[r][c] *= by_unit[c].
  void (*scale_columns)(const T* by_unit, index_t rows, T* x);
  // sums[c] += row_scale[r] * x[r][c], the same with x^2, and sums[c] += x[r][c]^2: one chain over r.
  void (*weighted_sums)(const T* x, const T* row_scale, index_t rows, T* sums);
  void (*weighted_squares)(const T* x, const T* row_scale, index_t rows, T* sums);
  void (*column_squares)(const T* x, index_t rows, T* sums);
  // The sum of all squares, in an order that depends on the number of rows alone.
  double (*square_sum)(const T* x, index_t rows);
  // The sum of the squares of one row's first `cols` numbers, in panels with step `step`.
  double (*row_squares)(const T* x, index_t step, index_t cols);

  // Batch normalisation, on `rows` rows of one panel, each column for itself; the sums over rows are in an order that depends on their
  // number alone. batch_moments: mean = sum_r row_scale[r] x[r], variance = sum_r row_scale[r] (x[r] - mean)^2.
  void (*batch_moments)(const T* x, const T* row_scale, index_t rows, T* mean, T* variance);
  // x <- (x - mean) / sqrt(variance + epsilon), y = scale * x + shift. y may be x, which then is y.
  void (*normalize)(const Normalization<T>& unit, index_t rows, T* x, T* y);
  // Of the derivatives g by y: by_shift = sum_r g[r], by_scale = sum_r g[r] x[r], with the x that `normalize` left.
  void (*normalization_sums)(const T* x, const T* g, index_t rows, T* by_shift, T* by_scale);
  // Makes of g the derivatives by what was normalised: g <- scale / sqrt(variance + epsilon) * (g - row_scale[r] (by_shift + x[r]
  // by_scale)). With by_shift and by_scale 0 the statistics count as fixed numbers.
  void (*normalization_slope)(const Normalization<T>& unit, const T* x, const T* row_scale, const T* by_shift, const T* by_scale,
                              index_t rows, T* g);
};

// Products of numbers rounded to bfloat16, with sums in float32: two neighbours along the depth lie in 32 bits ("a pair", stored as if it
// were a float), so that each of these is the float32 kernel of that name with half its depth. The partner of an odd last one is 0.
struct BFloat16Kernels {
  // n numbers, rounded to nearest (ties to even), in their order: what `gemm` takes as a.
  void (*round)(const float* x, index_t n, std::uint16_t* out);
  // Pairs of rows of a panel: pair[k][c] = (x[2 k][c], x[2 k + 1][c]), for 2 k < rows.
  void (*pair_rows)(const float* x, index_t rows, float* pairs);
  // Pairs of the transposed block of `transpose`: pair[j][i] = (w(i, 2 j), w(i, 2 j + 1)), i < rows <= 32, 2 j < n.
  void (*pair_transposed)(const float* w, index_t w_step, index_t rows, index_t n, float* pairs);
  void (*gemm)(const std::uint16_t* a, index_t a_step, const float* b, index_t rows, index_t cols, index_t depth, const float* init,
               index_t init_step, float* c, const Ahead<float>& ahead);
  void (*gemm_t)(const float* a, const float* b, index_t rows, index_t cols, index_t depth, const float* init, index_t init_step, float* c);
  void (*gemv)(const std::uint16_t* x, index_t x_step, const float* w, index_t w_step, index_t n_panels, index_t rows, const float* init,
               float* out, index_t out_step);
  void (*fused_update[kOptimizers])(const GradientSource<float> (&sources)[2], index_t blocks, index_t cols, float* w, float* m, float* v,
                                    const UpdateScalars<float>& s);
};

// 32 random 32-bit words of a group, in column order; also what the Python side's streams are made of.
using RandomWords = void (*)(const RandomPlace& place, std::uint32_t* words);

struct KernelSet {
  Kernels<float> f32;
  Kernels<double> f64;
  RandomWords random_words;
};

// One per instruction set the build knows; the only symbol each kernel object exports.
#if defined(__x86_64__)
extern const KernelSet kernels_x86_64_v2, kernels_x86_64_v3, kernels_x86_64_v4;
extern const BFloat16Kernels kernels_bfloat16;
#elif defined(__aarch64__)
extern const KernelSet kernels_neon;
#endif

}  // namespace layerwise
