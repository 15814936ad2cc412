"""What a model file's JSON holds, and nothing else: estimators, settings, layers, stages, epochs, labels.

Each kind has an encoder and a decoder side by side. Arrays go into `tensors` by name; a decoder takes out what it
uses, so that what nobody refers to is noticed. Classes are found by name: settings in the list of `known`, estimators
among those that this package has registered.
"""

from dataclasses import asdict, fields
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator

from layerwise import activations, rbm
from layerwise.activations import Activation
from layerwise.autoencoders import LOSSES, Autoencoder
from layerwise.batch_normalization import BatchNorm
from layerwise.checks import Parameter
from layerwise.column_groups import check_groups
from layerwise.network import DenseLayer, Network
from layerwise.persistence.known import SETTINGS
from layerwise.persistence.parts import FormatError, Store, Tensors, fields_of, known
from layerwise.pretraining import Stage
from layerwise.settings import Settings
from layerwise.supervised_pretraining import SupervisedPretraining
from layerwise.training import EpochRecord

Array = NDArray[Any]

NOT_STORED = {"callbacks", "checkpoint", "memory"}  # parameters: code is not data, and paths are this machine's
RARE = ("groups", "batch_norm")  # of an activation: not written where there is none
ESTIMATORS: dict[str, Any] = {}
LATER = {"n_samples_seen_": "count"}  # fitted attributes that not every estimator has, nor every older file
FITTED: dict[str, dict[str, str]] = {}  # their fitted attributes beside network_ and stages_, with what each holds


def register(kind: Any, **fitted: str) -> None:
    """Let files hold estimators of the class `kind`, with the fitted attributes given and those all have."""
    ESTIMATORS[kind.__name__] = kind
    FITTED[kind.__name__] = {"history_": "history", "n_iter_": "count", "n_features_in_": "count"} | fitted


# --- estimators -----------------------------------------------------------------------------------------------------


def encode_estimator(estimator: Any, tensors: Tensors, place: str) -> dict[str, Any]:
    """Return the JSON of a fitted estimator; its arrays go into `tensors` under names that begin with `place`."""
    name = type(estimator).__name__
    if ESTIMATORS.get(name) is not type(estimator):
        raise TypeError(f"Only {sorted(ESTIMATORS)} can be saved. Got {type(estimator)}.")
    given = estimator.get_params(deep=False)
    given |= dict.fromkeys(NOT_STORED & given.keys())
    params = {key: encode_value(value, tensors, f"{place}{key}.", key) for key, value in given.items()}
    store = Store(tensors)
    fitted: dict[str, Any] = {
        "network_": _encode_layers(estimator.network_.layers, store, f"{place}network"),
        "stages_": [encode_stage(stage, store, f"{place}stage.{stage.layer}") for stage in estimator.stages_],
    }
    for key, kind in FITTED[name].items():
        fitted[key] = _encode_fitted(getattr(estimator, key), kind, store, place + key)
    fitted |= {key: getattr(estimator, key) for key in LATER if hasattr(estimator, key)}
    if hasattr(estimator, "feature_names_in_"):
        fitted["feature_names_in_"] = _encode_labels(estimator.feature_names_in_)
    return {"estimator": name, "params": params, "fitted": fitted}


def decode_estimator(data: Any, tensors: Tensors) -> Any:
    """Return the estimator; takes the arrays it uses out of `tensors`."""
    name, params, fitted = fields_of(data, "estimator", "params", "fitted")
    kind = known(ESTIMATORS, name, "estimator")
    # Parameters that an older file lacks have their defaults.
    if unknown := set(params) - set(kind().get_params(deep=False)):
        raise FormatError(f"unknown parameters {sorted(unknown)} of {name}")
    values = {key: decode_value(value, tensors) for key, value in params.items()}
    if set(fitted) - {"feature_names_in_", *LATER} != {"network_", "stages_", *FITTED[name]}:
        raise FormatError(f"unknown or missing attributes of {name}")

    store = Store(tensors)
    estimator = kind(**values)
    network = Network(_decode_layers(fitted["network_"], store))
    network.engine()  # raises ValueError for what the engine refuses, now instead of at the first prediction
    attributes: dict[str, Any] = {
        "network_": network,
        "stages_": [decode_stage(stage, store) for stage in fitted["stages_"]],
        "coefs_": [layer.weights for layer in network.layers],
        "intercepts_": [layer.bias for layer in network.layers],
    }
    for key, what in FITTED[name].items():
        attributes[key] = _decode_fitted(fitted[key], what, store)
    attributes |= {key: _decode_fitted(fitted[key], what, store) for key, what in LATER.items() if key in fitted}
    if "feature_names_in_" in fitted:
        attributes["feature_names_in_"] = _decode_labels(fitted["feature_names_in_"])
    store.take_out()
    _check_sizes(name, attributes)
    vars(estimator).update(attributes)
    if hasattr(estimator, "_check_loaded"):
        estimator._check_loaded()
    return estimator


def _check_sizes(name: str, attributes: dict[str, Any]) -> None:
    layers, stages = attributes["network_"].layers, attributes["stages_"]
    n_outputs = {"PretrainedClassifier": "classes_", "PretrainedRegressor": "y_mean_"}
    fits = layers[0].n_in == attributes["n_features_in_"]
    if name in n_outputs:
        fits &= len(attributes[n_outputs[name]]) == layers[-1].n_out
    else:
        fits &= len(layers) == 2 * len(stages) and layers[-1].n_out == layers[0].n_in
    if name == "PretrainedRegressor":
        mean, scale = attributes["y_mean_"], attributes["y_scale_"]
        fits &= mean.shape == scale.shape
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise FormatError("a target's mean or scale is not a finite number, or the scale is not positive")
    if not fits:
        raise FormatError(f"the network's sizes do not fit the other attributes of {name}")
    outputs = {"PretrainedClassifier": ("softmax", "sigmoid"), "PretrainedRegressor": ("identity",)}.get(name)
    several = layers[-1].activation.name == "sigmoid" and name == "PretrainedClassifier"  # its classes are columns
    fits = not several or attributes["classes_"].tolist() == list(range(layers[-1].n_out))
    if outputs is not None and not (fits and layers[-1].activation.name in outputs):
        raise FormatError(f"the output layer of a {name} is not {' or '.join(outputs)}")


def _encode_fitted(value: Any, kind: str, store: Store, name: str) -> Any:
    if kind == "history":
        return [encode_record(record) for record in value]
    if kind == "labels":
        return _encode_labels(value)
    if kind == "tensor":
        return store.put(value, name)
    return value


def _decode_fitted(value: Any, kind: str, store: Store) -> Any:
    if kind == "history":
        return [decode_record(record) for record in value]
    if kind == "labels":
        return _decode_labels(value)
    if kind == "tensor":
        return store.get(value, 1)
    expected = {"flag": bool, "number": float}.get(kind, int)
    if type(value) is not expected or (kind == "count" and value < 0):
        raise FormatError(f"{value!r} where a {kind} is expected")
    return value


# --- parameters -----------------------------------------------------------------------------------------------------


def encode_value(value: Any, tensors: Tensors, place: str, name: str) -> Any:
    """Return the JSON of the value of the parameter `name`."""
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        value = value.item()
    if isinstance(value, float) and not isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, np.ndarray)):
        return [encode_value(one, tensors, place, name) for one in value]
    if isinstance(value, dict):  # class_weight
        return {"dict": [encode_value(list(pair), tensors, place, name) for pair in value.items()]}
    if isinstance(value, (tuple, range)):
        return {"tuple": [encode_value(one, tensors, place, name) for one in value]}
    if isinstance(value, Settings) and SETTINGS.get(type(value).__name__) is type(value):
        values = {key: encode_value(inner, tensors, place, name) for key, inner in value.get_params(deep=False).items()}
        return {"settings": type(value).__name__, "values": values}
    if ESTIMATORS.get(type(value).__name__) is type(value):
        return {"fitted": encode_estimator(value, tensors, place)}
    if isinstance(value, FrozenEstimator):
        return {"frozen": encode_estimator(value.estimator, tensors, place)}
    if isinstance(value, np.random.RandomState):
        kind, keys, *rest = value.get_state(legacy=True)
        if kind == "MT19937":
            tensors[place + "keys"] = np.asarray(keys, np.uint32)
            return {"random_state": [place + "keys", *rest]}
    raise TypeError(f"The parameter {name!r} cannot be saved: {value!r} is of {type(value)}.")


def decode_value(data: Any, tensors: Tensors) -> Any:
    """Return the value of a parameter."""
    if not isinstance(data, dict):
        return [decode_value(one, tensors) for one in data] if isinstance(data, list) else data
    if set(data) == {"settings", "values"}:
        kind = known(SETTINGS, data["settings"], "settings")
        if unknown := set(data["values"]) - {field.name for field in fields(kind)}:  # missing ones: as for parameters
            raise FormatError(f"unknown settings {sorted(unknown)} of {data['settings']}")
        return kind(**{key: decode_value(value, tensors) for key, value in data["values"].items()})
    if len(data) != 1:
        raise FormatError(f"unknown fields {sorted(data)}")
    ((kind_of_value, value),) = data.items()
    if kind_of_value == "tuple":
        return tuple(decode_value(one, tensors) for one in value)
    if kind_of_value == "dict":
        return dict(decode_value(pair, tensors) for pair in value)
    if kind_of_value == "float" and value in ("nan", "inf", "-inf"):
        return float(value)
    if kind_of_value == "fitted":
        return decode_estimator(value, tensors)
    if kind_of_value == "frozen":
        return FrozenEstimator(decode_estimator(value, tensors))
    if kind_of_value == "random_state":
        keys, position, has_gauss, cached = value
        state = np.random.RandomState()
        state.set_state(("MT19937", tensors.pop(keys), position, has_gauss, cached))
        return state
    raise FormatError(f"unknown field {kind_of_value!r}")


# --- layers, stages, epochs, labels ---------------------------------------------------------------------------------


def _encode_layers(layers: Any, store: Store, place: str) -> list[Any]:
    return [
        {
            "weights": None if layer.tied_to >= 0 else store.put(layer.weights, f"{place}.{i}.weights"),
            "bias": store.put(layer.bias, f"{place}.{i}.bias"),
            "activation": {key: value for key, value in asdict(layer.activation).items() if key not in RARE or value},
            "parameter": None if layer.parameter is None else store.put(layer.parameter, f"{place}.{i}.parameter"),
            "tied_to": layer.tied_to,
        }
        | (
            {}
            if layer.normalization is None
            else {"normalization": store.put(layer.normalization, f"{place}.{i}.normalization")}
        )
        for i, layer in enumerate(layers)
    ]


def _decode_layers(data: Any, store: Store) -> list[DenseLayer]:
    layers: list[DenseLayer] = []
    for entry in data:
        weights, bias, activation, parameter, tied_to, norm = fields_of(
            {"normalization": None, **entry}, "weights", "bias", "activation", "parameter", "tied_to", "normalization"
        )
        if type(tied_to) is not int or not -1 <= tied_to < len(layers) or (weights is None) != (tied_to >= 0):
            raise FormatError(f"a layer is tied to layer {tied_to!r}")
        name, value, learn, groups, batch_norm = fields_of(
            dict.fromkeys(RARE) | activation, "name", "parameter", "learn", "groups", "batch_norm"
        )
        pairs = () if groups is None else tuple(check_groups(Parameter("a file"), groups))
        kind = Activation(name, value, learn, pairs, _decode_batch_norm(batch_norm))
        names = ("mixed",) if kind.groups else activations.NAMES
        if kind.name not in names or kind.learn not in ("fixed", "shared", "unit"):
            raise FormatError(f"unknown activation {activation!r}")
        if not isinstance(kind.parameter, (int, float)) or (parameter is None) != (kind.learn == "fixed"):
            raise FormatError(f"the activation {activation!r} does not fit its parameters")
        if (norm is None) != (kind.batch_norm is None):
            raise FormatError("batch normalisation without its numbers, or numbers without it")
        layer = DenseLayer(
            layers[tied_to].weights.T if weights is None else store.get(weights, 2),
            store.get(bias, 1),
            kind,
            None if parameter is None else store.get(parameter, 1),
            tied_to,
            None if norm is None else store.get(norm, 2),
        )
        _check_layer(layer, layers)
        layers.append(layer)
    if not layers:
        raise FormatError("a network without layers")
    return layers


def _decode_batch_norm(data: Any) -> tuple[float, float] | None:
    if data is None:
        return None
    if not isinstance(data, list) or len(data) != 2:
        raise FormatError(f"batch normalisation by {data!r}")
    return BatchNorm(*data).check(Parameter("a file", "batch_norm"))


def _check_layer(layer: DenseLayer, before: list[DenseLayer]) -> None:
    given = (layer.weights, layer.bias, layer.parameter, layer.normalization)
    arrays = [array for array in given if array is not None]
    first = before[0] if before else layer
    if any(array.dtype != first.bias.dtype or array.dtype.kind != "f" for array in arrays):
        raise FormatError("a network of more than one dtype")
    if any(array.shape[-1] != layer.n_out for array in arrays) or (before and before[-1].n_out != layer.n_in):
        raise FormatError("layers whose sizes do not fit together")
    if not all(np.isfinite(array).all() for array in arrays):
        raise FormatError("a weight is not a finite number")
    if layer.normalization is not None and (len(layer.normalization) != 3 or (layer.normalization[2] < 0).any()):
        raise FormatError("batch normalisation whose numbers are too few, too many or a negative variance")


def encode_stage(stage: Stage, store: Store, place: str) -> dict[str, Any]:
    """Return the JSON of a pretrained layer."""
    return {
        "layer": stage.layer,
        "layers": _encode_layers((stage.encoder, stage.decoder), store, place),
        "loss": stage.loss,
        "settings": encode_value(stage.settings, {}, place, "settings"),
        "history": [encode_record(record) for record in stage.history],
        "skill": stage.skill,
    }


def decode_stage(data: Any, store: Store) -> Stage:
    """Return the pretrained layer."""
    layer, layers, loss, settings, history, skill = fields_of(
        data, "layer", "layers", "loss", "settings", "history", "skill"
    )
    encoder, decoder = _decode_layers(layers, store)
    Network([encoder, decoder]).engine()
    losses = ("mixed",) if decoder.activation.groups else LOSSES[1:]
    if loss not in losses or type(layer) is not int or not isinstance(skill, (int, float)):
        raise FormatError("a stage with an unknown loss, layer or skill")
    values = decode_value(settings, {})
    if not isinstance(values, (Autoencoder, rbm.RestrictedBoltzmannMachine, SupervisedPretraining)):
        raise FormatError("a stage without the settings of its pretraining")
    return Stage(layer, encoder, decoder, loss, values, tuple(decode_record(record) for record in history), skill)


_RECORD = {
    "stage": (str,),
    "layer": (int, type(None)),
    "epoch": (int,),
    "epochs": (int,),
    "loss": (float, int),
    "validation_loss": (float, int, type(None)),
    "learning_rate": (float, int),
    "seconds": (float, int),
    "free_energy": (float, int, type(None)),
    "validation_free_energy": (float, int, type(None)),
    "pseudo_likelihood": (float, int, type(None)),
}
_FIRST_FIELDS = 8  # what a record had at first; those that an older file lacks have their defaults


def encode_record(record: EpochRecord) -> list[Any]:
    """Return the JSON of an epoch."""
    return [encode_value(getattr(record, name), {}, "", name) for name in _RECORD]


def decode_record(data: Any) -> EpochRecord:
    """Return the epoch."""
    if not isinstance(data, list) or not _FIRST_FIELDS <= len(data) <= len(_RECORD):
        raise FormatError("an epoch with unknown or missing fields")
    data = [decode_value(value, {}) if isinstance(value, dict) else value for value in data]
    for value, kinds in zip(data, _RECORD.values(), strict=False):
        if type(value) not in kinds:
            raise FormatError(f"an epoch with {value!r} in the wrong place")
    return EpochRecord(*data)


_LABELS = {"b": (bool,), "i": (int,), "u": (int,), "f": (float,), "U": (str,), "O": (bool, int, float, str)}


def _encode_labels(labels: Array) -> dict[str, Any]:
    values = labels.tolist()
    if not all(isinstance(value, _LABELS.get(labels.dtype.kind, ())) for value in values):
        kinds = sorted({type(value).__name__ for value in values})
        raise TypeError(f"Labels of dtype {labels.dtype} that hold {kinds} cannot be saved.")
    if labels.dtype.kind == "U":
        labels = labels.astype(labels.dtype.str[:2] + str(_width(values)))
    return {"dtype": labels.dtype.str if labels.dtype.kind != "O" else "object", "values": values}


def _width(strings: list[str]) -> int:
    """Return how many characters a label needs: what a file's dtype may ask for."""
    return max([1, *map(len, strings)])


def _decode_labels(data: Any) -> Array:
    dtype, values = fields_of(data, "dtype", "values")
    kind = "O" if dtype == "object" else np.dtype(dtype).kind
    if kind not in _LABELS or (kind == "O" and dtype != "object"):
        raise FormatError(f"labels of the unknown dtype {dtype!r}")
    if not isinstance(values, list) or not all(type(value) in _LABELS[kind] for value in values):
        raise FormatError(f"labels that are not of the dtype {dtype!r}")
    if kind == "U" and np.dtype(dtype).itemsize > 4 * _width(values):
        raise FormatError(f"labels of the dtype {dtype!r}, which is wider than any of them")
    if kind == "O":
        labels = np.empty(len(values), object)
        labels[:] = values
        return labels
    return np.array(values, dtype=dtype)
