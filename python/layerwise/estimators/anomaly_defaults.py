"""What "auto" means for an anomaly detector (docs/decisions/0003-defaults.md says by which measurement)."""

from layerwise.autoencoders import DenoisingAutoencoder
from layerwise.finetuning import FineTuning
from layerwise.optimizers import Adam
from layerwise.training import batch_size_for

NARROWEST, WIDEST = 32, 128
LEAST_BATCH = 20

PRETRAINING = DenoisingAutoencoder(epochs=5, optimizer=Adam(0.004))
FINETUNING = FineTuning(epochs=30, optimizer=Adam(0.004), input_dropout=0.2, untie=True)


def usual_sizes(n_features: int) -> tuple[int]:
    """Return the hidden layers for so many columns."""
    return (min(max(-(-n_features // 4), NARROWEST), WIDEST),)


def usual_batch(n_rows: int) -> int:
    """Return the rows of a batch: the usual number, but not as few as it may be."""
    return max(batch_size_for("auto", n_rows), LEAST_BATCH)
