"""Saving and loading: everything comes back, and what is damaged is refused."""

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from gaussian import MEAN, STD, gaussian_flow

import egflow
from egflow.flow import Flow
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet")


@pytest.fixture(scope="module")
def tilted() -> Flow:
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    label = torch.arange(400) % 3
    base = egflow.fit(x, label, steps=5, batch_size=32, path="cosine", options=QUIET)
    return egflow.tilt(base, lambda x: x[:, 0], 1.0, data=x, condition=label, steps=5, batch_size=32, options=QUIET)


def test_everything_comes_back(tilted: Flow, tmp_path: Path) -> None:
    tilted.tune(6, condition=0, n=100)
    tilted.save(tmp_path / "model")
    assert {file.name for file in (tmp_path / "model").iterdir()} >= {"weights.safetensors", "model.json", "base"}
    back = Flow.load(tmp_path / "model")
    for solver in (None, "tuned"):
        assert torch.equal(back.sample(9, 1, solver=solver, seed=4), tilted.sample(9, 1, solver=solver, seed=4))
    assert back.base is not None and tilted.base is not None
    assert torch.equal(back.base.sample(9, 2), tilted.base.sample(9, 2))
    assert back.beta == 1.0 and back.report is not None and tilted.report is not None
    assert back.report.to_dict() == tilted.report.to_dict()
    back.save(tmp_path / "model")  # a model may be replaced
    with pytest.raises(ValueError, match="needs the base and the energy"):
        back.sample(5, 0, correct=True)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    flow = gaussian_flow("vp", MEAN, STD, (4,))
    flow.save(tmp_path / "own")
    with pytest.raises(ValueError, match="network=module"):
        Flow.load(tmp_path / "own")
    other = gaussian_flow("vp", MEAN * 0, STD * 0 + 1, (4,))
    assert torch.equal(Flow.load(tmp_path / "own", network=other.network).sample(3), flow.sample(3))


def test_missing_truncated_altered(tilted: Flow, tmp_path: Path) -> None:
    def fresh(name: str) -> Path:
        tilted.save(tmp_path / name)
        return tmp_path / name

    with pytest.raises(FileNotFoundError, match="is missing"):
        Flow.load(tmp_path / "nowhere")
    for part in ("weights.safetensors", "model.json"):
        (fresh(part) / part).unlink()
        with pytest.raises(FileNotFoundError, match=part):
            Flow.load(tmp_path / part)
    weights = fresh("truncated") / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.raises(ValueError, match="truncated or altered"):
        Flow.load(tmp_path / "truncated")
    weights = fresh("altered") / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="truncated or altered"):
        Flow.load(tmp_path / "altered")
    text = fresh("json") / "model.json"
    text.write_text(text.read_text()[:50])
    with pytest.raises(ValueError, match="truncated or altered"):
        Flow.load(tmp_path / "json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "egflow-model/99"),
        ("path", "straight"),
        ("event_shape", [3]),
        ("event_shape", "wide"),
        ("prediction", 3),
        ("network", {"name": "os.system", "config": {}}),
        ("network", {"name": "mlp", "config": {"event_shape": [2], "layers": 4}}),
        ("network", {"name": "mlp", "config": {"event_shape": [2], "width": 8}}),
        ("network", 3),
        ("tuned", {"grid": []}),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit(tilted: Flow, tmp_path: Path, key: str, value: object) -> None:
    tilted.save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ValueError):
        Flow.load(tmp_path / "model")


def test_a_model_that_cannot_be_replaced_stays(tilted: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tilted.save(tmp_path / "model")
    rename = os.rename

    def full(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "model" and not Path(source).match(".model.old.*/model"):
            raise OSError(errno.ENOSPC, "no space left")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="no space left"):
        tilted.save(tmp_path / "model")
    monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert torch.equal(Flow.load(tmp_path / "model").sample(3, 0), tilted.sample(3, 0))


def test_a_folder_with_something_else_is_left_alone(tilted: Flow, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a saved model"):
        tilted.save(tmp_path)
    with pytest.raises(OSError):
        tilted.save(tmp_path / "notes.txt" / "model")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notes.txt"]
