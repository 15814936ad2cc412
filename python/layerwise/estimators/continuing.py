"""Going on from a fit before: `warm_start` and `partial_fit`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

import numpy as np

from layerwise import checks
from layerwise.activations import Activation
from layerwise.batch_normalization import normalized
from layerwise.checks import Parameter
from layerwise.finetuning import FineTuning
from layerwise.network import Network
from layerwise.pretraining import Stage
from layerwise.schedules import CONSTANT
from layerwise.training import EpochRecord, Memory


@dataclass(frozen=True)
class Architecture:
    """The hidden layers, checked: one size, activation and initialiser a layer."""

    sizes: tuple[int, ...]
    kinds: list[Activation]
    starts: list[Any]

    def normalized(self, where: Parameter, batch_norm: Any) -> "Architecture":
        """Return the same with the batch normalisation that the parameter `batch_norm` asks for."""
        return replace(self, kinds=normalized(where, batch_norm, self.kinds))


@dataclass(frozen=True)
class Kept:
    """What a fit goes on from: the stages and history of the fit before, and its network if that is of use."""

    stages: list[Stage]
    history: list[EpochRecord]
    network: Network | None
    dtype: np.dtype[Any]


class Continuing(ABC):
    """What fits that go on have in common."""

    batch_norm: Any
    warm_start: Any = False

    @abstractmethod
    def _n_hidden(self) -> int:
        """Return the number of hidden layers of the fitted network."""

    @abstractmethod
    def _where(self, name: str = "") -> Parameter:
        """Return the parameter `name` of this estimator, for messages."""

    def _kept(self, shape: Architecture, *, always: bool = False) -> Kept | None:
        """Return what `warm_start` (or `always`) keeps of the fit before; None if nothing, or if there was none.

        The network is kept if its hidden layers are those asked for, else the stages if the lowest layers are theirs.
        """
        warm = checks.boolean(self._where("warm_start"), self.warm_start)
        stages, history = getattr(self, "stages_", []), getattr(self, "history_", [])
        network = getattr(self, "network_", None)
        if not (warm or always) or (network is None and (always or not stages)):
            return None
        asked = list(zip(shape.sizes, shape.kinds, strict=True))
        before = [stage.encoder for stage in stages] if network is None else network.layers[: self._n_hidden()]
        reached = list(takewhile(_was_reached, stages))
        tuned = any(record.stage == "finetuning" for record in history)
        same = network is not None and asked == [(layer.n_out, layer.activation) for layer in before]
        if network is not None and same and (always or tuned or len(reached) == len(stages)):
            return Kept(list(stages), list(history), network, network.dtype)
        pretrained = [(stage.encoder.n_out, stage.encoder.activation) for stage in reached]
        if not always and stages and (same or reached) and asked[: len(reached)] == pretrained:
            records = [record for stage in reached for record in stage.history]
            return Kept(reached, records, None, stages[0].encoder.bias.dtype)
        name = "activation" if list(shape.sizes) == [layer.n_out for layer in before] else "hidden_layer_sizes"
        if name == "activation" and [kind.bare for kind in shape.kinds] == [layer.activation.bare for layer in before]:
            name = "batch_norm"
        layers = ", ".join(f"{layer.n_out} {layer.activation.title}" for layer in before)
        allowed = f"that of the fit before ({layers}), with warm_start or partial_fit"
        raise self._where(name).error(allowed, getattr(self, name))

    def _memory_of(self, fitted: dict[str, Any], settings: FineTuning) -> Memory:
        """Return a copy of what the optimiser remembers of the passes before; nothing, if it is another optimiser."""
        optimizer, memory = getattr(self, "_memory", (None, Memory()))
        memory = replace(memory) if optimizer == settings.optimizer else Memory()
        fitted["_memory"] = settings.optimizer, memory
        return memory


def _was_reached(stage: Stage) -> bool:
    """Return whether a layer was pretrained as far as it should be: it was not if the time was over before."""
    settings: Any = stage.settings
    return bool(stage.history) or settings.epochs == 0


def passes_make_sense(estimator: Any) -> bool:
    """Return whether `partial_fit` is available; raise AttributeError if the settings are of whole fits alone."""
    settings = estimator.finetuning
    if estimator.checkpoint is not None:
        raise AttributeError("partial_fit is one pass, which needs no checkpoint. Use fit, or checkpoint=None.")
    if isinstance(settings, FineTuning):
        for name, whole in (
            ("early_stopping", bool(settings.early_stopping)),
            ("schedule", settings.schedule not in ("auto", "constant", CONSTANT)),
            ("thaw_after", settings.thaw_after is not None),
            ("optimizer__momentum", getattr(settings.optimizer, "momentum_schedule", None) is not None),
        ):
            if whole:
                raise AttributeError(f"partial_fit is one pass, which finetuning__{name} cannot rule. Use fit.")
    if isinstance(getattr(estimator, "class_weight", None), str):
        raise AttributeError('partial_fit does not know all rows, as class_weight="balanced" must. Give a dict.')
    return True
