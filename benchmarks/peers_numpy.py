"""NumPy twice: as fast as it can be written, and as the package's reference has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import BETA_1, BETA_2, EPSILON, Contender
from workloads import Data, Weights, Workload


class NumPy(Contender):
    """In place and preallocated float32; NumPy's own products (OpenBLAS); updates in cache-sized pieces."""

    PIECE = 16_384  # numbers of each buffer that an update treats at a time, so that they stay in the cache

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        super().__init__(workload, data, weights, threads)
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads, user_api="blas")
        rows, sizes = workload.batch_size, workload.sizes
        self.values = [np.empty((rows, size), np.float32) for size in sizes]
        self.deltas = [np.empty((rows, size), np.float32) for size in sizes]
        self.clean = np.empty((rows, sizes[0]), np.float32)
        self.uniform = np.empty((rows, sizes[0]), np.float32)
        self.room = np.empty((rows, max(sizes)), np.float32)
        count = sum(W.size + b.size for W, b in weights)
        self.parameters, self.gradients, self.m, self.v = (np.zeros(count, np.float32) for _ in range(4))
        self.layers, self.slopes = self._windows(self.parameters), self._windows(self.gradients)
        self.pieces = [slice(first, first + self.PIECE) for first in range(0, count, self.PIECE)]
        self.step_room = np.empty((2, self.PIECE + max(sizes)), np.float32)
        self.rank_one = rows == 1 and workload.optimizer == "sgd"
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

    def first_steps(self, steps: int) -> float:
        size = self.workload.batch_size
        losses = [self._step(np.arange(first, first + size), noisy=False) for first in range(0, steps * size, size)]
        return float(np.mean(losses))

    def train(self, order: NDArray[np.int64]) -> None:
        size = self.workload.batch_size
        for first in range(0, len(order), size):
            self._step(order[first : first + size], noisy=True)

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        value = X
        for (W, b), room in zip(self.layers, self.values[1:], strict=True):
            value = np.matmul(value, W, out=room[: len(X)])
            value += b
            if room is not self.values[-1]:
                self._activate(value)
        value -= value.max(axis=1, keepdims=True)
        np.exp(value, out=value)
        value /= value.sum(axis=1, keepdims=True)
        return value.copy()

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
        if not self.rank_one:
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
            if not self.rank_one:
                np.matmul(below.T, delta, out=self.slopes[layer][0])
                delta.sum(axis=0, out=self.slopes[layer][1])
            elif layer == 0:
                self._rank_one_step(layer)
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
            if self.rank_one:
                self._rank_one_step(layer)

    def _rank_one_step(self, layer: int) -> None:
        """SGD with a batch of one row: the gradient is an outer product and never travels to memory."""
        (W, b), below, delta = self.layers[layer], self.values[layer], self.deltas[layer + 1]
        delta *= self.workload.rate
        rows = self.PIECE // len(b) + 1
        for first in range(0, len(W), rows):
            piece = W[first : first + rows]
            room = self.step_room[0][: piece.size].reshape(piece.shape)
            np.multiply(below.T[first : first + rows], delta, out=room)
            piece -= room
        b -= delta[0]

    def _update(self) -> None:
        rate = self.workload.rate
        self.steps += 1
        if self.workload.optimizer == "sgd":
            for piece in self.pieces:
                self.gradients[piece] *= rate
                self.parameters[piece] -= self.gradients[piece]
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


class Reference(Contender):
    """`layerwise.reference` as it is written, plain NumPy, given float32 arrays."""

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        super().__init__(workload, data, weights, threads)
        from threadpoolctl import threadpool_limits

        from layerwise import reference

        threadpool_limits(threads, user_api="blas")
        self.reference = reference
        classes = workload.sizes[-1]
        self.targets = data.X if workload.rebuilds_input else np.eye(classes, dtype=np.float32)[data.y]
        self.reset()

    def reset(self) -> None:
        last = len(self.start) - 1
        self.layers = [
            self.reference.Layer(W.copy(), b.copy(), self.workload.loss if i == last else self.workload.activation)
            for i, (W, b) in enumerate(self.start)
        ]

    def first_steps(self, steps: int) -> float:
        return float(np.mean(self._run(np.arange(steps * self.workload.batch_size), noisy=False)))

    def train(self, order: NDArray[np.int64]) -> None:
        self._run(order, noisy=True)

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self.reference.forward(X, self.layers)[-1][2])

    def _run(self, order: NDArray[np.int64], *, noisy: bool) -> list[float]:
        workload = self.workload
        batches = order.reshape(-1, workload.batch_size)
        settings = [{"learning_rate": workload.rate}] * len(batches)
        loss = f"{workload.loss}_cross_entropy"
        noise = self._corrupted if noisy and workload.masking else None
        losses = self.reference.train(
            self.data.X, self.targets, self.layers, loss, batches, workload.optimizer, settings, noise=noise
        )
        if self.layers[0].W.dtype != np.float32:
            raise TypeError(f"the reference went from float32 to {self.layers[0].W.dtype}")
        return list(losses)

    def _corrupted(self, x: NDArray[np.float32], rows: Any, step: int) -> NDArray[np.float32]:  # noqa: ARG002
        return x * (self.rng.random(x.shape, np.float32) >= self.workload.masking)
