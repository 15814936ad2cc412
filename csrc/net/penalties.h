// What is added to the loss besides alpha's term, and what holds weights and gradients in bounds: sparsity and L1 of activations,
// contraction, L1 of weights; clipped gradients, bounded norms. Formulas: docs/numerics.md.
#pragma once

#include "net/passes.h"

namespace layerwise {

// Throws std::invalid_argument where the penalties do not fit the network.
template <class T>
void check_penalties(const Network<T>& network, const PenaltySpec& penalties);

// The sums over the batch's rows that the penalties of activations need, after `forward`. `accumulate`: continue those of earlier row
// blocks. A batch of several blocks has its mean activations from a first pass of `add_means` over all of them (`means_known`).
template <class T>
void prepare_penalties(Team& team, const Batch<T>& batch, bool accumulate, bool means_known);
template <class T>
void add_means(Team& team, const Batch<T>& batch, bool accumulate);

// Their derivatives by a piece of layer l: by its activations (in delta before the slope of the activation), and by its sums (after).
template <class T>
void add_to_activation_delta(const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end);
template <class T>
void add_to_sum_delta(Team& team, const Batch<T>& batch, int l, index_t panel, index_t row, index_t row_end);

// Whether something is added to the gradient of layer l's weights; and that, for `rows` rows of one of its panels from row `first` on.
template <class T>
bool penalizes_weights(const Batch<T>& batch, int l);
template <class T>
void add_weight_penalty(const Batch<T>& batch, int l, index_t panel, index_t first, index_t rows, double alpha, T* gradient);
// The same for the whole of a stored gradient.
template <class T>
void add_weight_penalties(Team& team, const Batch<T>& batch, double alpha, T* gradient);

// Clips a stored and complete gradient, by value or by the norm of all that is learned.
template <class T>
void clip_gradient(Team& team, const Batch<T>& batch, T* gradient);
// Shrinks the incoming weights of each unit to the greatest norm allowed.
template <class T>
void bound_norms(Team& team, const Batch<T>& batch, Network<T>& network);

// What the penalties add to the objective: of the activations of a block, and of everything else, once a batch. One thread.
template <class T>
double activation_penalty(const Batch<T>& batch);
template <class T>
double other_penalties(const Batch<T>& batch);

}  // namespace layerwise
