"""JAX: an epoch is one compiled scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import BETA_1, BETA_2, EPSILON, Contender
from workloads import Data, Weights, Workload


class Jax(Contender):
    """One compiled scan over the batches of an epoch, its buffers donated, its fastest random numbers."""

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        super().__init__(workload, data, weights, threads)
        import jax  # takes as many threads as the process may use cores: the benchmark sees to that

        jax.config.update("jax_default_prng_impl", "unsafe_rbg")
        self.jax = jax
        self.X, self.y = jax.numpy.asarray(data.X), jax.numpy.asarray(data.y.astype(np.int32))
        self.run = {noisy: jax.jit(self._scan(noisy), donate_argnums=0) for noisy in (False, True)}
        self.forward = jax.jit(lambda parameters, X: jax.nn.softmax(self._logits(parameters, X)))
        self.reset()

    def reset(self) -> None:
        jnp = self.jax.numpy
        parameters = [(jnp.array(W), jnp.array(b)) for W, b in self.start]
        zeros = self.jax.tree_util.tree_map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros, self.jax.tree_util.tree_map(jnp.copy, zeros), jnp.zeros((), jnp.int32))

    def first_steps(self, steps: int) -> float:
        order = np.arange(steps * self.workload.batch_size, dtype=np.int32).reshape(steps, -1)
        self.state, loss = self.run[False](self.state, self.X, self.y, order, self.jax.random.key(0))
        return float(loss)

    def epoch(self, share: float = 1.0) -> float:
        # The scan is compiled for a number of batches: always the whole epoch.
        return super().epoch(share if self.workload.predicts else 1.0)

    def train(self, order: NDArray[np.int64]) -> None:
        batches = order.astype(np.int32).reshape(-1, self.workload.batch_size)
        key = self.jax.random.key(int(self.rng.integers(2**31)))
        self.state, loss = self.run[True](self.state, self.X, self.y, batches, key)
        loss.block_until_ready()

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.forward(self.state[0], X))

    def _logits(self, parameters: Any, value: Any) -> Any:
        jax = self.jax
        for depth, (W, b) in enumerate(parameters, 1):
            value = value @ W + b
            if depth < len(parameters):
                value = jax.nn.relu(value) if self.workload.activation == "relu" else jax.nn.sigmoid(value)
        return value

    def _scan(self, noisy: bool) -> Callable[..., Any]:
        jax, jnp, workload = self.jax, self.jax.numpy, self.workload
        tree_map = jax.tree_util.tree_map

        def objective(parameters: Any, given: Any, target: Any) -> Any:
            value = self._logits(parameters, given)
            if workload.rebuilds_input:
                return (jax.nn.softplus(value) - target * value).sum() / len(value)
            chosen = jnp.take_along_axis(value, target[:, None], axis=1)[:, 0]
            return (jax.nn.logsumexp(value, axis=1) - chosen).mean()

        def update(state: Any, slopes: Any) -> Any:
            parameters, m, v, t = state
            t = t + 1
            if workload.optimizer == "sgd":
                return tree_map(lambda w, g: w - workload.rate * g, parameters, slopes), m, v, t
            m = tree_map(lambda m, g: BETA_1 * m + (1 - BETA_1) * g, m, slopes)
            v = tree_map(lambda v, g: BETA_2 * v + (1 - BETA_2) * g * g, v, slopes)
            scale = workload.rate / (1 - BETA_1**t)
            correction = 1 / jnp.sqrt(1 - BETA_2**t)
            step = tree_map(lambda w, m, v: w - scale * m / (jnp.sqrt(v) * correction + EPSILON), parameters, m, v)
            return step, m, v, t

        def epoch(state: Any, X: Any, y: Any, order: Any, key: Any) -> Any:
            def step(carry: Any, rows: Any) -> Any:
                state, key = carry
                clean = X[rows]
                given = clean
                if noisy and workload.masking:
                    key, own = jax.random.split(key)
                    given = clean * jax.random.bernoulli(own, 1 - workload.masking, clean.shape)
                target = clean if workload.rebuilds_input else y[rows]
                loss, slopes = jax.value_and_grad(objective)(state[0], given, target)
                return (update(state, slopes), key), loss

            (state, _), losses = jax.lax.scan(step, (state, key), order)
            return state, losses.mean()

        return epoch
