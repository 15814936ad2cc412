"""What the compiled engine offers to the Python side.

Python checks every user value first, with the argument's name; the engine checks shapes and dtypes again (ValueError,
TypeError) and never converts: arrays must be C-contiguous and of the network's dtype.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)

ACTIVATIONS: tuple[str, ...]  # identity sigmoid tanh relu leaky_relu prelu elu softplus gelu gelu_tanh silu swish softmax
LOSSES: tuple[str, ...]  # squared_error sigmoid_cross_entropy softmax_cross_entropy mixed
OPTIMIZERS: tuple[str, ...]  # sgd momentum nesterov adagrad rmsprop adam adamw
NOISES: tuple[str, ...]  # none masking gaussian salt_and_pepper swap dropout

def isa() -> str: ...  # the instruction set in use: "x86-64-v3"
def supported_isas() -> tuple[str, ...]: ...  # what this processor can run, slowest first
def has_bfloat16() -> bool: ...  # whether the instruction set in use has products in bfloat16
def default_threads() -> int: ...  # cores allowed by affinity, cgroup quota and OMP_NUM_THREADS / threadpoolctl
def suppose_cores(cores: str) -> None: ...  # for tests: "near" or "far" instead of "measured", for networks whose weights threads share
def random_words(seed: int, stream: int, n: int) -> NDArray[np.uint32]: ...  # Philox4x32-10 words of one stream
def random_uniform(seed: int, stream: int, n: int) -> NDArray[np.float64]: ...  # in [0, 1), 53 bits
def random_normal(seed: int, stream: int, n: int) -> NDArray[np.float64]: ...
def random_permutation(seed: int, stream: int, n: int, step: int = 0) -> NDArray[np.int64]: ...

class Layer:
    def __init__(
        self,
        n_in: int,
        n_out: int,
        activation: str,
        parameter: float | None = None,  # alpha of leaky_relu, prelu, elu; beta of swish: its value, or its start when learned
        learn: str = "fixed",  # "fixed", "shared" (one for the layer) or "unit" (one per unit): prelu and swish only
        tied_to: int = -1,  # uses the transposed weights of that earlier layer (own bias, no own weights)
        groups: Sequence[tuple[str, int]] = (),  # of the last layer, activation identity, loss mixed: number, flag, category; how many columns
        batch_norm: tuple[float, float] | None = None,  # momentum and epsilon of batch normalisation, not of the last layer; b is then its shift
    ) -> None: ...
    n_in: int
    n_out: int
    activation: str
    parameter: float
    learn: str
    tied_to: int
    batch_norm: tuple[float, float] | None

class Optimizer:
    def __init__(
        self,
        kind: str,
        momentum: float = 0.9,  # also beta_1
        decay: float = 0.999,  # beta_2 of Adam, decay of RMSProp's average
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,  # adamw
        bias_correction: bool = True,
        epsilon_inside_sqrt: bool = False,
    ) -> None: ...

class Noise:
    def __init__(
        self,
        kind: str = "none",
        level: float = 0.0,  # probability, or standard deviation
        low: float = 0.0,  # salt and pepper
        high: float = 1.0,
        levels: Sequence[float] = (),  # one a column, instead of level
        exact: bool = False,  # masking: level * columns of each row's columns, rounded (halves up)
        corrupted_weight: float = 1.0,  # of the loss's cells (Vincent 2010: alpha)
        clean_weight: float = 1.0,  # beta
        groups: Sequence[tuple[str, int]] = (),  # swap: as a Layer's; a category is replaced whole, by the first column's level
    ) -> None: ...

class Penalties:
    """What is added to the objective besides alpha's term, and the bounds on gradients and weights; 0 means none."""

    def __init__(
        self,
        l1: float = 0.0,  # times the sum of all |weights|
        activation_l1: Sequence[float] = (),  # one a layer, 0 for the last: times the sum of the layer's |outputs|
        sparsity: Sequence[float] = (),  # one a layer: times the sum of KL(sparsity_target || mean output) over its units
        contraction: Sequence[float] = (),  # one a layer: times the squared norm of its Jacobian
        sparsity_target: float = 0.05,
        clip_value: float = 0.0,  # of the gradient of the objective
        clip_norm: float = 0.0,
        max_norm: float = 0.0,  # of each unit's incoming weights, after each step
    ) -> None: ...

class Recipe:
    """Fixed settings of a run. Per-layer lists may be empty (the default for every layer)."""

    def __init__(
        self,
        loss: str,
        optimizer: Optimizer,
        batch_size: int,
        seed: int = 0,  # 64 bits
        alpha: float = 0.0,
        noise: Noise = ...,
        dropout: Sequence[float] = (),  # of each layer's outputs; the last must be 0
        frozen: Sequence[bool] = (),
        rate_scale: Sequence[float] = (),
        shuffle: bool = True,
        missing_targets: bool = False,  # NaN targets count nothing
        threads: int = 0,  # 0: by the cost model, at most default_threads()
        penalties: Penalties = ...,
        bfloat16: bool = False,  # products of batches of two rows and more; needs has_bfloat16() and a float32 network
    ) -> None: ...
    batch_size: int
    seed: int
    shuffle: bool

class RunStats:
    loss: float  # mean over the rows seen (weighted) of the loss summed over outputs; without the alpha term
    sums: tuple[float, float]  # what that mean is made of: the sums of weight * loss and of weight
    rows: int
    steps: int  # finished steps; fewer than asked when the loss was not finite
    finite: bool
    seconds: float

class Network(Generic[Float]):  # Network_float32, Network_float64
    def __init__(self, layers: Sequence[Layer]) -> None: ...
    layers: list[Layer]
    n_parameters: int
    def weights(self, layer: int) -> NDArray[Float]: ...  # a copy, (n_in, n_out); of a tied layer: the transpose it uses
    def bias(self, layer: int) -> NDArray[Float]: ...  # (n_out,)
    def parameter(self, layer: int) -> NDArray[Float]: ...  # (n_out,): alpha or beta of each unit
    def set_weights(self, layer: int, values: NDArray[Float]) -> None: ...
    def set_bias(self, layer: int, values: NDArray[Float]) -> None: ...
    def set_parameter(self, layer: int, values: NDArray[Float]) -> None: ...  # (n_out,); all equal when shared
    def normalization(self, layer: int) -> NDArray[Float]: ...  # (3, n_out), with batch_norm: scale, running mean, running variance
    def set_normalization(self, layer: int, values: NDArray[Float]) -> None: ...
    # Flat order: for each layer W (row-major n_in x n_out, unless tied), b, then the learned activation parameter
    # (n_out numbers for "unit", 1 for "shared", none when fixed), then with batch_norm scale, running mean and running variance,
    # of which no gradient leads to the last two.
    def parameters(self) -> NDArray[Float]: ...
    def set_parameters(self, values: NDArray[Float]) -> None: ...
    # Layers first .. last-1 applied to X, no noise, no dropout; logits leaves out the very last activation. With `rounded`, the network's
    # own RoundedWeights, the products are in bfloat16.
    def apply(self, X: NDArray[Float], first: int = 0, last: int = -1, logits: bool = False, threads: int = 0, rounded: RoundedWeights | None = None) -> NDArray[Float]: ...

class RoundedWeights:
    """A network's weights, as they are now, in bfloat16 (needs has_bfloat16()); keeps the network alive."""

    def __init__(self, network: Network[np.float32]) -> None: ...

class Plan(Generic[Float]):  # Plan_float32, Plan_float64
    """Network + workspace + optimiser memory: trains in place the network it was made with."""

    def __init__(self, network: Network[Float], recipe: Recipe) -> None: ...
    # Y None: the targets are the clean X. rates: one learning rate per step; momenta: one per step, or None.
    # so_far: the sums of the epoch's steps before, so that the loss is that of the whole, to the bit.
    # Raises KeyboardInterrupt after finishing the current step; one of several row blocks is given up.
    def run(
        self,
        X: NDArray[Float],
        Y: NDArray[Float] | None,
        first_step: int,
        steps: int,
        rates: NDArray[np.float64],
        momenta: NDArray[np.float64] | None = None,
        row_weights: NDArray[Float] | None = None,
        so_far: tuple[float, float] = (0.0, 0.0),
        ids: NDArray[np.int64] | None = None,  # X has the rows of these steps, one after the other: their positions
    ) -> RunStats: ...
    # Loss without noise, dropout or alpha.
    def evaluate(self, X: NDArray[Float], Y: NDArray[Float] | None, row_weights: NDArray[Float] | None = None) -> float: ...
    # Objective (with alpha's term) and its flat gradient over all rows; noise and dropout are those of `step`.
    def gradient(
        self, X: NDArray[Float], Y: NDArray[Float] | None, row_weights: NDArray[Float] | None = None, step: int = 0
    ) -> tuple[float, NDArray[Float]]: ...
    loss: float  # of the rows that `gradient` saw last, without any penalty
    def moments(self) -> tuple[NDArray[Float], NDArray[Float]]: ...  # flat, zeros where the optimiser has none
    def set_moments(self, first: NDArray[Float], second: NDArray[Float]) -> None: ...
    # Where the last run ended, by an exception or not: (next step, sums of its epoch); None: there was no run; (): within a
    # step that has changed what the plan remembers, or diverged.
    standing: tuple[int, tuple[float, float]] | tuple[()] | None

Network_float32: type[Network[np.float32]]
Network_float64: type[Network[np.float64]]
Plan_float32: type[Plan[np.float32]]
Plan_float64: type[Plan[np.float64]]

class RbmPlan(Generic[Float]):  # RbmPlan_float32, RbmPlan_float64
    """Contrastive divergence: trains in place a network of an encoder and the decoder tied to it, as a Boltzmann machine."""

    def __init__(
        self,
        network: Network[Float],  # activations sigmoid (binary units) or identity (Gaussian units), not identity twice
        recipe: Recipe,  # loss sigmoid_cross_entropy with binary visible units, else squared_error; no noise, penalties or per-layer lists
        k: int = 1,
        persistent: bool = False,
        sample_visible: bool = False,
        sparsity_target: float = 0.1,
        sparsity_cost: float = 0.0,
        sparsity_decay: float = 0.9,
    ) -> None: ...
    # Persistent chains and the running means of a sparsity target go on from call to call; all else follows from the step's number.
    # Raises KeyboardInterrupt as Plan does; a step that takes long is given up.
    def run(
        self,
        X: NDArray[Float],
        first_step: int,
        steps: int,
        rates: NDArray[np.float64],
        momenta: NDArray[np.float64] | None = None,
        row_weights: NDArray[Float] | None = None,
        so_far: tuple[float, float] = (0.0, 0.0),
        ids: NDArray[np.int64] | None = None,  # X has the rows of these steps, one after the other: their positions
    ) -> RunStats: ...
    def moments(self) -> tuple[NDArray[Float], NDArray[Float]]: ...  # as of Plan
    def set_moments(self, first: NDArray[Float], second: NDArray[Float]) -> None: ...
    standing: tuple[int, tuple[float, float]] | tuple[()] | None  # as of Plan
    def memory(self) -> NDArray[Float]: ...  # what goes on: running means and chains, as far as the machine has them
    def set_memory(self, values: NDArray[Float]) -> None: ...

RbmPlan_float32: type[RbmPlan[np.float32]]
RbmPlan_float64: type[RbmPlan[np.float64]]

# Gibbs chains that start from the visible states V, one a row: the visible states after `steps`, or (means) their last means.
def gibbs(network: Network[Float], V: NDArray[Float], steps: int, means: bool, seed: int, threads: int = 0) -> NDArray[Float]: ...

# The kernels as array functions (layerwise.kernels wraps them): x is float32 or float64, C-contiguous, 2-D where not said.
def matmul(a: NDArray[Any], b: NDArray[Any], transpose_a: bool, transpose_b: bool, threads: int) -> NDArray[Any]: ...
def dense_forward(X: NDArray[Any], W: NDArray[Any], b: NDArray[Any], activation: str, parameter: NDArray[Any], threads: int) -> tuple[NDArray[Any], NDArray[Any]]: ...  # (z, a)
def dense_backward(X: NDArray[Any], W: NDArray[Any], z: NDArray[Any], G: NDArray[Any], activation: str, parameter: NDArray[Any], threads: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]: ...  # (dX, dW, db, dparameter per unit)
def activation(z: NDArray[Any], name: str, parameter: NDArray[Any]) -> NDArray[Any]: ...  # parameter: (columns,)
def activation_backward(z: NDArray[Any], g: NDArray[Any], name: str, parameter: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]: ...  # (g * slope, elementwise g * df/dparameter)
def loss(p: NDArray[Any], t: NDArray[Any], name: str, groups: Sequence[tuple[str, int]] = ()) -> tuple[NDArray[np.float64], NDArray[Any]]: ...  # per row; delta (not divided by rows)
def optimizer_step(optimizer: Optimizer, w: NDArray[Any], m: NDArray[Any], v: NDArray[Any], g: NDArray[Any], rate: float, step: int, alpha: float) -> None: ...  # in place, 1-D; step counts from 1
def corrupt(X: NDArray[Any], noise: Noise, rows: NDArray[np.int64], seed: int, step: int) -> NDArray[Any]: ...  # what the engine does to those rows
def squares_are_finite(X: NDArray[Any]) -> bool: ...  # whether X and the sum of its squares are; X C-contiguous
