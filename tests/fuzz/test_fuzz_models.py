"""Models, reports, configs and the stores of a run, damaged: one clear error in a moment, and nothing written."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fuzzing import damaged_bytes, damaged_json, files, judged
from hypothesis import example, given
from hypothesis import strategies as st

import egflow
from egflow.cli._folder import load_settings, refuse_code
from egflow.energy import EnergyError, EnergyValues, evaluate
from egflow.report import TiltReport
from egflow.rounds import Pool, Proposals, Store
from egflow.training import TrainingOptions

X = torch.randn(60, 2, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(3, (60, 4), generator=torch.Generator().manual_seed(2))
FEW: dict[str, Any] = {"steps": 2, "batch_size": 8, "options": TrainingOptions(progress="quiet")}


def height(x: torch.Tensor) -> torch.Tensor:
    """E(x), of points and of tokens."""
    return x[:, 0].double()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saved flows: of points with a tuned solver and a report, of labels, over a range, of tokens."""
    place = tmp_path_factory.mktemp("models")
    base = egflow.fit(X, **FEW)
    tilted = egflow.tilt(base, height, 0.5, data=X, **FEW)
    tilted.tune(4, n=50)
    tilted.save(place / "points")
    egflow.fit(X, torch.arange(60) % 3, **FEW).save(place / "labels")
    egflow.tilt(base, height, (0.0, 1.0), data=X, **FEW).save(place / "range")
    egflow.fit(TOKENS, vocab_size=3, **FEW).save(place / "tokens")
    return place


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Callable[[str], Path]:
    """A fresh copy of a model, to be damaged."""
    place = tmp_path_factory.mktemp("damaged") / "model"

    def copy(name: str) -> Path:
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(folder / name, place)
        return place

    return copy


def loads_or_says(place: Path) -> None:
    """`Flow.load` gives a flow that can be sampled, or refuses in under a second; the folder is as it was."""
    before = files(place)
    flow = judged(lambda: egflow.Flow.load(place), str(place), kinds=(ValueError, FileNotFoundError), seconds=5)
    assert files(place) == before
    if flow is None:
        return
    if flow.report is not None:
        judged(flow.report.to_dict)
        judged(lambda: str(flow.report))
    condition = None if flow.condition_shape is None else torch.zeros(flow.condition_shape, dtype=torch.long)
    beta = None if flow.beta_range is None else [low for low, _ in flow.beta_range]
    judged(lambda: flow.sample(2, condition, beta=beta, solver=None if flow.event_shape else "euler"))


@given(data=st.data(), name=st.sampled_from(["points", "labels", "range", "tokens"]))
def test_model_json(folder: Path, damaged: Callable[[str], Path], data: st.DataObject, name: str) -> None:
    place = damaged(name)
    model = json.loads((place / "model.json").read_text())
    (place / "model.json").write_text(json.dumps(data.draw(damaged_json(model))))
    loads_or_says(place)


@given(data=st.data(), name=st.sampled_from(["model.json", "weights.safetensors", "report.json", "base/model.json"]))
def test_bytes_of_a_model(folder: Path, damaged: Callable[[str], Path], data: st.DataObject, name: str) -> None:
    place = damaged("points")
    (place / name).write_bytes(data.draw(damaged_bytes((place / name).read_bytes())))
    loads_or_says(place)


@given(data=st.data(), name=st.sampled_from(["points", "tokens"]))
def test_weights_with_a_checksum_that_is_right(
    folder: Path, damaged: Callable[[str], Path], data: st.DataObject, name: str
) -> None:
    """Bytes of the numbers, and the header as JSON."""
    place = damaged(name)
    file = place / "weights.safetensors"
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if data.draw(st.booleans()):
        text = json.dumps(data.draw(damaged_json(header))).encode()
        said = data.draw(st.sampled_from([len(text), len(text) + 1, len(text) - 1, 0, 2**40, 2**64 - 1]))
        content = struct.pack("<Q", said) + text + content[8 + length :]
    else:
        content = content[: 8 + length] + data.draw(damaged_bytes(content[8 + length :]))
    file.write_bytes(content)
    model = json.loads((place / "model.json").read_text())
    model["weights_sha256"] = hashlib.sha256(content).hexdigest()
    (place / "model.json").write_text(json.dumps(model))
    loads_or_says(place)


@given(st.data())
def test_report_json(folder: Path, damaged: Callable[[str], Path], data: st.DataObject) -> None:
    file = damaged("points") / "report.json"
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    else:
        file.write_text(json.dumps(data.draw(damaged_json(json.loads(file.read_text())))))
    report = judged(lambda: TiltReport.load(file), str(file), seconds=5)
    if report is not None:
        judged(report.to_dict)
        judged(lambda: str(report))


CONFIG = """\
domain: toy
data: moons
energy: moons
score: null
beta: 4.0
n: 100
seed: 0
device: null
solver:
  name: null
  rtol: 1.0e-05
  atol: 1.0e-05
toy:
  n_data: 100
trainer: {steps: 10, ema: 0.99}
"""
PUT = [
    "&a [1]",
    "*a",
    "!!python/object/apply:os.system ['true']",
    "${oc.env:HOME}",
    "<<: {a: 1}",
    "? [a, b]",
    "- - - -",
]
PUT += [
    "{a: {b: {c: ",
    "\t",
    "'",
    '"',
    "domain: offline_rl",
    "domain: 3",
    "2001-12-14",
    "0x7f",
    "1e999",
    ".nan",
    "!!binary aa",
]


@given(st.data())
def test_config_yaml(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = tmp_path_factory.mktemp("config")
    if data.draw(st.booleans()):
        lines = CONFIG.splitlines()
        at = data.draw(st.integers(0, len(lines)))
        word = data.draw(st.sampled_from(PUT) | st.text(max_size=9))
        text = "\n".join([*lines[:at], word, *lines[at:]])
        (place / "config.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        (place / "config.yaml").write_bytes(data.draw(damaged_bytes(CONFIG.encode())))
    before = files(place)
    settings = judged(lambda: load_settings(place), str(place), seconds=10)
    if settings is not None:
        judged(lambda: refuse_code(settings, ()))
    assert files(place) == before
    shutil.rmtree(place)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4), st.lists, max_leaves=4)
)
def test_values_of_the_command_line(value: Any) -> None:
    """Every key of `train` with a value of any kind."""
    from egflow.cli._settings import CHECKS

    for rule in CHECKS["train"].values():
        expected = rule(value)
        assert expected is None or (isinstance(expected, str) and expected)


def rounds_of(place: Path) -> Store:
    return Store(place, {"seed": 0}, resume=True)


@given(st.data())
def test_a_round_on_disk(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A damaged file counts as none; what is read is as long as it says."""
    place = tmp_path_factory.mktemp("rounds")
    store = rounds_of(place)
    store.save(1, Proposals(X, EnergyValues.from_tensor(X[:, 0]), X[:, 0].double(), None))
    file = store.file(1)
    assert file is not None
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    found = judged(lambda: store.load(1), "rounds")
    if found is not None:
        assert len(found.x) == len(found.energies) == len(found.log_ratio)
        assert not bool(found.energies.values.isnan().any())
    shutil.rmtree(place)


@given(st.data())
def test_the_pool_of_a_search(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = tmp_path_factory.mktemp("pool")
    pool = Pool(4)
    pool.add([str(i) for i in range(60)], TOKENS, EnergyValues.from_tensor(X[:, 0]), X[:, 1], 1, False)
    pool.save(place / "pool.safetensors", {"seed": 0})
    file = place / "pool.safetensors"
    file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    found = judged(lambda: Pool.load(file, 4, {"seed": 0}), "search")
    if found is not None:
        sizes = {len(part) for part in (found.key, found.x, found.energy, found.log_p, found.round, found.edited)}
        assert len(sizes) == 1 and found.x.shape[1] == 4
        assert not bool(found.energy.isnan().any())
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cached")
    evaluate(egflow.as_energy(height, cache=place, version="1"), X)
    return place


@given(st.data())
@example(None)
def test_a_cache_of_energies(
    cached: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject | None
) -> None:
    """A damaged cache is said to be one; a value in it is a number, whatever a stranger wrote."""
    place = tmp_path_factory.mktemp("cache")
    content = (cached / "energies.sqlite").read_bytes()
    (place / "energies.sqlite").write_bytes(content if data is None else data.draw(damaged_bytes(content)))
    energy = egflow.as_energy(height, cache=place, version="1")
    judged(lambda: evaluate(energy, X).values, "cache", kinds=(EnergyError,))
    shutil.rmtree(place)
