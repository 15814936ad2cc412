"""What a trained Boltzmann machine is good for: free energy, pseudo-likelihood, Gibbs sampling, deep belief networks.

The functions take a `Stage` that was pretrained with `RestrictedBoltzmannMachine`. `layerwise.reference_rbm` states the
formulas.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks
from layerwise.checks import Parameter
from layerwise.network import Network
from layerwise.rbm import BINARY, RestrictedBoltzmannMachine
from layerwise.stage import Stage

Array = NDArray[Any]

BLOCK = 1024  # rows whose hidden inputs are in memory together
MONITORED = 1000  # rows that are measured after each epoch


def free_energy(stage: Stage, X: Array) -> NDArray[np.float64]:
    """Return F(v) = -log sum_h exp(-E(v, h)) of each row: small where the machine finds the row probable.

    With binary hidden units F(v) = -b.v - sum_j log(1 + exp(c_j + v.W_j)); for Gaussian visible units -b.v becomes
    |v - b|^2 / 2, and for Gaussian hidden units the sum is that of c_j v.W_j + (v.W_j)^2 / 2. The means over training
    and over held-out rows stay together until the machine begins to overfit (Hinton 2010, section 6).

    Parameters
    ----------
    stage : Stage
        Pretrained as a RestrictedBoltzmannMachine.
    X : ndarray of shape (n_rows, n_in)

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    TypeError
        If the stage is no Boltzmann machine.
    """
    return np.concatenate([_free_energy(stage, v, z) for v, z in _hidden_inputs(stage, X)])


def pseudo_likelihood(stage: Stage, X: Array, *, seed: int = 0) -> NDArray[np.float64]:
    """Return an estimate of sum_i log p(v_i | the other inputs) of each row (Besag 1975).

    One input i a row is drawn, and n_in * log sigmoid(F(v with v_i flipped) - F(v)) returned, whose mean over draws is
    the sum. Its mean over many rows stands in for the log-likelihood, whose partition function is out of reach.

    Parameters
    ----------
    stage : Stage
        Pretrained as a RestrictedBoltzmannMachine with binary visible units.
    X : ndarray of shape (n_rows, n_in)
        Rounded to 0 and 1.
    seed : int, default=0
        64 bits.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    TypeError
        If the stage is no Boltzmann machine, or if its visible units are Gaussian.
    """
    _check_machine(stage)
    if stage.decoder.activation.name != BINARY:
        raise TypeError("The pseudo-likelihood needs binary visible units; those of this stage are Gaussian.")
    X = np.round(checks.as_engine(X, stage.encoder.bias.dtype))
    places = (_core.random_uniform(checks.seed_key(seed), 0, len(X)) * X.shape[1]).astype(np.int64)
    found, first = [], 0
    for v, z in _hidden_inputs(stage, X):
        rows, place = np.arange(len(v)), places[first : first + len(v)]
        turn = 1 - 2 * v[rows, place]
        flipped = v.copy()
        flipped[rows, place] += turn
        moved = z + turn[:, None] * stage.weights[place]
        gap = _free_energy(stage, flipped, moved) - _free_energy(stage, v, z)
        found.append(-X.shape[1] * np.logaddexp(0, -gap))
        first += len(v)
    return np.concatenate(found)


def gibbs(stage: Stage, X: Array, n_steps: int = 1, *, means: bool = False, seed: int = 0, threads: int = 0) -> Array:
    """Run Gibbs chains from the rows of X, one a row: hidden states given the visible ones, then the reverse.

    Parameters
    ----------
    stage : Stage
        Pretrained as a RestrictedBoltzmannMachine.
    X : ndarray of shape (n_rows, n_in)
        The visible states that the chains start from.
    n_steps : int >= 0, default=1
    means : bool, default=False
        Return the last visible units' means (probabilities if they are binary) instead of their states.
    seed : int, default=0
        64 bits; row r's random numbers depend on it, on r and on the step.
    threads : int, default=0
        0: chosen by the size of the work. The result does not depend on it.

    Returns
    -------
    ndarray of shape (n_rows, n_in)

    Raises
    ------
    TypeError
        If the stage is no Boltzmann machine.
    InvalidParameterError
        If an argument is not allowed.
    """
    _check_machine(stage)
    where = Parameter("gibbs")
    n_steps = checks.integer(where.child("n_steps"), n_steps, 0)
    threads = checks.integer(where.child("threads"), threads, 0)
    means = checks.boolean(where.child("means"), means)
    X = checks.as_engine(X, stage.encoder.bias.dtype)
    return _core.gibbs(stage.network().engine(), X, n_steps, means, checks.seed_key(seed), threads)


def generate(stages: Sequence[Stage], X: Array, n_steps: int = 1000, *, seed: int = 0, threads: int = 0) -> Array:
    """Draw inputs from the deep belief network that a stack of machines makes (Hinton, Osindero & Teh 2006).

    Gibbs chains run in the top machine, one a row of X; the layers below are then drawn downwards, each from the states
    above it. The last step to the inputs gives their means, which show more than states.

    Parameters
    ----------
    stages : sequence of Stage
        Pretrained with RestrictedBoltzmannMachine, the lowest first: a fitted estimator's `stages_`.
    X : ndarray of shape (n_rows, n_in)
        What the chains start from: its codes below the top machine.
    n_steps : int >= 1, default=1000
        Rounds in the top machine.
    seed : int, default=0
        64 bits.
    threads : int, default=0
        0: chosen by the size of the work. The result does not depend on it.

    Returns
    -------
    ndarray of shape (n_rows, n_in)

    Raises
    ------
    TypeError
        If `stages` is no list of stages, or if one of them is no Boltzmann machine.
    ValueError
        If there is no stage.
    InvalidParameterError
        If an argument is not allowed.
    """
    if not checks.is_sequence(stages):
        kind = type(stages).__name__
        raise TypeError(f"generate takes a list of stages, as a fitted estimator has in stages_. Got a {kind}.")
    if len(stages) == 0:
        raise ValueError("There is no stage to generate from.")
    for stage in stages:
        _check_machine(stage)
    n_steps = checks.integer(Parameter("generate", "n_steps"), n_steps, 1)
    seed = checks.seed_key(seed)
    *lower, top = stages
    for stage in lower:
        X = stage.encode(X)
    X = gibbs(top, X, n_steps, means=not lower, seed=checks.subkey(seed, 0), threads=threads)
    for depth, stage in enumerate(reversed(lower), 1):
        X = stage.decode(X)
        if depth < len(lower):
            X = _states(X, stage.decoder.activation.name, checks.subkey(seed, depth))
    return X


def _states(mean: Array, kind: str, key: int) -> Array:
    if kind == BINARY:
        return (_core.random_uniform(key, 0, mean.size).reshape(mean.shape) < mean).astype(mean.dtype)
    return (mean + _core.random_normal(key, 0, mean.size).reshape(mean.shape)).astype(mean.dtype)


def monitor(
    network: Network, engine: Any, settings: RestrictedBoltzmannMachine, X: Array, held_out: Array | None, seed: int
) -> Callable[[], dict[str, float]]:
    """Return a function that measures the machine in `engine` at the time it is called.

    Parameters
    ----------
    network : Network
        Of the machine's shape.
    engine : Network of the engine
    settings : RestrictedBoltzmannMachine
    X, held_out : ndarray of shape (n_rows, n_in)
        At most 1,000 rows of each, evenly spaced, are measured. None: no held-out rows.
    seed : int
        The same inputs are drawn for the pseudo-likelihood each time.
    """
    rows = X[:: -(-len(X) // MONITORED)]
    apart = None if held_out is None else held_out[:: -(-len(held_out) // MONITORED)]

    def measure() -> dict[str, float]:
        encoder, decoder = network.trained(engine).layers
        stage = Stage(1, encoder, decoder, "", settings, (), 0.0)
        with np.errstate(all="ignore"):  # a machine that has diverged is the training loop's business
            found = {"free_energy": float(free_energy(stage, rows).mean())}
            if apart is not None:
                found["validation_free_energy"] = float(free_energy(stage, apart).mean())
            if decoder.activation.name == BINARY:
                found["pseudo_likelihood"] = float(pseudo_likelihood(stage, rows, seed=seed).mean())
        return found

    return measure


def _check_machine(stage: Any) -> None:
    if not isinstance(stage, Stage):
        kind = type(stage).__name__
        raise TypeError(f"A Stage is needed, as stages_[0] of a fitted estimator is one. Got a {kind}.")
    if not isinstance(stage.settings, RestrictedBoltzmannMachine):
        raise TypeError(f"The stage must be pretrained as a RestrictedBoltzmannMachine. Got {stage.settings!r}.")


def _hidden_inputs(stage: Stage, X: Array) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield blocks of rows v with the inputs c + v W of their hidden units, in float64."""
    _check_machine(stage)
    X = checks.as_engine(X, stage.encoder.bias.dtype)
    network = Network([stage.encoder])
    for first in range(0, max(1, len(X)), BLOCK):
        rows = X[first : first + BLOCK]
        yield rows.astype(np.float64), network.apply(rows, logits=True).astype(np.float64)


def _free_energy(stage: Stage, v: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
    b, c = stage.decoder.bias.astype(np.float64), stage.bias.astype(np.float64)
    own = -v @ b if stage.decoder.activation.name == BINARY else 0.5 * ((v - b) ** 2).sum(axis=1)
    hidden = np.logaddexp(0, z) if stage.encoder.activation.name == BINARY else c * (z - c) + 0.5 * (z - c) ** 2
    found: NDArray[np.float64] = own - hidden.sum(axis=1)
    return found
