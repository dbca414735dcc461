"""What strangers could send, kind by kind: refused in under a second, nothing run, nothing written."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import files, within
from safetensors.torch import load_file, save_file

import egflow
from egflow.cli._folder import load_settings, refuse_code
from egflow.energy import EnergyError, EnergyValues, evaluate
from egflow.report import TiltReport
from egflow.rounds import Pool, Proposals, Store
from egflow.training import TrainingOptions

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
FEW: dict[str, Any] = {"steps": 1, "batch_size": 8, "options": TrainingOptions(progress="quiet")}
RUN = "os.mkdir('it_was_run')"  # what a hostile file would have us do, in the working folder


class Bomb:
    """Runs a word of Python when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("it_was_run",)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved") / "model"
    base = egflow.fit(X, **FEW)
    egflow.tilt(base, lambda x: x[:, 0], 0.5, data=X, **FEW).save(place)
    return place


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved, tmp_path / "model")
    return tmp_path / "model"


def description(model: Path, **changes: Any) -> None:
    """Change model.json, with the checksum that the weights then have."""
    file = model / "model.json"
    digest = hashlib.sha256((model / "weights.safetensors").read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"weights_sha256": digest} | changes))


def header(model: Path, change: Callable[[dict[str, Any]], None], length: int | None = None) -> None:
    """Change the header of the weights, and what it says of its length."""
    file = model / "weights.safetensors"
    content = file.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    said = json.loads(content[8 : 8 + size])
    change(said)
    text = json.dumps(said).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + content[8 + size :])
    description(model)


def weights(model: Path, **tensors: torch.Tensor) -> None:
    file = model / "weights.safetensors"
    found = load_file(file)
    save_file(found | tensors, file)
    description(model)


def name_of(model: Path) -> str:
    return next(key for key in load_file(model / "weights.safetensors") if key.startswith("network."))


def network(config: dict[str, Any], name: str = "mlp") -> dict[str, Any]:
    return {"name": name, "config": {"event_shape": [2]} | config, "at": None}


def text_of(model: Path, change: Callable[[str], str]) -> None:
    (model / "model.json").write_text(change((model / "model.json").read_text()))


def link(model: Path, name: str, target: Path) -> None:
    file = model / name
    shutil.rmtree(file) if file.is_dir() else file.unlink()
    file.symlink_to(target)


def sparse(model: Path) -> None:
    """A terabyte that takes no room on the disk, as long as its own header says."""
    file = model / "weights.safetensors"
    text = json.dumps({"network.big": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}).encode()
    with open(file, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + 2**40)


def pipe(model: Path, name: str) -> None:
    (model / name).unlink()
    os.mkfifo(model / name)


def deep_bases(model: Path) -> None:
    shutil.rmtree(model / "base")
    (model / "base").symlink_to(model, target_is_directory=True)


FOLDERS: dict[str, Callable[[Path], None]] = {
    # code by name
    "_target_ in the network's config": lambda m: description(m, network=network({"_target_": "os.system"})),
    "_target_ for a network": lambda m: description(m, network={"_target_": "os.system", "config": {}}),
    "a network by its import path": lambda m: description(m, network=network({}, "os.system")),
    "a path by its import path": lambda m: description(m, path="os.path"),
    "a prediction that is none": lambda m: description(m, prediction="__import__('os')"),
    "a pickle for weights": lambda m: ((m / "weights.safetensors").write_bytes(pickle.dumps(Bomb())), description(m))[
        1
    ],
    "a pickle for a description": lambda m: (m / "model.json").write_bytes(pickle.dumps(Bomb())) and None,
    "torch.save for weights": lambda m: (torch.save({"a": Bomb()}, m / "weights.safetensors"), description(m))[1],
    # the way out of the folder
    "a link for the description": lambda m: link(m, "model.json", Path("/etc/passwd")),
    "a link for the weights": lambda m: link(m, "weights.safetensors", Path("/dev/zero")),
    "a link for the base": lambda m: link(m, "base", Path("/")),
    "a link for the report": lambda m: link(m, "report.json", Path("/dev/zero")),
    "a base of itself": deep_bases,
    "a pipe for the weights": lambda m: pipe(m, "weights.safetensors"),
    "a pipe for the description": lambda m: pipe(m, "model.json"),
    # sizes
    "a header longer than the file": lambda m: header(m, lambda h: None, 2**63),
    "a header of a hundred megabytes": lambda m: header(m, lambda h: h.update(junk="x" * 100_000_001)),
    "a terabyte of zeros": sparse,
    "a network of a billion units": lambda m: description(m, network=network({"width": 10**9})),
    "a network of a million layers": lambda m: description(m, network=network({"depth": 10**6})),
    "an event of a billion numbers": lambda m: description(m, event_shape=[10**6, 10**6]),
    "a count past 64 bits": lambda m: description(m, num_classes=2**70, condition_shape=[]),
    "a description of 16 MB": lambda m: text_of(m, lambda text: text + " " * 2**24),
    "a hundred thousand brackets": lambda m: text_of(m, lambda text: "[" * 100_000),
    "a number of ten thousand digits": lambda m: text_of(
        m, lambda text: text.replace('"beta": 0.5', '"beta": 1' + "0" * 10**4)
    ),
    # what does not fit
    "a key twice": lambda m: text_of(m, lambda text: text.replace("{", '{"path": "vp", ', 1)),
    "NaN in the description": lambda m: text_of(m, lambda text: text.replace('"beta": 0.5', '"beta": NaN')),
    "1e999 in the description": lambda m: text_of(m, lambda text: text.replace('"beta": 0.5', '"beta": 1e999')),
    "a description that is a list": lambda m: text_of(m, lambda text: "[]"),
    "no text at all": lambda m: (m / "model.json").write_bytes(b"\xff\xfe\x00\x80") and None,
    "another version": lambda m: description(m, schema="egflow-model/99"),
    "weights of another checksum": lambda m: description(m, weights_sha256="0" * 64),
    "weights of another shape": lambda m: weights(m, **{name_of(m): torch.zeros(3, 3)}),
    "NaN among the weights": lambda m: weights(
        m, **{name_of(m): load_file(m / "weights.safetensors")[name_of(m)] * torch.nan}
    ),
    "whole numbers for weights": lambda m: weights(m, shift=torch.zeros(2, dtype=torch.int64)),
    "a tensor too many": lambda m: weights(m, extra=torch.zeros(3)),
    "a tensor too few": lambda m: header(m, lambda h: h.pop(name_of(m))),
    "a scale of 0": lambda m: weights(m, scale=torch.zeros(2)),
    "overlapping tensors": lambda m: header(m, lambda h: h[name_of(m)].update(data_offsets=[0, 4])),
    "another event than the network's": lambda m: description(m, event_shape=[3]),
    "labels below none": lambda m: description(m, condition_shape=[], num_classes=-1),
    "an empty range of beta": lambda m: description(m, beta_range=[[2.0, 1.0]]),
    "a report of other kinds": lambda m: (m / "report.json").write_text('{"schema": 1, "n_eff": "many"}') and None,
    "a solver without times": lambda m: description(m, tuned={"times": [], "coefficients": []}),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_model_of_a_stranger(kind: str, model: Path, empty: Path) -> None:
    FOLDERS[kind](model)
    before = files(model)
    started = time.process_time()
    with within(20), pytest.raises((ValueError, FileNotFoundError)) as error:
        egflow.Flow.load(model)
    assert time.process_time() - started < 1  # its own time: this machine may be busy
    assert files(model) == before and not list(empty.iterdir())
    assert "\n" not in str(error.value) and str(model) in str(error.value)


CONFIG = "domain: toy\ntoy: {n_data: 100}\n"
CONFIGS = {
    "an object to make": "domain: !!python/object/apply:os.mkdir ['it_was_run']\n",
    "a name to import": "domain: !!python/name:os.mkdir\n",
    "the environment": CONFIG + "data: ${oc.env:HOME}\n",
    "a resolver": CONFIG + "data: ${oc.create:${oc.decode:x}}\n",
    "a resolver after backslashes": CONFIG + "data: \\\\${oc.env:HOME}\n",
    "aliases that double": "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n" + CONFIG,
    "a key twice": CONFIG + "domain: molecules\n",
    "a megabyte": CONFIG + "#" * 2**20,
    "deep brackets": CONFIG + "data: " + "[" * 50_000,
    "no domain": "data: moons\n",
    "a list": "- domain\n",
    "no text": "\0\0",
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_of_a_stranger(kind: str, tmp_path: Path, empty: Path) -> None:
    (tmp_path / "config.yaml").write_text(CONFIGS[kind])
    before, started = files(tmp_path), time.process_time()
    with within(20), pytest.raises(ValueError, match=r"config\.yaml is damaged"):
        load_settings(tmp_path)
    assert time.process_time() - started < 1
    assert files(tmp_path) == before and not list(empty.iterdir())


def test_an_environment_of_a_stranger_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("domain: offline_rl\noffline_rl: {env: 'evil.module:Env-v0'}\n")
    with pytest.raises(ValueError, match="names code, which is never imported for a folder"):
        refuse_code(load_settings(tmp_path), ())


REPORTS = {
    "a pickle": pickle.dumps(Bomb()),
    "deep": b'{"a":' * 50_000,
    "a key twice": b'{"schema": 1, "schema": 1}',
    "NaN": b'{"schema": 1, "n_eff": NaN}',
    "not whole": b'{"schema": 1}',
    "empty": b"",
    "too large": b" " * (2**24 + 1),
}


@pytest.mark.parametrize("kind", REPORTS)
def test_a_report_of_a_stranger(kind: str, tmp_path: Path, empty: Path) -> None:
    (tmp_path / "report.json").write_bytes(REPORTS[kind])
    started = time.process_time()
    with within(20), pytest.raises(ValueError, match=r"report\.json is not a"):
        TiltReport.load(tmp_path)
    assert time.process_time() - started < 1 and not list(empty.iterdir())


def test_a_pipe_is_no_report(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    with within(5), pytest.raises(ValueError, match="a pipe"):
        TiltReport.load(tmp_path / "report.json")


def cache_of(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "energies.sqlite")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


TABLE = "CREATE TABLE energy (key BLOB PRIMARY KEY, value REAL) WITHOUT ROWID"
CACHES: dict[str, Callable[[Path], Any]] = {
    "a pickle": lambda f: (f / "energies.sqlite").write_bytes(pickle.dumps(Bomb())),
    "a view that never ends": lambda f: cache_of(
        f,
        "CREATE VIEW energy AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT i AS key, i AS value FROM n",
    ),
    "a trigger": lambda f: cache_of(f, TABLE, "CREATE TRIGGER t AFTER INSERT ON energy BEGIN DELETE FROM energy; END"),
    "another table": lambda f: cache_of(f, "CREATE TABLE energy (key TEXT, value TEXT)"),
    "cut in half": lambda f: (cache_of(f, TABLE), os.truncate(f / "energies.sqlite", 3000)),
}


@pytest.mark.parametrize("kind", CACHES)
def test_a_cache_of_a_stranger(kind: str, tmp_path: Path, empty: Path) -> None:
    CACHES[kind](tmp_path)
    with within(20), pytest.raises(EnergyError, match=f"cache={tmp_path}"):
        evaluate(egflow.as_energy(lambda x: x[:, 0].double(), cache=tmp_path, version="1"), X)
    assert not list(empty.iterdir())


@pytest.mark.parametrize("value", ["'words'", "x'80'", "NULL", "-9e999"])
def test_a_value_of_a_stranger_is_no_energy(value: str, tmp_path: Path) -> None:
    energy = egflow.as_energy(lambda x: x[:, 0].double(), cache=tmp_path, version="1")
    evaluate(energy, X)
    cache_of(tmp_path, f"UPDATE energy SET value = {value}")
    with within(20), pytest.raises(EnergyError, match="values that are no energies"):
        evaluate(energy, X)


def test_rounds_and_pools_of_a_stranger_count_as_none(tmp_path: Path, empty: Path) -> None:
    """They are a run's own files, taken up by `resume` alone: what is damaged is evaluated anew."""
    store = Store(tmp_path, {"seed": 0}, resume=True)
    store.save(1, Proposals(X, EnergyValues.from_tensor(X[:, 0]), X[:, 0].double(), None))
    file = store.file(1)
    assert file is not None
    other = {
        "x": X,
        "energy": X[:3, 0].double(),
        "forbidden": torch.zeros(60, dtype=torch.bool),
        "log_ratio": X[:, 0].double(),
    }
    said = {"facts": json.dumps({"seed": 0}), "counts": json.dumps({"calls": 1})}
    contents: list[Callable[[], Any]] = [
        lambda: file.write_bytes(pickle.dumps(Bomb())),
        lambda: save_file(other, file, said),  # parts of other lengths
        lambda: save_file(other | {"energy": torch.full((60,), torch.nan).double()}, file, said),
        lambda: save_file(other | {"energy": X[:, 0].double()}, file, said | {"counts": "[1]"}),
        lambda: save_file(other | {"energy": X[:, 0].double()}, file, said | {"facts": "3"}),
    ]
    for write in contents:
        write()
        assert store.load(1) is None
        assert len(Pool.load(file, 4, {"seed": 0})) == 0
    assert not list(empty.iterdir())
