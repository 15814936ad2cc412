"""Restricted Boltzmann machines in plain NumPy: the definition of what the engine's `RbmPlan` and `gibbs` compute.

A machine gives visible units v and hidden units h the energy

    E(v, h) = -b.v - c.h - v.W.h                              binary units on both sides (Smolensky 1986, Hinton 2002)
    E(v, h) = |v - b|^2 / 2 - c.h - v.W.h                     Gaussian visible units, binary hidden ones
    E(v, h) = -b.v + |h - c|^2 / 2 - v.W.h                    binary visible units, Gaussian hidden ones

and the probability p(v, h) = exp(-E(v, h)) / Z. Binary units are 1 with probability sigmoid(input); Gaussian units are
normal around their input with variance 1 (Hinton and Salakhutdinov 2006). The input of h is c + v W, that of v is
b + h W'. The free energy F(v) = -log sum_h exp(-E(v, h)) gives p(v) = exp(-F(v)) / Z, and

    -d log p(v) / dW = -(<v h>_data - <v h>_machine),    the same for b with v and for c with h.

Contrastive divergence replaces the second mean by that after k rounds of Gibbs sampling from the data; persistent
contrastive divergence lets the chains go on from one step to the next (Tieleman 2008).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import reference, reference_random

Array = NDArray[Any]


@dataclass
class Machine:
    """The weights (n_visible, n_hidden) and both biases; `visible` and `hidden` are "binary" or "gaussian"."""

    W: Array
    b: Array
    c: Array
    visible: str = "binary"
    hidden: str = "binary"


@dataclass
class Draw:
    """Where a step's random numbers come from: the rows' positions in the data set decide, not the batch."""

    seed: int
    rows: Array
    step: int

    def states(self, mean: Array, kind: str, half: int) -> Array:
        """Random states around `mean`; `half` counts the halves of the Gibbs rounds."""
        stream, columns = reference_random.GIBBS + half, mean.shape[1]
        if kind == "gaussian":
            return mean + reference_random.normal_numbers(self.seed, self.rows, columns, self.step, stream)
        words = reference_random.row_words(self.seed, self.rows, columns, self.step, stream)
        return np.asarray((words >> np.uint32(8)) * 2.0**-24 < mean, mean.dtype)


def _mean(z: Array, kind: str) -> Array:
    return reference.activation(z, "sigmoid") if kind == "binary" else z


def hidden_mean(m: Machine, v: Array) -> Array:
    """E[h | v], a probability where the units are binary."""
    return _mean(m.c + v @ m.W, m.hidden)


def visible_mean(m: Machine, h: Array) -> Array:
    """E[v | h]."""
    return _mean(m.b + h @ m.W.T, m.visible)


def gibbs(m: Machine, v: Array, steps: int, seed: int, *, means: bool = False) -> Array:
    """The visible states after `steps` rounds from the states v; with `means` the last round gives their means."""
    for step in range(steps):
        draw = Draw(seed, np.arange(len(v)), step)
        v = visible_mean(m, draw.states(hidden_mean(m, v), m.hidden, 0))
        v = v if means and step == steps - 1 else draw.states(v, m.visible, 1)
    return v


# ----------------------------------------------------------------------------------------------------------- likelihood


def free_energy(m: Machine, v: Array) -> Array:
    """F(v) of each row, without the constants that depend on the number of units alone."""
    x = v @ m.W
    own = -v @ m.b if m.visible == "binary" else 0.5 * np.sum((v - m.b) ** 2, axis=1)
    hidden = np.logaddexp(0, m.c + x) if m.hidden == "binary" else m.c * x + 0.5 * x * x
    return np.asarray(own - hidden.sum(axis=1))


def pseudo_log_likelihood(m: Machine, v: Array) -> Array:
    """sum_i log p(v_i | all other v) of each row of binary v (Besag 1975): log sigmoid(F(v, v_i flipped) - F(v))."""
    total = np.zeros(len(v))
    for i in range(v.shape[1]):
        flipped = v.copy()
        flipped[:, i] = 1 - v[:, i]
        total -= np.logaddexp(0, free_energy(m, v) - free_energy(m, flipped))
    return total


def _all_states(n: int) -> Array:
    return np.array(list(product((0.0, 1.0), repeat=n)))


def _hidden_log_weights(m: Machine, h: Array) -> Array:
    """Log of the integral over Gaussian v of exp(-E(v, h)), without the constant of the number of units."""
    u = h @ m.W.T
    return np.asarray(h @ m.c + u @ m.b + 0.5 * np.sum(u * u, axis=1))


def log_partition(m: Machine) -> float:
    """The logarithm of Z by enumeration (of v, or of h if v is Gaussian), without the free energy's constants."""
    if m.visible == "binary":
        return float(np.logaddexp.reduce(-free_energy(m, _all_states(len(m.b)))))
    return float(np.logaddexp.reduce(_hidden_log_weights(m, _all_states(len(m.c)))))


def log_likelihood(m: Machine, v: Array) -> float:
    """The mean over rows of log p(v), exact; of Gaussian v it is a density, short of its constant n/2 log 2 pi."""
    return float(-np.mean(free_energy(m, v)) - log_partition(m))


def exact_gradient(m: Machine, v: Array) -> Machine:
    """The gradient of minus the log-likelihood: minus the mean over the data, plus that over the machine."""
    if m.visible == "binary":
        states = _all_states(len(m.b))
        p = np.exp(-free_energy(m, states) - log_partition(m))
        h = hidden_mean(m, states)
        negative = (states.T @ (p[:, None] * h), p @ states, p @ h)
    else:
        h = _all_states(len(m.c))
        p = np.exp(_hidden_log_weights(m, h) - log_partition(m))
        states = visible_mean(m, h)
        negative = (states.T @ (p[:, None] * h), p @ states, p @ h)
    positive = (v.T @ hidden_mean(m, v) / len(v), v.mean(axis=0), hidden_mean(m, v).mean(axis=0))
    W, b, c = (n - p for n, p in zip(negative, positive, strict=True))
    return Machine(W, b, c, m.visible, m.hidden)


# ------------------------------------------------------------------------------------------------------------- learning


def _reconstruction_loss(m: Machine, v: Array, h: Array) -> Array:
    z = m.b + h @ m.W.T
    return reference.loss(z, v, "sigmoid_cross_entropy" if m.visible == "binary" else "squared_error")[0]


def contrastive_divergence(
    m: Machine,
    v: Array,
    draw: Draw,
    *,
    k: int = 1,
    chains: Array | None = None,
    sample_visible: bool = False,
    row_weights: Array | None = None,
    pull: Array | None = None,
) -> tuple[float, Machine, Array]:
    """The reconstruction loss, the gradient's estimate (a thing to descend), and the hidden states at the end.

    The data's statistics use probabilities (means), states drive the chains. The visible units of a chain take states
    with `sample_visible`, else their means; the last hidden ones count with their means (Hinton 2010, section 3).
    `chains` are the hidden states of persistent chains, whose random numbers count from row 0. `pull` is the sparsity
    target's, one number a hidden unit (see `Activity`).
    """
    share = np.ones(len(v)) if row_weights is None else row_weights
    share = share / share.sum()
    h = hidden_mean(m, v)
    if chains is None:
        state, chain_share = draw.states(h, m.hidden, 0), share
        loss = _reconstruction_loss(m, v, state)
    else:
        state, chain_share = chains, np.full(len(chains), 1 / len(chains))
        loss = _reconstruction_loss(m, v, h)
        draw = Draw(draw.seed, np.arange(len(chains)), draw.step)
    for t in range(1, k + 1):
        visible = visible_mean(m, state)
        if sample_visible:
            visible = draw.states(visible, m.visible, 2 * t - 1)
        mean = hidden_mean(m, visible)
        state = draw.states(mean, m.hidden, 2 * t)
    positive, negative = share[:, None] * h, chain_share[:, None] * mean
    gradient = Machine(
        visible.T @ negative - v.T @ positive,
        chain_share @ visible - share @ v,
        negative.sum(axis=0) - positive.sum(axis=0),
        m.visible, m.hidden,
    )  # fmt: skip
    if pull is not None:
        gradient.W -= np.outer(share @ v, pull)
        gradient.c -= pull
    return float(share @ loss), gradient, state


@dataclass
class Activity:
    """Sparsity (Hinton 2010, section 11): q = decay q + (1 - decay) q_now, and a pull of cost * (target - q).

    The pull is minus the derivative of cost times the cross-entropy between target and q by the unit's input; it works
    on the bias and, times the mean input, on the weights.
    """

    target: float
    cost: float
    decay: float = 0.9
    q: Array | None = None

    def pull(self, now: Array) -> Array:
        """The pull of a step whose mean hidden probabilities are `now`; the first step starts the running mean."""
        self.q = now if self.q is None else self.decay * self.q + (1 - self.decay) * now
        return self.cost * (self.target - self.q)


def train(
    m: Machine,
    X: Array,
    batches: Iterable[Array],
    rates: Array,
    momenta: Array,
    *,
    seed: int,
    alpha: float = 0.0,
    k: int = 1,
    n_chains: int = 0,
    sample_visible: bool = False,
    activity: Activity | None = None,
    row_weights: Array | None = None,
    optimizer: str = "momentum",
) -> list[float]:
    """One step on each batch of row numbers, in place; returns each batch's reconstruction loss.

    alpha is the weight cost: alpha * W joins the gradient, biases have none. With `n_chains` the chains are persistent
    and begin with all hidden units at 0.
    """
    chains = np.zeros((n_chains, len(m.c))) if n_chains else None
    velocity = [np.zeros_like(w) for w in (m.W, m.b, m.c)]
    losses = []
    for t, rows in enumerate(batches):
        weights = None if row_weights is None else row_weights[rows]
        share = np.full(len(rows), 1 / len(rows)) if weights is None else weights / weights.sum()
        pull = None if activity is None else activity.pull(share @ hidden_mean(m, X[rows]))
        loss, g, end = contrastive_divergence(
            m, X[rows], Draw(seed, rows, t), k=k, chains=chains, sample_visible=sample_visible, row_weights=weights,
            pull=pull,
        )  # fmt: skip
        chains = end if n_chains else None
        losses.append(loss)
        g.W = g.W + alpha * m.W
        for w, u, gradient in zip((m.W, m.b, m.c), velocity, (g.W, g.b, g.c), strict=True):
            if optimizer == "sgd":
                w -= rates[t] * gradient
            else:
                reference.momentum_step(w, u, gradient, learning_rate=rates[t], momentum=momenta[t])
    return losses
