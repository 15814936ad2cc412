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

// Adds to the gradient of `rows` rows of one panel of layer l's weights, from row `first` on, the terms of alpha, l1 and contraction. A
// layer with contraction gets the recipe's l1 in any case.
template <class T>
void add_weight_penalty(const Batch<T>& batch, int l, index_t panel, index_t first, index_t rows, double alpha, double l1, T* gradient);

// The norm of all that is learned is a sum of parts, one for each 32 x 32 block of weights and each panel of other numbers. Which part is
// that of a block; and what a stored and complete gradient is to be multiplied by (1: it is short enough), the parts of the weights being
// known.
template <class T>
index_t part_of_block(const Batch<T>& batch, int l, index_t panel, index_t block);
template <class T>
T clip_factor(Team& team, const Batch<T>& batch, const T* gradient);
// Whether the gradient of a batch in one row block is certainly not longer than clip_norm, by a bound that needs the deltas alone: then it
// need not be stored. True for all threads, or for none.
template <class T>
bool is_surely_short(Team& team, const Batch<T>& batch);
// Shrinks the incoming weights of each unit of a panel of layer l to the greatest norm allowed, or those of all layers.
template <class T>
void bound_norm(const Batch<T>& batch, int l, index_t panel, Network<T>& network);
template <class T>
void bound_norms(Team& team, const Batch<T>& batch, Network<T>& network);

// What the penalties add to the objective: of the activations of a block, and of everything else, once a batch. One thread.
template <class T>
double activation_penalty(const Batch<T>& batch);
template <class T>
double other_penalties(const Batch<T>& batch);

}  // namespace layerwise
