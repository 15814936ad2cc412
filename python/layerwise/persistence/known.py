"""The classes of settings that a model file may name."""

from typing import Any

from layerwise import (
    activations,
    batch_normalization,
    column_groups,
    corruption,
    finetuning,
    initializers,
    momentum_schedules,
    optimizers,
    pretraining,
    schedules,
    supervised_pretraining,
)

_SETTINGS: list[Any] = [
    *optimizers.BY_NAME.values(),
    *optimizers.SEARCHING.values(),
    *schedules.BY_NAME.values(),
    *momentum_schedules.MOMENTUM_SCHEDULES,
    *corruption.BY_NAME.values(),
    corruption.Emphasis,
    column_groups.ColumnGroups,
    activations.LeakyReLU,
    activations.PReLU,
    activations.ELU,
    activations.GELU,
    activations.Swish,
    batch_normalization.BatchNorm,
    initializers.Normal,
    initializers.Sparse,
    *pretraining.BY_NAME.values(),
    supervised_pretraining.SupervisedPretraining,
    finetuning.FineTuning,
]
SETTINGS: dict[str, Any] = {kind.__name__: kind for kind in _SETTINGS}
