"""PyTorch three times: eager, its products in bfloat16, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers import BETA_1, BETA_2, EPSILON, Contender
from workloads import Data, Weights, Workload


class PyTorch(Contender):
    """Eager PyTorch, a hand-written loop: its fused optimisers, indexing for batches, subnormals flushed."""

    def __init__(self, workload: Workload, data: Data, weights: Weights, threads: int) -> None:
        super().__init__(workload, data, weights, threads)
        import torch

        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        self.torch = torch
        self.X, self.y = torch.from_numpy(data.X), torch.from_numpy(data.y)
        self.reset()

    def reset(self) -> None:
        torch = self.torch
        # A layer's weights as PyTorch stores them: (n_out, n_in).
        self.layers = [
            (torch.tensor(W.T.copy(), requires_grad=True), torch.tensor(b, requires_grad=True)) for W, b in self.start
        ]
        parameters = [parameter for layer in self.layers for parameter in layer]
        if not self.workload.predicts:
            make = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.workload.optimizer]
            self.optimizer = make(parameters, lr=self.workload.rate, fused=True)

    def first_steps(self, steps: int) -> float:
        order = self.torch.arange(steps * self.workload.batch_size)
        losses = [self._step(rows, noisy=False) for rows in order.split(self.workload.batch_size)]
        return float(np.mean([float(loss) for loss in losses]))

    def train(self, order: NDArray[np.int64]) -> None:
        total = self.torch.zeros(())
        for rows in self.torch.from_numpy(order).split(self.workload.batch_size):
            total += self._step(rows, noisy=True)
        float(total)

    def predict(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        with self.torch.inference_mode():
            return np.asarray(self._chances(self.torch.from_numpy(X)).numpy())

    def _chances(self, X: Any) -> Any:
        return self.torch.softmax(self._logits(X), dim=1)

    def _step(self, rows: Any, *, noisy: bool) -> Any:
        clean = self.X.index_select(0, rows)
        loss = self._loss(self._corrupted(clean, noisy), clean if self.workload.rebuilds_input else self.y[rows])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _corrupted(self, clean: Any, noisy: bool) -> Any:
        masking = self.workload.masking
        return clean * (self.torch.rand_like(clean) >= masking) if noisy and masking else clean

    def _logits(self, value: Any) -> Any:
        F = self.torch.nn.functional
        for depth, (W, b) in enumerate(self.layers, 1):
            value = F.linear(value, W, b)
            if depth < len(self.layers):
                value = F.relu(value) if self.workload.activation == "relu" else self.torch.sigmoid(value)
        return value

    def _loss(self, given: Any, target: Any) -> Any:
        return self._loss_of_logits(self._logits(given), target)

    def _loss_of_logits(self, logits: Any, target: Any) -> Any:
        F = self.torch.nn.functional
        if self.workload.rebuilds_input:
            return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(target)
        return F.cross_entropy(logits, target)


class Bfloat16(PyTorch):
    """Eager PyTorch with its products in bfloat16: in training by autocast (weights, losses and updates stay float32).

    For predictions the whole model is made bfloat16 once: autocast would round all weights in each call.
    """

    tolerance = 2e-2  # of numbers with eight bits

    def reset(self) -> None:
        super().reset()
        if self.workload.predicts:
            kind = self.torch.bfloat16
            self.layers = [(W.detach().to(kind), b.detach().to(kind)) for W, b in self.layers]

    def _logits(self, value: Any) -> Any:
        if self.workload.predicts:
            return super()._logits(value.to(self.torch.bfloat16)).float()
        with self.torch.autocast("cpu", self.torch.bfloat16):
            return super()._logits(value).float()


class Compiled(PyTorch):
    """PyTorch's compiler on a whole step: gather, noise, loss, gradients and update in one graph."""

    def reset(self) -> None:
        torch = self.torch
        self.flat = [torch.tensor(array) for layer in self.start for array in (layer[0].T.copy(), layer[1])]
        self.layers = list(zip(self.flat[::2], self.flat[1::2], strict=True))
        if self.workload.predicts:
            self._chances = self._compiled(super()._chances)
            return
        self.m, self.v = ([torch.zeros_like(array) for array in self.flat] for _ in range(2))
        self.count = torch.zeros(())
        if not hasattr(self, "run"):
            plain = self._compiled(self._whole(False))
            self.run = {False: plain, True: self._compiled(self._whole(True)) if self.workload.masking else plain}

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiled at the first call, for the very shapes of each call and without a break in the graph."""
        made: Callable[..., Any] = self.torch.compile(function, fullgraph=True, dynamic=False)
        return made

    def _step(self, rows: Any, *, noisy: bool) -> Any:
        with self.torch.no_grad():
            return self.run[noisy](self.flat, self.m, self.v, self.count, rows)

    def _whole(self, noisy: bool) -> Callable[..., Any]:
        torch, workload = self.torch, self.workload

        def objective(flat: Any, given: Any, target: Any) -> Any:
            value = given
            for depth in range(0, len(flat), 2):
                value = torch.nn.functional.linear(value, flat[depth], flat[depth + 1])
                if depth + 2 < len(flat):
                    value = torch.relu(value) if workload.activation == "relu" else torch.sigmoid(value)
            return self._loss_of_logits(value, target)

        def step(flat: Any, m: Any, v: Any, count: Any, rows: Any) -> Any:
            clean = self.X.index_select(0, rows)
            given = self._corrupted(clean, noisy)
            target = clean if workload.rebuilds_input else self.y.index_select(0, rows)
            slopes, loss = torch.func.grad_and_value(objective)(flat, given, target)
            if workload.optimizer == "sgd":
                for w, g in zip(flat, slopes, strict=True):
                    w.sub_(workload.rate * g)
                return loss
            count.add_(1)
            scale = workload.rate / (1 - BETA_1**count)
            correction = 1 / torch.sqrt(1 - BETA_2**count)
            for w, g, first, second in zip(flat, slopes, m, v, strict=True):
                first.mul_(BETA_1).add_(g, alpha=1 - BETA_1)
                second.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
                w.sub_(scale * first / (second.sqrt() * correction + EPSILON))
            return loss

        return step
