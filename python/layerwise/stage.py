"""What the pretraining of one layer leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from layerwise import checks
from layerwise.activations import Activation
from layerwise.network import DenseLayer, Network
from layerwise.settings import Settings
from layerwise.training import EpochRecord

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Stage:
    """One pretrained layer: what pretraining learned there, how, and how well.

    Attributes
    ----------
    layer : int
        Counted from 1.
    encoder : DenseLayer
        The hidden layer.
    decoder : DenseLayer
        Its `tied_to` is 0 if it shares the encoder's weights, else -1.
    loss : str
        "squared_error", "cross_entropy", or "mixed" for a table by its `ColumnGroups`, which are then `settings.loss`.
    settings : Autoencoder, DenoisingAutoencoder, RestrictedBoltzmannMachine or SupervisedPretraining
        This layer's settings, each a single value.
    history : tuple of EpochRecord
    skill : float
        1 - loss / loss of predicting each column's mean, for clean inputs: 0 is worthless, 1 perfect. Cross-entropies
        count from their least possible value (the targets' own entropy), so that 1 can be reached. Measured on at
        most 10,000 of the training rows.
    """

    layer: int
    encoder: DenseLayer
    decoder: DenseLayer
    loss: str
    settings: Settings
    history: tuple[EpochRecord, ...]
    skill: float

    @property
    def weights(self) -> Array:
        """The encoder's weights, of shape (n_in, n_out)."""
        return self.encoder.weights

    @property
    def bias(self) -> Array:
        """The encoder's bias, of shape (n_out,)."""
        return self.encoder.bias

    def network(self) -> Network:
        """Return encoder and decoder as a network."""
        return Network([self.encoder, self.decoder])

    def encode(self, X: Array) -> Array:
        """Return the codes, of shape (n_rows, n_out), of inputs of shape (n_rows, n_in)."""
        return self.network().apply(checks.as_engine(X, self.encoder.bias.dtype), 0, 1)

    def decode(self, H: Array) -> Array:
        """Return the reconstructions, of shape (n_rows, n_in), of codes of shape (n_rows, n_out)."""
        return self.network().apply(checks.as_engine(H, self.encoder.bias.dtype, "H"), 1, 2)

    def __repr__(self) -> str:
        """Return the stage in a line."""
        return (
            f"<Stage {self.layer}: {self.encoder.n_in} -> {self.encoder.n_out} {self.encoder.activation.name}, "
            f"{len(self.history)} epochs, skill {self.skill:.3f}>"
        )


def check_done(done: Sequence[Stage], X: Array, sizes: Sequence[int], kinds: Sequence[Activation]) -> None:
    """Raise ValueError if the stages done are not the lowest hidden layers that are asked for."""
    shapes = [(stage.encoder.n_in, stage.encoder.n_out, stage.encoder.activation) for stage in done]
    if shapes != list(zip([X.shape[1], *sizes], sizes, kinds, strict=False))[: len(done)]:
        raise ValueError(
            f"The stages done, {list(done)}, are not the lowest layers of a network {X.shape[1]} -> {sizes}."
        )
