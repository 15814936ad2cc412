"""Model files at their limits: what may not be saved, what may not be loaded, and where a file may not go."""

from __future__ import annotations

import copy
import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as unpack

import layerwise
from layerwise import (
    Autoencoder,
    FineTuning,
    FormatError,
    PretrainedClassifier,
    PretrainedRegressor,
    StackedAutoencoder,
    _core,
    load,
    persistence,
)
from layerwise.network import DenseLayer, Network
from layerwise.persistence import schema
from layerwise.settings import Settings

X = _core.random_uniform(0, 0, 200).reshape(40, 5)
Y = np.arange(40) % 3


def make(kind: Any = PretrainedClassifier, y: Any = Y, sizes: Any = 2) -> Any:
    options = {"pretraining": Autoencoder(epochs=1), "random_state": 0}
    return kind(sizes, finetuning=FineTuning(epochs=1), **options).fit(X, y)


def altered(path: Path, change: Any) -> None:
    """Change the configuration or the arrays of a file, and put the checksum right."""
    data = path.read_bytes()
    text = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["layerwise"]
    config, tensors = json.loads(text.split("\n", 2)[2]), dict(unpack(data))
    change(config, tensors)
    path.write_bytes(persistence.files.pack(persistence.files.MODEL, json.dumps(config), tensors))


# ---- saving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["M8[D]", "M8[ns]", "m8[ns]", "S3", "V2", "c16"])
def test_labels_of_other_kinds_are_refused_before_writing(dtype: str, tmp_path: Path) -> None:
    model = make()
    model.classes_ = np.zeros(3, dtype)
    with pytest.raises(TypeError, match=r"Labels of dtype .* cannot be saved"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_a_file_too_long_to_load_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = make(), tmp_path / "m"
    model.save(path)
    before = path.read_bytes()
    length = int.from_bytes(before[:8], "little")
    monkeypatch.setattr(persistence.files, "LONGEST_HEADER", length)
    assert load(path)
    monkeypatch.setattr(persistence.files, "LONGEST_HEADER", length - 1)
    with pytest.raises(ValueError, match=f"take {length} bytes; a model file holds at most {length - 1}"):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_wide_labels_are_written_as_wide_as_they_are(tmp_path: Path) -> None:
    model = make(y=np.array(["a", "bcd", "e"], "U100")[Y])
    model.save(tmp_path / "m")
    classes = load(tmp_path / "m").classes_
    assert classes.dtype == "U3"
    assert classes.tolist() == ["a", "bcd", "e"]


def test_a_range_of_sizes_is_a_tuple(tmp_path: Path) -> None:
    model = make(sizes=range(4, 2, -1))
    model.save(tmp_path / "m")
    assert load(tmp_path / "m").hidden_layer_sizes == (4, 3)


def test_what_an_older_file_does_not_have_gets_its_default(tmp_path: Path) -> None:
    path = tmp_path / "m"
    make().save(path)

    def forget(config: Any, _: Any) -> None:
        del config["params"]["unlabeled"]
        del config["params"]["finetuning"]["values"]["tol"]

    altered(path, forget)
    model = load(path)
    assert model.unlabeled == "auto"
    assert model.finetuning == FineTuning(epochs=1)

    altered(path, lambda config, _: config["params"]["finetuning"]["values"].update(tool=1))
    with pytest.raises(FormatError, match=r"unknown settings \['tool'\] of FineTuning"):
        load(path)


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("m" * 255)
    make().save(path)
    make().save(path)
    assert load(path)


def test_a_folder_that_cannot_be_synced_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, []

    def sync(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(errno.EINVAL, "a folder")
        real(handle)

    monkeypatch.setattr(persistence.os, "fsync", sync)
    make().save(tmp_path / "m")
    assert len(calls) == 2
    assert load(tmp_path / "m")


def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="not a regular file") as info:
        make().save(pipe)
    assert info.value.errno == errno.EINVAL
    with pytest.raises(IsADirectoryError):
        make().save(tmp_path)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


# ---- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("<U200000000", ["a", "b", "c"]),
        ("<U2", ["a", "b", "c"]),
        ("<U1", ["a", "b", 1]),
        ("<i8", ["1", "2", "3"]),
        ("<i8", [0, 1, True]),
        ("|b1", [0, 1, 2]),
        ("<M8[D]", [0, 1, 2]),
        ("<U1", "abc"),
    ],
)
def test_labels_that_are_not_of_their_dtype(dtype: str, values: Any, tmp_path: Path) -> None:
    path = tmp_path / "m"
    make().save(path)
    altered(path, lambda config, _: config["fitted"].update(classes_={"dtype": dtype, "values": values}))
    with pytest.raises(FormatError, match=r"labels (of|that are)"):
        load(path)


def output(name: str) -> Any:
    return lambda config, _: config["fitted"]["network_"][-1]["activation"].update(name=name)


def several_labels_named(config: Any, _: Any) -> None:
    """Make it a multilabel classifier whose classes are not the numbers of its columns."""
    output("sigmoid")(config, _)
    config["fitted"]["classes_"] = {
        "dtype": "<i8",
        "values": list(range(1, len(config["fitted"]["classes_"]["values"]) + 1)),
    }


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (PretrainedClassifier, output("identity")),
        (PretrainedClassifier, output("tanh")),
        (PretrainedClassifier, several_labels_named),
        (PretrainedRegressor, output("softmax")),
        (PretrainedRegressor, output("tanh")),
        (PretrainedRegressor, lambda _, tensors: tensors.update(y_mean_=np.array([np.nan]))),
        (PretrainedRegressor, lambda _, tensors: tensors.update(y_scale_=np.array([np.inf]))),
        (PretrainedRegressor, lambda _, tensors: tensors.update(y_scale_=np.array([0.0]))),
        (PretrainedRegressor, lambda _, tensors: tensors.update(y_scale_=np.array([-1.0]))),
    ],
)
def test_networks_that_are_not_of_their_estimator(kind: Any, change: Any, tmp_path: Path) -> None:
    path = tmp_path / "m"
    make(kind, Y).save(path)
    altered(path, lambda config, tensors: None)
    assert load(path)
    altered(path, change)
    with pytest.raises(FormatError):
        load(path)


@pytest.mark.parametrize("place", ["network", "stage"])
def test_a_network_that_the_engine_refuses(place: str, tmp_path: Path) -> None:
    def learn(config: Any, tensors: Any) -> None:
        fitted = config["fitted"]
        layer = fitted["network_"][0] if place == "network" else fitted["stages_"][0]["layers"][0]
        layer["activation"] = {"name": "relu", "parameter": 0.0, "learn": "unit"}  # ReLU has nothing to learn
        layer["parameter"] = "more"
        tensors["more"] = np.zeros(2)

    path = tmp_path / "m"
    make().save(path)
    altered(path, learn)
    with pytest.raises(FormatError):
        load(path)


# ---- copies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy])
def test_copied_weights_stay_read_only(again: Any) -> None:
    model = again(make(StackedAutoencoder))
    layers: list[DenseLayer] = [*model.network_.layers, *(stage.encoder for stage in model.stages_)]
    assert isinstance(model.network_, Network)
    for array in [*model.coefs_, *model.intercepts_, *(a for layer in layers for a in (layer.weights, layer.bias))]:
        assert not array.flags.writeable
    np.testing.assert_array_equal(model.transform(X), make(StackedAutoencoder).transform(X))


@pytest.mark.parametrize("name", layerwise.__all__)
def test_files_hold_every_kind_of_settings(name: str) -> None:
    kind = getattr(layerwise, name)
    if not (isinstance(kind, type) and issubclass(kind, Settings)) or kind is layerwise.Checkpoint:
        return  # a checkpoint's place is not part of a model
    numbers = {field: [0.5, 1, None] for field in kind().get_params(deep=False)}
    for settings in (kind(), kind(**numbers)):
        assert schema.decode_value(schema.encode_value(settings, {}, "", "settings"), {}) == settings
