"""Model files: the same bits back, whole files or none, and nothing but model files."""

from __future__ import annotations

import errno
import os
import pickle
import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from altering import altered, assign
from safetensors.numpy import load as unpack
from safetensors.numpy import save as pack
from sklearn.frozen import FrozenEstimator

import layerwise
from layerwise import (
    ELU,
    GELU,
    SGD,
    Adagrad,
    AdamW,
    Autoencoder,
    BatchNorm,
    DenoisingAutoencoder,
    FineTuning,
    FormatError,
    Gaussian,
    LeakyReLU,
    Nesterov,
    Normal,
    PReLU,
    PretrainedClassifier,
    PretrainedRegressor,
    RMSProp,
    SaltAndPepper,
    Sparse,
    StackedAutoencoder,
    Swish,
    _core,
    load,
    persistence,
)
from layerwise.network import DenseLayer

X = _core.random_uniform(0, 0, 200).reshape(40, 5)
Y = np.arange(40) % 3
QUICK = DenoisingAutoencoder(epochs=1)
BRIEF = FineTuning(epochs=1)


def models() -> list[Any]:
    before = StackedAutoencoder((3,), pretraining=QUICK, random_state=1).fit(X)
    several = [
        DenoisingAutoencoder(
            epochs=[1, 2], corruption=[Gaussian(0.2), None], tied=(True, False), optimizer=[SGD(), "adamw"]
        ),
        FineTuning(
            epochs=2, optimizer=AdamW(weight_decay=0.1), dropout=[0.1, 0.2], frozen_layers=(1,), early_stopping=True
        ),
    ]
    return [
        StackedAutoencoder((4, 3), pretraining=QUICK, random_state=0),
        StackedAutoencoder(4, pretraining=Autoencoder(epochs=1, optimizer=Nesterov(), tied=False), finetuning=BRIEF),
        PretrainedClassifier(
            (4, 3), pretraining=several[0], finetuning=several[1], activation=[PReLU(), Swish(shared=True)]
        ),
        PretrainedClassifier([4], pretraining=None, finetuning=BRIEF, activation=ELU(0.5), initializer=Sparse(2)),
        PretrainedClassifier(pretraining=before, finetuning=FineTuning(epochs=1, optimizer=Adagrad())),
        PretrainedClassifier(pretraining=FrozenEstimator(before), finetuning=BRIEF, unlabeled=-1, n_jobs=1),
        PretrainedRegressor(
            np.array([4, 2]), pretraining=QUICK.replace(corruption=SaltAndPepper(0.1)), finetuning=BRIEF
        ),
        PretrainedRegressor(
            4, pretraining=QUICK, finetuning=BRIEF.replace(tol=0, optimizer=RMSProp()), activation=GELU(True)
        ),
        PretrainedRegressor(
            np.int64(4),
            pretraining=QUICK,
            finetuning=BRIEF.replace(alpha=np.float32(0.1)),
            activation=LeakyReLU(0.3),
            initializer=Normal(0.1),
            random_state=np.random.RandomState(3),
            verbose=False,
        ),
        PretrainedClassifier((4, 3), pretraining=QUICK, finetuning=BRIEF, batch_norm=[BatchNorm(0.2), False]),
    ]


def assert_same(a: Any, b: Any, place: str = "") -> None:
    """Every attribute is of the same kind and the same bits."""
    assert type(a) is type(b), (place, a, b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, place
        assert a.shape == b.shape, place
        assert a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes(), place
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), place
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{place}[{i}]")
    elif isinstance(a, np.random.RandomState):
        assert_same(a.get_state(legacy=True), b.get_state(legacy=True), place)
    elif isinstance(
        a, (persistence.schema.Stage, DenseLayer, layerwise.network.Network, StackedAutoencoder, FrozenEstimator)
    ):
        for name in vars(a).keys() - {"_engine"}:
            assert_same(getattr(a, name), getattr(b, name), f"{place}.{name}")
    else:
        assert a == b, place


@pytest.mark.parametrize("index", range(10))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_come_back(index: int, dtype: type, tmp_path: Path) -> None:
    model = models()[index].fit(X.astype(dtype), Y)
    path = tmp_path / "model.layerwise"
    model.save(path)
    again = load(path)
    assert vars(again).keys() == vars(model).keys()
    for name, value in vars(model).items():
        other = getattr(again, name)
        if name in model.get_params(deep=False) and isinstance(value, (np.ndarray, np.generic)):
            assert np.array_equal(value, other)  # NumPy's numbers and vectors come back as Python's
        elif name != "finetuning":
            assert_same(value, other, name)
    assert again.get_params().keys() == model.get_params().keys()
    assert again.finetuning == model.finetuning
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    again.save(tmp_path / "again.layerwise")
    assert (tmp_path / "again.layerwise").read_bytes() == path.read_bytes()
    if not isinstance(model.random_state, np.random.RandomState):
        assert_same(
            again.set_params(random_state=5).fit(X, Y).coefs_, model.set_params(random_state=5).fit(X, Y).coefs_
        )


@pytest.mark.parametrize(
    "labels",
    [
        ["b", "a", "ü"],
        [True, False, True],
        [1.5e10, -0.0, 3.0],
        [np.uint8(3), np.uint8(200), np.uint8(7)],
        [-5, 2**60, 3],
    ],
)
@pytest.mark.parametrize("kind", ["array", "object"])
def test_labels_come_back(labels: list, kind: str, tmp_path: Path) -> None:
    y = np.array(labels * 13 + labels[:1], dtype=object if kind == "object" else None)
    model = PretrainedClassifier(4, pretraining=None, finetuning=BRIEF).fit(X, y)
    model.save(tmp_path / "m")
    assert_same(load(tmp_path / "m").classes_, model.classes_)


def test_feature_names_and_continuing_with_a_loaded_autoencoder(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    model = StackedAutoencoder((4, 3), pretraining=QUICK).fit(frame)
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert_same(again.feature_names_in_, model.feature_names_in_)
    tuned = PretrainedClassifier(pretraining=again, random_state=0).fit(frame, Y)
    expected = PretrainedClassifier(pretraining=model, random_state=0).fit(frame, Y)
    np.testing.assert_array_equal(tuned.predict_proba(frame), expected.predict_proba(frame))


def test_what_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    model = PretrainedClassifier(4, pretraining=None, finetuning=BRIEF).fit(X, Y)
    model.activation = print
    with pytest.raises(TypeError, match="The parameter 'activation' cannot be saved"):
        model.save(tmp_path / "m")
    with pytest.raises(TypeError, match=r"Only .* can be saved"):
        persistence.save(object(), tmp_path / "m")
    with pytest.raises(TypeError):
        model.save(None)
    assert list(tmp_path.iterdir()) == []


# ---- writing ---------------------------------------------------------------------------------------------------------


def small() -> PretrainedClassifier:
    return PretrainedClassifier(2, pretraining=None, finetuning=BRIEF, random_state=0).fit(X, Y)


def test_modes_and_links_are_kept(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "m"
    model.save(path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    model.save(str(link))
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "m"]


@pytest.mark.parametrize("function", ["open", "fsync", "replace", "chmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EDQUOT])
def test_a_failing_disk_loses_nothing(
    function: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = small(), tmp_path / "m"
    model.save(path)
    before = path.read_bytes()

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    model.predict(X)
    with monkeypatch.context() as patch:
        patch.setattr(persistence.os, function, fail)
        with pytest.raises(OSError, match=os.strerror(code)):
            model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writing_is_synced_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("open", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(persistence.os, name, lambda *a, _n=name, _f=real, **k: (calls.append(_n), _f(*a, **k))[1])
    small().save(tmp_path / "m")
    assert calls == ["open", "fsync", "replace", "open", "fsync"]


def test_places_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "no" / "m")
    for name, kind, told in (
        ("no/m", FileNotFoundError, "its folder does not exist"),
        ("link", FileNotFoundError, "its folder does not exist"),
        ("file/m", NotADirectoryError, "what should be its folder is a file"),
        ("", IsADirectoryError, "Is a directory"),
    ):
        with pytest.raises(kind) as info:
            model.save(os.path.join(tmp_path, name))
        assert (info.value.strerror, info.value.filename) == (told, os.path.join(tmp_path, name))
    assert sorted(os.listdir(tmp_path)) == ["file", "link"]
    monkeypatch.setattr(persistence.os, "open", lambda path, *_: os.stat(path))  # an error that names what it is given
    with pytest.raises(FileNotFoundError) as info:
        model.save(tmp_path / "m")
    assert info.value.filename == str(tmp_path / "m")


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("file") / "m"
    small().save(path)
    return path.read_bytes()


def try_to_load(data: bytes, folder: Path) -> Any:
    path = folder / "tried"
    path.write_bytes(data)
    return load(path)


def test_every_truncation_is_refused(file: bytes, tmp_path: Path) -> None:
    for length in range(0, len(file), 7):
        with pytest.raises(FormatError):
            try_to_load(file[:length], tmp_path)
    with pytest.raises(FormatError):
        try_to_load(file + b"\0", tmp_path)


def test_every_flipped_bit_is_refused(file: bytes, tmp_path: Path) -> None:
    for place in range(0, len(file) * 8, 11):
        data = bytearray(file)
        data[place // 8] ^= 1 << place % 8
        with pytest.raises(FormatError, match="tried"):
            try_to_load(bytes(data), tmp_path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    others = [
        b"",
        b"\0" * 7,
        b"\xff" * 100,
        pickle.dumps(small()),
        pack({"a": np.zeros(3)}),
        pack({}, {"format": "pt"}),
    ]
    others += [b"\x02" + b"\0" * 7 + b"[]", (10**12).to_bytes(8, "little") + b"{}", b"PK\x03\x04" + b"\0" * 60]
    nested = b"[" * 100_000
    others += [len(nested).to_bytes(8, "little") + nested]
    for data in others:
        with pytest.raises(FormatError):
            try_to_load(data, tmp_path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(OSError):
        load(tmp_path)


LAYER = ("fitted", "network_", 0)


@pytest.mark.parametrize(
    "change",
    [
        assign("estimator", "os.system"),
        assign("estimator", ["PretrainedClassifier"]),
        assign("estimator", "StackedAutoencoder"),
        assign("extra", 1),
        assign("params", "extra", 1),
        assign("params", "finetuning", {"settings": "Popen", "values": {}}),
        assign("params", "finetuning", {"settings": "Masking", "values": {"rate": 1, "extra": 2}}),
        assign("params", "finetuning", {"code": "print()"}),
        assign("params", "finetuning", {"float": "1"}),
        assign("fitted", "extra", 1),
        assign("fitted", "n_iter_", -1),
        assign("fitted", "n_iter_", 1.5),
        assign("fitted", "n_iter_", True),
        assign("fitted", "n_features_in_", 6),
        assign("fitted", "n_samples_seen_", -1),
        assign("fitted", "n_samples_seen_", "60"),
        assign("fitted", "classes_", {"dtype": "<i8", "values": [0, 1]}),
        assign("fitted", "classes_", {"dtype": "O", "values": [0, 1, 2]}),
        assign("fitted", "classes_", {"dtype": "<i8", "values": [0, 1, [2]]}),
        assign("fitted", "classes_", {"dtype": "<i8", "values": ["a", 1, 2]}),
        assign("fitted", "history_", [[1]]),
        assign("fitted", "history_", [["finetuning", None, "1", 1, 0.5, None, 0.1, 0.1]]),
        assign("fitted", "network_", []),
        assign(*LAYER, "extra", 1),
        assign(*LAYER, "weights", "nothing"),
        assign(*LAYER, "weights", None),
        assign(*LAYER, "weights", "network.1.weights"),
        assign(*LAYER, "bias", "network.0.weights"),
        assign(*LAYER, "tied_to", 0),
        assign(*LAYER, "tied_to", 5),
        assign(*LAYER, "tied_to", "x"),
        assign(*LAYER, "activation", "name", "bogus"),
        assign(*LAYER, "activation", "learn", "always"),
        assign(*LAYER, "activation", "learn", "unit"),
        assign(*LAYER, "activation", "parameter", "0"),
        lambda config, tensors: tensors.update(more=np.zeros(3)),
        lambda config, tensors: tensors.pop("network.0.bias"),
        lambda config, tensors: tensors.update({"network.0.bias": np.zeros(3)}),
        lambda config, tensors: tensors.update({"network.0.bias": np.zeros(2, np.float32)}),
        lambda config, tensors: tensors.update({"network.0.bias": np.zeros(2, np.int64)}),
        lambda config, tensors: tensors.update({"network.0.bias": np.full(2, np.nan)}),
        lambda config, tensors: tensors.update({"network.0.weights": np.full((5, 2), np.inf)}),
        lambda config, tensors: tensors.update({"network.0.weights": np.zeros((5, 0))}),
    ],
)
def test_a_crafted_file_is_refused(change: Any, file: bytes, tmp_path: Path) -> None:
    assert try_to_load(altered(file, lambda config, tensors: None), tmp_path)
    with pytest.raises(FormatError):
        try_to_load(altered(file, change), tmp_path)


def test_a_file_of_another_version_says_so(file: bytes, tmp_path: Path) -> None:
    data = pack(unpack(file), {"layerwise": "2\nsomething else\naltogether"})
    with pytest.raises(FormatError, match="format version '2'; this release reads version '1'"):
        try_to_load(data, tmp_path)


def test_loading_runs_nothing(file: bytes, tmp_path: Path) -> None:
    load_once = try_to_load(file, tmp_path)  # imports happen here
    assert load_once is not None
    seen: list[tuple[str, str]] = []
    watching = [True]

    def hook(event: str, args: tuple) -> None:
        if watching[0] and event.split(".")[0] in {
            "import",
            "exec",
            "compile",
            "os",
            "subprocess",
            "socket",
            "open",
            "pickle",
        }:
            seen.append((event, str(args[0])))

    sys.addaudithook(hook)
    try:
        load(tmp_path / "tried")
    finally:
        watching[0] = False
    assert seen == [("open", str(tmp_path / "tried"))]
