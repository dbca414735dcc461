"""Saving and loading: everything comes back, and what is damaged is refused."""

import errno
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from gaussian import MEAN, STD, gaussian_flow
from safetensors.torch import load_file, save_file

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
        ("tuned", {"times": [0, 10**400]}),
        ("beta", "a"),
        ("beta", {"a": 1}),
        ("num_classes", "x"),
        ("domain", 3),
        ("condition_shape", ["a"]),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit(tilted: Flow, tmp_path: Path, key: str, value: object) -> None:
    tilted.save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    with pytest.raises(ValueError):
        Flow.load(tmp_path / "model")


def rewritten(folder: Path, **changes: object) -> None:
    """Change keys of model.json, and let its checksum be that of the weights as they are."""
    file = folder / "model.json"
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    file.write_text(json.dumps(json.loads(file.read_text()) | {"weights_sha256": digest} | changes))


@pytest.mark.parametrize(
    "config",
    [
        {"event_shape": [2], "width": 10**9},
        {"event_shape": [2], "depth": 10**6},
        {"event_shape": [10**9]},
        {"event_shape": [2], "width": 2**19},
        {"event_shape": [2], "width": 1e300},
        {"event_shape": [2], "_target_": "os.system"},
    ],
    ids=str,
)
def test_a_config_beyond_its_weights_takes_no_memory(tilted: Flow, tmp_path: Path, config: dict[str, object]) -> None:
    tilted.save(tmp_path / "model")
    rewritten(tmp_path / "model", network={"name": "mlp", "config": config, "at": None})
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"beyond|asks for|unexpected keyword"):
        Flow.load(tmp_path / "model")
    assert time.monotonic() - started < 1


def test_a_key_twice_or_a_number_that_is_none(tilted: Flow, tmp_path: Path) -> None:
    tilted.save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    text = file.read_text()
    for other, word in (
        (text.replace("{", '{"path": "vp", ', 1), "'path' stands in it twice"),
        (text.replace('"beta": 1.0', '"beta": NaN'), "NaN is no JSON number"),
        (text.replace('"beta": 1.0', '"beta": 1e999'), "1e999 is no JSON number"),
        ("[" * 100_000, "truncated or altered"),
        (text + " " * 2**24, "more than the"),
        ("[]", "no schema"),
    ):
        file.write_text(other)
        with pytest.raises(ValueError, match=word):
            Flow.load(tmp_path / "model")


def test_weights_that_are_no_numbers(tilted: Flow, tmp_path: Path) -> None:
    tilted.save(tmp_path / "model")
    file = tmp_path / "model" / "weights.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if key.startswith("network."))
    save_file(tensors | {name: tensors[name] * torch.nan}, file)
    rewritten(tmp_path / "model")
    with pytest.raises(ValueError, match=f"{name} holds NaN or infinity"):
        Flow.load(tmp_path / "model")
    file.write_bytes(b"\xff" * 7 + b"\x00" + file.read_bytes())  # a header that says it is longer than all there is
    rewritten(tmp_path / "model")
    with pytest.raises(ValueError, match="does not hold a model"):
        Flow.load(tmp_path / "model")


def test_links_out_of_the_folder_are_not_followed(tilted: Flow, tmp_path: Path) -> None:
    tilted.save(tmp_path / "model")
    elsewhere = tmp_path / "elsewhere"
    for name in ("model.json", "weights.safetensors", "base"):
        tilted.save(tmp_path / "linked")
        os.rename(tmp_path / "linked" / name, elsewhere)
        (tmp_path / "linked" / name).symlink_to(elsewhere)
        with pytest.raises(ValueError, match="a link out of its folder"):
            Flow.load(tmp_path / "linked")
        shutil.rmtree(tmp_path / "linked")
        shutil.rmtree(elsewhere) if elsewhere.is_dir() else elsewhere.unlink()
    shutil.rmtree(tmp_path / "model" / "base")
    (tmp_path / "model" / "base").symlink_to(tmp_path / "model", target_is_directory=True)  # a base of itself
    with pytest.raises(ValueError, match="more than 32 bases in each other"):
        Flow.load(tmp_path / "model")


def test_the_hubs_cache_is_made_of_links(tilted: Flow, tmp_path: Path) -> None:
    tilted.save(tmp_path / "model")
    snapshot, blobs = tmp_path / "cache" / "snapshots" / "0a1b", tmp_path / "cache" / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(file for file in (tmp_path / "model").rglob("*") if file.is_file()):
        os.rename(file, blobs / str(number))
        link = snapshot / file.relative_to(tmp_path / "model")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
    back = Flow.load(snapshot)
    assert back.base is not None and torch.equal(back.sample(3, 0), tilted.sample(3, 0))


def test_a_tilt_of_a_tilt_of_a_tilt_comes_back(tmp_path: Path) -> None:
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    flow = egflow.fit(x, steps=1, batch_size=8, options=QUIET)
    for _ in range(3):
        flow = egflow.tilt(flow, lambda x: x[:, 0], 0.5, data=x, steps=1, batch_size=8, options=QUIET)
    flow.save(tmp_path / "model")
    assert torch.equal(Flow.load(tmp_path / "model").sample(3), flow.sample(3))


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
