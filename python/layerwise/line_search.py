"""Optimisation by line searches: nonlinear conjugate gradients and L-BFGS, on batches of rows.

A step of such a training is a batch: its rows, its corruption and its dropout are drawn once, and a few line searches
then lower its objective, which is a fixed function of the parameters. Were the noise drawn anew at each evaluation,
the values that a line search compares would differ by the noise as much as by the parameters, and gradients at two
points would tell nothing of the curvature between them. The next step draws another batch and begins anew, so that a
step depends on the parameters and its number alone and training can be taken up again at any of them.

The searches themselves, on one number, are SciPy's. The arithmetic on vectors is here, with sums in a fixed order, so
that the bits depend neither on threads nor on the processor's BLAS.
"""

import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import _core, checks, training
from layerwise.optimizers import LBFGS, LineSearches, Optimizer
from layerwise.training import Stats

Array = NDArray[Any]
Objective = Callable[[Array], tuple[float, Array]]  # parameters -> value, gradient

MOST_EVALUATIONS = 20  # in one line search, as in the code of 2006
GREATEST_RATIO = 10.0  # of the first trial's length to the step before, likewise
BLOCK = 1 << 16  # numbers of a partial sum


def inner(a: Array, b: Array) -> float:
    """Return the inner product, summed in float64 in an order that nothing changes."""
    total = 0.0
    for first in range(0, len(a), BLOCK):
        total += float(np.multiply(a[first : first + BLOCK], b[first : first + BLOCK], dtype=np.float64).sum())
    return total


class Method(ABC):
    """How the direction of a line search follows from the searches before.

    Attributes
    ----------
    decrease, curvature : float
        Of the Wolfe conditions: f(w + s p) <= f(w) + decrease * s * g.p and |g(w + s p).p| <= curvature * |g.p|.
    """

    decrease: float
    curvature: float

    @abstractmethod
    def forget(self) -> None:
        """Begin anew: the next direction is steepest descent."""

    @abstractmethod
    def direction(self, gradient: Array) -> Array:
        """Return the direction to search in."""

    @abstractmethod
    def first_trial(self, slope: float) -> float:
        """Return the first step to try along a direction in which the objective falls by -`slope`."""

    @abstractmethod
    def learn(self, step: float, direction: Array, slope: float, before: Array, after: Array) -> None:
        """Take note of a search: how far it went in which direction, its slope, the gradients before and after."""


class PolakRibiere(Method):
    """Conjugate gradients (Polak & Ribiere 1969).

    p = -g + max(0, beta) p_before, beta = g.(g - g_before) / g_before.g_before.
    """

    decrease, curvature = 0.05, 0.1  # as in the code of 2006

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next direction is steepest descent."""
        self._direction: Array | None = None
        self._before: Array | None = None
        self._step, self._slope = 0.0, 0.0

    def direction(self, gradient: Array) -> Array:
        """Return the direction to search in."""
        if self._direction is None or self._before is None:
            return -gradient
        beta = (inner(gradient, gradient) - inner(gradient, self._before)) / inner(self._before, self._before)
        chosen: Array = self._direction * gradient.dtype.type(max(0.0, beta)) - gradient
        return chosen

    def first_trial(self, slope: float) -> float:
        """Return the first step to try: as much of a fall, to first order, as the search before hoped for."""
        if self._direction is None:
            return 1 / (1 - slope)
        return self._step * min(GREATEST_RATIO, self._slope / slope)

    def learn(self, step: float, direction: Array, slope: float, before: Array, after: Array) -> None:  # noqa: ARG002
        """Take note of a search."""
        self._step, self._direction, self._slope, self._before = step, direction, slope, before


class LimitedMemory(Method):
    """L-BFGS: p = -H g, H from the last few steps and changes of the gradient by two loops (Nocedal 1980).

    Parameters
    ----------
    memory : int
        How many of them.
    """

    decrease, curvature = 1e-4, 0.9  # Nocedal & Wright 2006, section 3.1

    def __init__(self, memory: int) -> None:
        self._pairs: deque[tuple[Array, Array, float]] = deque(maxlen=memory)

    def forget(self) -> None:
        """Begin anew: the next direction is steepest descent."""
        self._pairs.clear()

    def direction(self, gradient: Array) -> Array:
        """Return the direction to search in."""
        kind = gradient.dtype.type
        q, shares = -gradient, []
        for s, y, product in reversed(self._pairs):
            shares.append(inner(s, q) / product)
            q -= kind(shares[-1]) * y
        if self._pairs:
            _, y, product = self._pairs[-1]
            q *= kind(product / inner(y, y))
        for (s, y, product), share in zip(self._pairs, reversed(shares), strict=True):
            q += kind(share - inner(y, q) / product) * s
        return q

    def first_trial(self, slope: float) -> float:
        """Return the first step to try: 1, which H is scaled for, but a careful one before there is an H."""
        return 1.0 if self._pairs else 1 / (1 - slope)

    def learn(self, step: float, direction: Array, slope: float, before: Array, after: Array) -> None:  # noqa: ARG002
        """Take note of a search; a pair without positive curvature would spoil H and is left out."""
        s, y = direction * direction.dtype.type(step), after - before
        product = inner(s, y)
        if product > 0 and inner(y, y) > 0:
            self._pairs.append((s, y, product))


@dataclass(frozen=True, eq=False)
class Point:
    """Where a search came to: parameters, value and gradient there, and the step that led to it."""

    w: Array
    value: float
    gradient: Array
    step: float

    @property
    def finite(self) -> bool:
        """Whether value and gradient are finite numbers."""
        return bool(np.isfinite(self.value)) and bool(np.isfinite(self.gradient).all())


class _EnoughError(Exception):
    """A search has had all its evaluations."""


class _Line:
    """The objective along a line; knows the last point looked at and the lowest."""

    def __init__(self, objective: Objective, start: Point, direction: Array) -> None:
        self._objective, self._start, self._direction = objective, start, direction
        self._evaluations = 0
        self._last = self.lowest = start

    def at(self, step: float) -> Point:
        """Return the point after a step."""
        if step != self._last.step:
            if self._evaluations == MOST_EVALUATIONS:
                raise _EnoughError
            self._evaluations += 1
            with np.errstate(over="ignore", invalid="ignore"):  # a trial too far is no failure
                w = self._start.w + self._direction.dtype.type(step) * self._direction
                point = Point(w, *self._objective(w), step)
            if not point.finite:
                point = Point(w, np.inf, np.zeros_like(w), step)
            self._last = point
            if point.value < self.lowest.value:
                self.lowest = point
        return self._last

    def slope(self, step: float) -> float:
        """Return the derivative by the step."""
        return inner(self.at(step).gradient, self._direction)


def search(objective: Objective, start: Point, direction: Array, slope: float, first: float, method: Method) -> Point:
    """Search along a direction by SciPy's algorithm (Nocedal & Wright 2006, algorithms 3.5 and 3.6).

    Parameters
    ----------
    objective : callable
    start : Point
    direction : ndarray
    slope : float < 0
        Of the objective at the start, by the step.
    first : float > 0
        The step to try first.
    method : Method
        For its Wolfe conditions.

    Returns
    -------
    Point
        That meets the Wolfe conditions, or else the lowest one that was looked at, which may be the start.
    """
    from scipy.optimize import line_search

    line = _Line(objective, Point(start.w, start.value, start.gradient, 0.0), direction)
    with warnings.catch_warnings():  # that the conditions cannot be met
        warnings.simplefilter("ignore")
        try:
            found = line_search(
                lambda a: line.at(first * float(a[0])).value,
                lambda a: np.array([first * line.slope(first * float(a[0]))]),
                np.zeros(1),
                np.ones(1),
                gfk=np.array([first * slope]),
                old_fval=start.value,
                c1=method.decrease,
                c2=method.curvature,
            )[0]
            if found is not None:
                point = line.at(first * float(found))
                if point.value < start.value:
                    return point
        except _EnoughError:
            pass
    return line.lowest


def descend(objective: Objective, w: Array, method: Method, searches: int) -> Iterator[Point]:
    """Yield the start, and then the point that each of at most `searches` line searches comes to.

    Where a search finds nothing lower, the next one goes along steepest descent; where that finds nothing either,
    rounding allows no more and the descent ends.
    """
    method.forget()
    point = Point(w, *objective(w), 0.0)
    yield point
    fresh = True
    for _ in range(searches if point.finite else 0):
        direction = method.direction(point.gradient)
        slope = inner(direction, point.gradient)
        if not slope < 0 and not fresh:  # rounding, or a batch that is not convex, has turned it uphill
            method.forget()
            direction, fresh = -point.gradient, True
            slope = inner(direction, point.gradient)
        if not slope < 0:
            return
        found = search(objective, point, direction, slope, method.first_trial(slope), method)
        if found.step > 0:
            method.learn(found.step, direction, slope, point.gradient, found.gradient)
            point, fresh = found, False
            yield point
        elif fresh:
            return
        else:
            method.forget()
            fresh = True


def method_of(optimizer: LineSearches) -> Method:
    """Return the method that settings mean."""
    return LimitedMemory(int(optimizer.memory)) if isinstance(optimizer, LBFGS) else PolakRibiere()


class Plan:
    """What trains by line searches, in the place of the engine's plan.

    Parameters
    ----------
    engine : Network of the engine
        Changed in place.
    recipe : Recipe of the engine
        Its optimiser is not used.
    optimizer : ConjugateGradient or LBFGS
    """

    def __init__(self, engine: Any, recipe: _core.Recipe, optimizer: LineSearches) -> None:
        self._engine, self._recipe = engine, recipe
        self._method, self._searches = method_of(optimizer), int(optimizer.searches)
        self._plan = training.plan_for(engine, recipe)
        self._order: tuple[int, Array] | None = None  # of the rows, in the epoch of that number
        self.standing: Any = None  # where the last run ended, as the engine's plan says it

    def run(
        self,
        X: Array,
        Y: Array | None,
        first_step: int,
        steps: int,
        rates: Array | None = None,  # noqa: ARG002 (the searches find the steps)
        momenta: Array | None = None,  # noqa: ARG002
        row_weights: Array | None = None,
        so_far: tuple[float, float] = (0.0, 0.0),
    ) -> Stats:
        """Do the steps `first_step` to `first_step` + `steps` - 1; what is left is where a search ended."""
        (loss_sum, weight_sum), rate = so_far, 0.0
        for step in range(first_step, first_step + steps):
            batch, targets, weights = self._rows(step, X, Y, row_weights)
            losses: list[float] = []

            def objective(
                w: Array,
                data: tuple[Any, ...] = (batch, targets, weights, step % (1 << 32)),
                losses: list[float] = losses,
            ) -> tuple[float, Array]:
                self._engine.set_parameters(w)
                value, gradient = self._plan.gradient(*data)
                losses.append(self._plan.loss)
                return float(value), gradient

            reached, finite = self._engine.parameters(), True
            self.standing = step, (loss_sum, weight_sum), reached
            try:
                for point in descend(objective, reached, self._method, self._searches):
                    reached, rate, finite = point.w, point.step, point.finite
            finally:  # also on Ctrl-C: the engine holds the last trial
                self._engine.set_parameters(reached)
                self._method.forget()
            if not finite:
                self.standing = ()
                return Stats(losses[0], finite=False, rate=rate)
            weight = float(len(batch)) if weights is None else float(weights.sum(dtype=np.float64))
            loss_sum, weight_sum = loss_sum + weight * losses[0], weight_sum + weight
            self.standing = step + 1, (loss_sum, weight_sum)
        return Stats(loss_sum / weight_sum if weight_sum > 0 else 0.0, rate=rate, sums=(loss_sum, weight_sum))

    def evaluate(self, X: Array, Y: Array | None = None, row_weights: Array | None = None) -> float:
        """Return the loss without noise and dropout."""
        return float(self._plan.evaluate(X, Y, row_weights))

    def moments(self) -> tuple[Array, Array]:
        """Return what is remembered from step to step: nothing, so zeros."""
        found: tuple[Array, Array] = self._plan.moments()
        return found

    def set_moments(self, first: Array, second: Array) -> None:
        """Forget nothing, because nothing is remembered; as the engine's plan."""
        self._plan.set_moments(first, second)

    def _rows(
        self, step: int, X: Array, Y: Array | None, row_weights: Array | None
    ) -> tuple[Array, Array | None, Array | None]:
        """Return the batch of a step: rows of the epoch's permutation, or all as they are where it has them all."""
        size = min(self._recipe.batch_size, len(X))
        if size == len(X):
            return X, Y, row_weights
        epoch, place = divmod(step, -(-len(X) // size))
        if self._order is None or self._order[0] != epoch:
            shuffles = self._recipe.shuffle
            order = (
                _core.random_permutation(checks.subkey(self._recipe.seed, epoch), 0, len(X))
                if shuffles
                else np.arange(len(X))
            )
            self._order = epoch, order
        rows = self._order[1][place * size : (place + 1) * size]
        return X[rows], None if Y is None else Y[rows], None if row_weights is None else row_weights[rows]


def plan_for(optimizer: Optimizer, engine: Any, recipe: _core.Recipe) -> Any:
    """Return what trains `engine` as `recipe` and `optimizer` say: the engine's plan, or one that searches."""
    if isinstance(optimizer, LineSearches):
        return Plan(engine, recipe, optimizer)
    return training.plan_for(engine, recipe)
