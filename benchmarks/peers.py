"""The contenders of `bench_training.py`: Layerwise, NumPy, PyTorch and JAX, each at its best, doing the same work.

Each class is made with a workload, its data and starting weights, and offers

- ``check(steps)``: the mean loss over the first steps from the starting weights, in file order and without noise,
  which must agree between all of them;
- ``epoch()``: one shuffled epoch with noise, loss and optimiser included; returns its seconds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from workloads import Data, Weights, Workload

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Contender(Protocol):
    """What the benchmark needs of each."""

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None: ...
    def check(self, steps: int) -> float: ...
    def epoch(self) -> float: ...


class Layerwise:
    """The package: `check` through its engine, which can be told the weights; `epoch` through the estimators' `fit`."""

    EPOCHS = 4  # of one fit; the first, in which the engine may try its numbers of threads, is not counted
    tied = False

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        self.workload, self.data, self.start, self.threads = workload, data, weights, threads
        self.seed = 0

    def check(self, steps: int) -> float:
        from layerwise import _core

        workload, last = self.workload, len(self.start) - 1
        layers = [
            _core.Layer(*W.shape, workload.loss if depth == last else workload.activation)
            for depth, (W, _) in enumerate(self.start)
        ]
        network = _core.Network_float32(layers)
        for depth, (W, b) in enumerate(self.start):
            network.set_weights(depth, W)
            network.set_bias(depth, b)
        optimizer = _core.Optimizer(workload.optimizer, momentum=BETA_1, decay=BETA_2, epsilon=EPSILON)
        loss, size = f"{workload.loss}_cross_entropy", workload.batch_size
        recipe = _core.Recipe(loss, optimizer, size, shuffle=False, threads=self.threads)
        X = np.ascontiguousarray(self.data.X[: steps * size])
        Y = np.eye(workload.sizes[-1], dtype=np.float32)[self.data.y[: steps * size]]
        stats = _core.Plan_float32(network, recipe).run(
            X, None if workload.rebuilds_input else Y, 0, steps, np.full(steps, workload.rate)
        )
        return stats.loss

    def epoch(self) -> float:
        self.seed += 1
        model = self._estimator().fit(self.data.X, self.data.y)
        counted = [record for record in model.history_ if record.stage == self.stage][1:]
        return statistics.median(record.seconds for record in counted)

    @property
    def stage(self) -> str:
        return "pretraining" if self.workload.masking else "finetuning"

    def _estimator(self) -> Any:
        from layerwise import (
            SGD,
            Adam,
            Autoencoder,
            DenoisingAutoencoder,
            FineTuning,
            Masking,
            PretrainedClassifier,
            StackedAutoencoder,
        )

        workload = self.workload
        optimizer = {"adam": Adam, "sgd": SGD}[workload.optimizer](workload.rate)
        finetuning = FineTuning(epochs=self.EPOCHS, batch_size=workload.batch_size, optimizer=optimizer)
        shared = {"activation": workload.activation, "random_state": self.seed, "n_jobs": self.threads or None}
        if not workload.rebuilds_input:
            return PretrainedClassifier(workload.sizes[1:-1], pretraining=None, finetuning=finetuning, **shared)
        same = {"batch_size": workload.batch_size, "optimizer": optimizer, "loss": "cross_entropy", "tied": self.tied}
        if workload.masking:
            settings = DenoisingAutoencoder(corruption=Masking(workload.masking), epochs=self.EPOCHS, **same)
            return StackedAutoencoder(workload.sizes[1:-1], pretraining=settings, **shared)
        encoder = workload.sizes[1 : len(workload.sizes) // 2 + 1]
        return StackedAutoencoder(encoder, pretraining=Autoencoder(epochs=1, **same), finetuning=finetuning, **shared)


class LayerwiseTied(Layerwise):
    """The same with the decoder's weights tied to the encoder's, which the peers' loops do not offer."""

    tied = True


class NumPy:
    """In place and preallocated float32; NumPy's own products (OpenBLAS); Adam in cache-sized pieces."""

    PIECE = 16_384  # numbers of each buffer that Adam treats at a time, so that they stay in the cache

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")
        self.workload, self.data, self.start = workload, data, weights
        rows, sizes = workload.batch_size, workload.sizes
        self.values = [np.empty((rows, size), np.float32) for size in sizes]
        self.deltas = [np.empty((rows, size), np.float32) for size in sizes]
        self.clean = np.empty((rows, sizes[0]), np.float32)
        self.uniform = np.empty((rows, sizes[0]), np.float32)
        self.room = np.empty((rows, max(sizes)), np.float32)
        self.rng = np.random.default_rng(0)
        count = sum(W.size + b.size for W, b in weights)
        self.parameters, self.gradients, self.m, self.v = (np.zeros(count, np.float32) for _ in range(4))
        self.layers, self.slopes = self._windows(self.parameters), self._windows(self.gradients)
        self.pieces = [slice(first, first + self.PIECE) for first in range(0, count, self.PIECE)]
        self.step_room = np.empty((2, min(self.PIECE, count)), np.float32)
        self.reset()

    def _windows(self, flat: NDArray[np.float32]) -> Weights:
        windows, first = [], 0
        for W, b in self.start:
            last = first + W.size + b.size
            windows.append((flat[first : first + W.size].reshape(W.shape), flat[last - b.size : last]))
            first = last
        return windows

    def reset(self) -> None:
        for (W, b), (start_W, start_b) in zip(self.layers, self.start, strict=True):
            W[:], b[:] = start_W, start_b
        self.m[:], self.v[:], self.steps = 0, 0, 0

    def check(self, steps: int) -> float:
        self.reset()
        size = self.workload.batch_size
        losses = [self._step(np.arange(first, first + size), noisy=False) for first in range(0, steps * size, size)]
        self.reset()
        return float(np.mean(losses))

    def epoch(self) -> float:
        start = time.perf_counter()
        order = self.rng.permutation(len(self.data.X))
        size = self.workload.batch_size
        for first in range(0, len(order), size):
            self._step(order[first : first + size], noisy=True)
        return time.perf_counter() - start

    def _step(self, rows: NDArray[np.int64], *, noisy: bool) -> float:
        workload, values = self.workload, self.values
        np.take(self.data.X, rows, axis=0, out=values[0], mode="clip")  # mode: without it, take() makes a copy first
        if workload.rebuilds_input:
            self.clean[:] = values[0]
        if noisy and workload.masking:
            self.rng.random(out=self.uniform, dtype=np.float32)
            values[0] *= self.uniform >= workload.masking
        for (W, b), below, value in zip(self.layers, values, values[1:], strict=False):
            np.matmul(below, W, out=value)
            value += b
            if value is not values[-1]:
                self._activate(value)
        loss = self._rebuilding() if workload.rebuilds_input else self._classifying(self.data.y[rows])
        self._backward()
        self._update()
        return loss

    def _activate(self, value: NDArray[np.float32]) -> None:
        if self.workload.activation == "relu":
            np.maximum(value, 0, out=value)
        else:
            np.negative(value, out=value)
            np.exp(value, out=value)
            value += 1
            np.reciprocal(value, out=value)

    def _rebuilding(self) -> float:
        """Sigmoid cross-entropy of the logits, softplus(z) - x z, and the delta that it gives."""
        logits, delta, room = self.values[-1], self.deltas[-1], self.room[:, : self.workload.sizes[-1]]
        np.abs(logits, out=room)
        np.negative(room, out=room)
        np.exp(room, out=room)  # exp(-|z|), for the softplus and the sigmoid alike
        np.add(room, 1, out=delta)
        positive = logits > 0
        loss = float(np.log(delta).sum()) + float(logits.sum(where=positive)) - float(np.vdot(self.clean, logits))
        np.copyto(room, 1, where=positive)
        np.divide(room, delta, out=delta)
        delta -= self.clean
        delta /= len(delta)
        return loss / len(delta)

    def _classifying(self, labels: NDArray[np.int64]) -> float:
        logits, delta, rows = self.values[-1], self.deltas[-1], np.arange(len(labels))
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=delta)
        total = delta.sum(axis=1, keepdims=True)
        loss = float(np.log(total).sum()) - float(logits[rows, labels].sum())
        delta /= total
        delta[rows, labels] -= 1
        delta /= len(delta)
        return loss / len(delta)

    def _backward(self) -> None:
        for layer in range(len(self.layers) - 1, -1, -1):
            W, below, delta = self.layers[layer][0], self.values[layer], self.deltas[layer + 1]
            # Of one row the gradient is an outer product, which NumPy multiplies faster than it calls OpenBLAS for it.
            (np.multiply if len(delta) == 1 else np.matmul)(below.T, delta, out=self.slopes[layer][0])
            delta.sum(axis=0, out=self.slopes[layer][1])
            if layer == 0:
                continue
            np.matmul(delta, W.T, out=self.deltas[layer])
            if self.workload.activation == "relu":
                self.deltas[layer] *= below > 0
            else:
                room = self.room[:, : below.shape[1]]
                np.subtract(1, below, out=room)
                room *= below
                self.deltas[layer] *= room

    def _update(self) -> None:
        rate = self.workload.rate
        self.steps += 1
        if self.workload.optimizer == "sgd":
            self.gradients *= rate
            self.parameters -= self.gradients
            return
        scale = rate / (1 - BETA_1**self.steps)
        correction = 1 / np.sqrt(1 - BETA_2**self.steps)
        for piece in self.pieces:
            w, g, m, v = (buffer[piece] for buffer in (self.parameters, self.gradients, self.m, self.v))
            one, two = (room[: len(w)] for room in self.step_room)
            m *= BETA_1
            np.multiply(g, 1 - BETA_1, out=one)
            m += one
            v *= BETA_2
            g *= g
            g *= 1 - BETA_2
            v += g
            np.sqrt(v, out=one)
            one *= correction
            one += EPSILON
            np.divide(m, one, out=two)
            two *= scale
            w -= two


class PyTorch:
    """Eager PyTorch, a hand-written loop: its fused optimisers, indexing for batches, subnormals flushed."""

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        self.torch, self.workload, self.start = torch, workload, weights
        self.X, self.y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        self.reset()

    def reset(self) -> None:
        torch = self.torch
        # A layer's weights as PyTorch stores them: (n_out, n_in).
        self.layers = [
            (torch.tensor(W.T.copy(), requires_grad=True), torch.tensor(b, requires_grad=True)) for W, b in self.start
        ]
        parameters = [parameter for layer in self.layers for parameter in layer]
        make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.workload.optimizer]
        self.optimizer = make(parameters, lr=self.workload.rate, fused=True)

    def check(self, steps: int) -> float:
        self.reset()
        order = self.torch.arange(steps * self.workload.batch_size)
        losses = [self._step(rows, noisy=False) for rows in order.split(self.workload.batch_size)]
        self.reset()
        return float(np.mean([float(loss) for loss in losses]))

    def epoch(self) -> float:
        start = time.perf_counter()
        total = self.torch.zeros(())
        for rows in self.torch.randperm(len(self.X)).split(self.workload.batch_size):
            total += self._step(rows, noisy=True)
        float(total)
        return time.perf_counter() - start

    def _step(self, rows: Any, *, noisy: bool) -> Any:
        F, workload = self.torch.nn.functional, self.workload
        clean = self.X.index_select(0, rows)
        value = clean
        if noisy and workload.masking:
            value = clean * (self.torch.rand_like(clean) >= workload.masking)
        for depth, (W, b) in enumerate(self.layers, 1):
            value = F.linear(value, W, b)
            if depth < len(self.layers):
                value = F.relu(value) if workload.activation == "relu" else self.torch.sigmoid(value)
        if workload.rebuilds_input:
            loss = F.binary_cross_entropy_with_logits(value, clean, reduction="sum") / len(rows)
        else:
            loss = F.cross_entropy(value, self.y.index_select(0, rows))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Jax:
    """One compiled scan over the batches of an epoch, its buffers donated, its fastest random numbers."""

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:  # noqa: ARG002
        import jax  # takes as many threads as the process may use cores: the benchmark sees to that

        jax.config.update("jax_default_prng_impl", "unsafe_rbg")
        self.jax, self.workload, self.start = jax, workload, weights
        self.X, self.y = jax.numpy.asarray(data.X), jax.numpy.asarray(data.y.astype(np.int32))
        self.rng = np.random.default_rng(0)
        self.run = {noisy: jax.jit(self._scan(noisy), donate_argnums=0) for noisy in (False, True)}
        self.reset()

    def reset(self) -> None:
        jnp = self.jax.numpy
        parameters = [(jnp.array(W), jnp.array(b)) for W, b in self.start]
        zeros = self.jax.tree_util.tree_map(jnp.zeros_like, parameters)
        self.state = (parameters, zeros, self.jax.tree_util.tree_map(jnp.copy, zeros), jnp.zeros((), jnp.int32))

    def check(self, steps: int) -> float:
        self.reset()
        order = np.arange(steps * self.workload.batch_size, dtype=np.int32).reshape(steps, -1)
        self.state, loss = self.run[False](self.state, self.X, self.y, order, self.jax.random.key(0))
        loss = float(loss)
        self.reset()
        return loss

    def epoch(self) -> float:
        start = time.perf_counter()
        order = self.rng.permutation(len(self.X)).astype(np.int32).reshape(-1, self.workload.batch_size)
        key = self.jax.random.key(int(self.rng.integers(2**31)))
        self.state, loss = self.run[True](self.state, self.X, self.y, order, key)
        loss.block_until_ready()
        return time.perf_counter() - start

    def _scan(self, noisy: bool) -> Callable[..., Any]:
        jax, jnp, workload = self.jax, self.jax.numpy, self.workload
        tree_map = jax.tree_util.tree_map

        def objective(parameters: Any, given: Any, target: Any) -> Any:
            value = given
            for depth, (W, b) in enumerate(parameters, 1):
                value = value @ W + b
                if depth < len(parameters):
                    value = jax.nn.relu(value) if workload.activation == "relu" else jax.nn.sigmoid(value)
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
