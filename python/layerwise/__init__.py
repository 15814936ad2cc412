"""Layerwise: greedy layer-wise unsupervised pretraining and fine-tuning of deep networks, fast on a CPU.

The public names are imported on first use, so that ``import layerwise`` needs NumPy alone and takes no time over it.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A wheel's private OpenMP runtime keeps its idle threads spinning for milliseconds after each call, which slows the
# caller's own NumPy or torch. It reads this variable once, when the engine is loaded; a user's own setting stands.
_quieten = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
if _quieten:
    os.environ["GOMP_SPINCOUNT"] = "4000"  # some 70 microseconds on Zen 4
try:
    from layerwise import _core as _core
except ImportError as _error:
    # As a command (python -m: the word "-m" stands there until the package is imported), the reason alone will do.
    if os.path.basename(sys.argv[0] if sys.argv else "") in ("layerwise", "-m") and "LAYERWISE_ISA" in str(_error):
        raise SystemExit(f"layerwise: {_error}") from None
    raise
finally:
    if _quieten:
        del os.environ["GOMP_SPINCOUNT"]

if TYPE_CHECKING:
    from layerwise.activations import ELU, GELU, LeakyReLU, PReLU, Swish
    from layerwise.autoencoders import Autoencoder, ContractiveAutoencoder, DenoisingAutoencoder, SparseAutoencoder
    from layerwise.batch_normalization import BatchNorm
    from layerwise.callbacks import BestModel, JSONLines
    from layerwise.checkpoints import Checkpoint
    from layerwise.checks import ColumnWarning, InvalidParameterError, ScaleWarning, SeenRowsWarning, TimeLimitWarning
    from layerwise.column_groups import ColumnGroups
    from layerwise.comparison import Comparison, compare
    from layerwise.corruption import Emphasis, Gaussian, Masking, SaltAndPepper, Swap
    from layerwise.estimators import (
        AnomalyDetector,
        LabeledSplit,
        PretrainedClassifier,
        PretrainedRegressor,
        StackedAutoencoder,
        load,
    )
    from layerwise.finetuning import FineTuning
    from layerwise.health import (
        DeadUnitsWarning,
        Diagnosis,
        HealthWarning,
        IdentityWarning,
        NoSkillWarning,
        SaturatedUnitsWarning,
        VanishingGradientWarning,
        diagnose,
    )
    from layerwise.initializers import Normal, Sparse
    from layerwise.momentum_schedules import MomentumRamp, MomentumSwitch
    from layerwise.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, ConjugateGradient, Momentum, Nesterov, RMSProp
    from layerwise.persistence import FormatError
    from layerwise.pretraining import Stage, pretrain
    from layerwise.rbm import RestrictedBoltzmannMachine
    from layerwise.schedules import (
        ConstantRate,
        CosineDecay,
        ExponentialDecay,
        InverseTimeDecay,
        LinearDecay,
        ReduceOnPlateau,
        StepDecay,
    )
    from layerwise.supervised_pretraining import SupervisedPretraining, pretrain_supervised
    from layerwise.tabular import tabular_pipeline
    from layerwise.training import EpochRecord, TrainingDiverged

_HOMES = {
    "activations": ("ELU", "GELU", "LeakyReLU", "PReLU", "Swish"),
    "autoencoders": ("Autoencoder", "ContractiveAutoencoder", "DenoisingAutoencoder", "SparseAutoencoder"),
    "batch_normalization": ("BatchNorm",),
    "callbacks": ("BestModel", "JSONLines"),
    "checkpoints": ("Checkpoint",),
    "checks": ("ColumnWarning", "InvalidParameterError", "ScaleWarning", "SeenRowsWarning", "TimeLimitWarning"),
    "column_groups": ("ColumnGroups",),
    "comparison": ("Comparison", "compare"),
    "corruption": ("Emphasis", "Gaussian", "Masking", "SaltAndPepper", "Swap"),
    "estimators": (
        "AnomalyDetector",
        "LabeledSplit",
        "PretrainedClassifier",
        "PretrainedRegressor",
        "StackedAutoencoder",
        "load",
    ),
    "finetuning": ("FineTuning",),
    "health": (
        "DeadUnitsWarning",
        "Diagnosis",
        "HealthWarning",
        "IdentityWarning",
        "NoSkillWarning",
        "SaturatedUnitsWarning",
        "VanishingGradientWarning",
        "diagnose",
    ),
    "initializers": ("Normal", "Sparse"),
    "momentum_schedules": ("MomentumRamp", "MomentumSwitch"),
    "optimizers": ("LBFGS", "SGD", "Adagrad", "Adam", "AdamW", "ConjugateGradient", "Momentum", "Nesterov", "RMSProp"),
    "persistence": ("FormatError",),
    "pretraining": ("Stage", "pretrain"),
    "rbm": ("RestrictedBoltzmannMachine",),
    "schedules": (
        "ConstantRate",
        "CosineDecay",
        "ExponentialDecay",
        "InverseTimeDecay",
        "LinearDecay",
        "ReduceOnPlateau",
        "StepDecay",
    ),
    "supervised_pretraining": ("SupervisedPretraining", "pretrain_supervised"),
    "tabular": ("tabular_pipeline",),
    "training": ("EpochRecord", "TrainingDiverged"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ELU",
    "GELU",
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AnomalyDetector",
    "Autoencoder",
    "BatchNorm",
    "BestModel",
    "Checkpoint",
    "ColumnGroups",
    "ColumnWarning",
    "Comparison",
    "ConjugateGradient",
    "ConstantRate",
    "ContractiveAutoencoder",
    "CosineDecay",
    "DeadUnitsWarning",
    "DenoisingAutoencoder",
    "Diagnosis",
    "Emphasis",
    "EpochRecord",
    "ExponentialDecay",
    "FineTuning",
    "FormatError",
    "Gaussian",
    "HealthWarning",
    "IdentityWarning",
    "InvalidParameterError",
    "InverseTimeDecay",
    "JSONLines",
    "LabeledSplit",
    "LeakyReLU",
    "LinearDecay",
    "Masking",
    "Momentum",
    "MomentumRamp",
    "MomentumSwitch",
    "Nesterov",
    "NoSkillWarning",
    "Normal",
    "PReLU",
    "PretrainedClassifier",
    "PretrainedRegressor",
    "RMSProp",
    "ReduceOnPlateau",
    "RestrictedBoltzmannMachine",
    "SaltAndPepper",
    "SaturatedUnitsWarning",
    "ScaleWarning",
    "SeenRowsWarning",
    "Sparse",
    "SparseAutoencoder",
    "StackedAutoencoder",
    "Stage",
    "StepDecay",
    "SupervisedPretraining",
    "Swap",
    "Swish",
    "TimeLimitWarning",
    "TrainingDiverged",
    "VanishingGradientWarning",
    "compare",
    "diagnose",
    "load",
    "pretrain",
    "pretrain_supervised",
    "tabular_pipeline",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'layerwise' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"layerwise.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
