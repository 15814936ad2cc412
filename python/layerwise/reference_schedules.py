"""Schedules of the learning rate and of the momentum in plain Python: their definition.

A step is counted from 0 through all epochs. The factors are those on the learning rate in that step.
"""

from __future__ import annotations

import math


def warm_up_factor(step: int, warm_up_steps: int) -> float:
    """A straight rise that reaches 1 in the first step after the warm-up."""
    return min(1.0, (step + 1) / (warm_up_steps + 1))


def inverse_time(step: int, decay: float) -> float:
    """Larochelle et al. 2009: the decrease constant, per update."""
    return 1 / (1 + decay * step)


def step_decay(step: int, factor: float, every: int, steps_per_epoch: int) -> float:
    """A fall by `factor` after every `every` epochs."""
    return factor ** (step // (every * steps_per_epoch))


def exponential(step: int, factor: float, steps_per_epoch: int) -> float:
    """A fall by `factor` an epoch, spread over its steps."""
    return math.exp(math.log(factor) * step / steps_per_epoch)


def linear(step: int, end: float, held: int, steps: int) -> float:
    """1 up to step `held`, from there a straight line to `end` in step `steps`, the first that is not done."""
    if step < held:
        return 1.0
    return ((steps - step) + end * (step - held)) / (steps - held)


def cosine(step: int, end: float, steps: int) -> float:
    """Loshchilov & Hutter 2017, equation 5: half a cosine from 1 to `end`."""
    return end + 0.5 * (1 - end) * (1 + math.cos(math.pi * step / steps))


def momentum_ramp(step: int, highest: float, every: int) -> float:
    """Sutskever et al. 2013, section 3."""
    return min(1 - 2 ** (-1 - math.log2(step // every + 1)), highest)


def momentum_switch(step: int, first: float, then: float, epochs: int, steps_per_epoch: int) -> float:
    """Hinton & Salakhutdinov 2006, in their code."""
    return first if step < epochs * steps_per_epoch else then
