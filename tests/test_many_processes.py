"""Two processes against one: the same weights to the rounding of another order, energies asked for once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

import egflow
from egflow._group import Group, evaluate_together, group
from egflow.cli._door import run
from egflow.coupling import independent
from egflow.network import MLP
from egflow.objective import cefm
from egflow.path import CondOT
from egflow.report import TiltReport
from egflow.training import FlowMatching, Population, TrainingOptions, train
from egflow.weights import Resample

QUIET = TrainingOptions(progress="quiet")
ASKED: list[int] = []


def counted(x: Tensor) -> Tensor:
    ASKED.append(len(x))
    return x[:, 0]


def bad_at_200(x: Tensor) -> Tensor:
    where = (x == points()[200]).all(1)
    if where.any():
        raise RuntimeError("it does not like this one")
    return x[:, 0]


def points() -> Tensor:
    return torch.randn(300, 2, generator=torch.Generator().manual_seed(0))


def double(steps: int, **options: Any) -> torch.nn.Module:
    """The network itself, not its average, after a plain training in float64."""
    torch.manual_seed(0)
    network, x = MLP((2,), width=16, depth=2).double(), points().double()
    flat = torch.zeros(len(x), dtype=torch.float64)
    population = Population(x, None, Resample().prepare(flat, flat))
    problem = FlowMatching(CondOT(), cefm, independent, "velocity", population, None)
    train(network, problem, steps=steps, batch_size=33, seed=3, options=TrainingOptions(progress="quiet", **options))
    return network


def vector(network: torch.nn.Module) -> Tensor:
    return torch.cat([one.detach().flatten().double() for one in network.parameters()])


def accounts() -> dict[str, list[float]]:
    """What reports say of one model tilted at one beta and over a range, of labels, and of what p means being drawn."""
    x, label = points(), torch.arange(300) % 3
    few: dict[str, Any] = {"steps": 5, "batch_size": 32, "options": QUIET}
    base, conditional = egflow.fit(x, **few), egflow.fit(x, label, **few)
    flows = {
        "one": egflow.tilt(base, counted, 1.0, data=x, **few),
        "range": egflow.tilt(base, counted, (0.0, 2.0), data=x, **few),
        "labels": egflow.tilt(conditional, counted, 1.0, data=x, condition=label, **few),
        "drawn": egflow.tilt(base, counted, 1.0, draws=200, **few),
    }
    found = {}
    for name, flow in flows.items():
        report = flow.report
        assert report is not None and report.distance is not None
        numbers = (report.energy_mean["generated"], report.energy_ks, report.distance["value"], report.achieved_beta)
        found[name] = [float(number) for number in numbers if number is not None]
    return found


def asked_about_tokens() -> int:
    """How many sequences this process asks an energy about, for a tilt and its report, corrected weights included."""
    words = torch.randint(0, 4, (300, 5), generator=torch.Generator().manual_seed(1))
    few: dict[str, Any] = {"steps": 5, "batch_size": 32, "options": QUIET}
    speech = egflow.fit(words, vocab_size=4, **few)
    ASKED.clear()
    flow = egflow.tilt(speech, lambda x: counted(x.float()), 1.0, data=words, method="cefm", **few)
    assert flow.report is not None and flow.report.correction is not None
    return sum(ASKED)


def in_folder(folder: Path) -> Tensor:
    """The weights after forty steps, with checkpoints."""
    options = TrainingOptions(progress="quiet", folder=folder, checkpoint_every=20, resume=True)
    return vector(egflow.fit(points(), steps=40, batch_size=32, options=options).network)


def all_cases() -> dict[str, Tensor]:
    """The weights after trainings of every kind, as one vector each."""
    x, label = points(), torch.arange(300) % 3
    few: dict[str, Any] = {"steps": 5, "batch_size": 32, "options": QUIET}
    base = egflow.fit(x, **few)
    conditional = egflow.fit(x, label, **few)
    words = torch.randint(0, 4, (300, 5), generator=torch.Generator().manual_seed(1))
    speech = egflow.fit(words, vocab_size=4, **few)

    def zeros(x: Tensor) -> Tensor:
        return (x == 0).sum(1).float()

    flows = {"fit": base, "conditional": conditional, "tokens": speech}
    for weights in ("resample", "global", "softmax"):
        flows[weights] = egflow.tilt(base, counted, 1.0, data=x, weights=weights, **few)
    flows["range"] = egflow.tilt(base, counted, (0.0, 2.0), data=x, **few)
    flows["per condition"] = egflow.tilt(conditional, counted, 1.0, data=x, condition=label, per_condition=True, **few)
    flows["accumulated"] = egflow.fit(
        x, steps=5, batch_size=32, options=TrainingOptions(progress="quiet", accumulate=3)
    )
    flows["token tilt"] = egflow.tilt(speech, zeros, 1.0, data=words, method="cefm", **few)
    flows["few rows"] = egflow.fit(x, steps=5, batch_size=1, options=QUIET)
    flows["twist"] = egflow.tilt(speech, zeros, 1.0, draws=60, **few)
    found = {name: flow.network for name, flow in flows.items()} | {"float64": double(200)}
    vectors = {
        name: torch.cat([one.detach().flatten().double() for one in net.parameters()]) for name, net in found.items()
    }
    one_step = double(1)
    vectors["gradient"] = torch.cat([one.grad.flatten() for one in one_step.parameters() if one.grad is not None])
    return vectors


def work(rank: int, folder: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    assert group() == Group(rank, 2)
    ASKED.clear()
    values = evaluate_together(egflow.as_energy(counted), points())
    asked, energies = sum(ASKED), values.values
    with pytest.raises(ValueError, match="for item 200"):  # of the second's share
        evaluate_together(egflow.as_energy(bad_at_200, name="failing"), points())
    with pytest.raises(ValueError, match="forbids all 300 items"):
        evaluate_together(egflow.as_energy(lambda x: x[:, 0] + torch.inf, name="failing"), points())
    found = {"asked": asked, "energies": energies, "calls": values.calls, "cases": all_cases()}
    found["in folder"] = in_folder(Path(folder, "run"))
    found["account"] = accounts()
    found["tokens asked"] = asked_about_tokens()
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes came to."""
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(work, (str(folder),), nprocs=2)  # pyright: ignore[reportPrivateImportUsage]
    found = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    return [one | {"folder": str(folder / "run")} for one in found]


def test_every_kind_of_training_is_that_of_one_process(two: list[dict[str, Any]]) -> None:
    alone = all_cases()
    assert alone.keys() == two[0]["cases"].keys()
    for name, weights in alone.items():
        first, second = (one["cases"][name] for one in two)
        assert torch.equal(first, second), name
        most = {"float64": 1e-9, "gradient": 1e-12}.get(name, 1e-5)
        assert float((first - weights).norm() / weights.norm()) < most, name


def test_a_report_is_that_of_one_process(two: list[dict[str, Any]]) -> None:
    alone = accounts()
    assert len(alone["one"]) == 4
    for name, numbers in alone.items():
        assert two[0]["account"][name] == two[1]["account"][name], name
        assert two[0]["account"][name] == pytest.approx(numbers, rel=1e-3, abs=1e-3), name


def test_one_process_goes_on_with_what_two_began(two: list[dict[str, Any]]) -> None:
    files = sorted(Path(two[0]["folder"], "checkpoints", "base").glob("*"))
    assert [file.name for file in files] == ["step-00000020.safetensors", "step-00000040.safetensors"]
    assert Path(two[0]["folder"], "metrics.csv").is_file()
    files[-1].unlink()
    again, before = in_folder(Path(two[0]["folder"])), two[0]["in folder"]
    assert torch.equal(before, two[1]["in folder"])
    assert 0 < float((again - before).norm() / before.norm()) < 1e-5


def test_energies_are_asked_for_once(two: list[dict[str, Any]]) -> None:
    assert [one["asked"] for one in two] == [150, 150] and two[0]["calls"] == 300
    assert torch.equal(two[0]["energies"], two[1]["energies"])
    assert torch.equal(two[0]["energies"], points()[:, 0].double())


def test_an_energy_of_tokens_is_asked_once_for_a_report_too(two: list[dict[str, Any]]) -> None:
    assert sum(one["tokens asked"] for one in two) == asked_about_tokens() > 300


def test_one_process_is_a_group_of_its_own() -> None:
    assert group() == Group(0, 1)
    assert (
        Group().first(lambda: 3) == 3
        and Group().gather(lambda: 3) == [3]
        and Group().largest(4, torch.device("cpu")) == 4
    )


LINE = (
    "toy.n_data=600 trainer.steps=30 trainer.batch_size=32 n=200 solver.rtol=1e-2 solver.atol=1e-2 "
    "trainer.progress=quiet"
)


def torchrun(words: str, cwd: Path, verb: str = "train") -> subprocess.CompletedProcess[str]:
    command = f"-m torch.distributed.run --standalone --nproc-per-node=2 -m egflow.{verb} {words}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command.split()], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200
    )


def test_a_benchmark_runs_in_one_process(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run("benchmark", ["suite=toys"]) == 2
    assert "benchmark runs in one process: start it without torchrun" in capfd.readouterr().err


def test_torchrun_from_the_command_line(tmp_path: Path) -> None:
    made = torchrun(f"{LINE} run_dir=run", tmp_path)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("Written to run") == 1
    assert not [file for file in tmp_path.iterdir() if file.name != "run"]
    wrong = torchrun(f"{LINE} run_dir=run", tmp_path)
    assert wrong.returncode != 0 and wrong.stderr.count("holds a run: go on with it") == 1
    rounds = torchrun(f"{LINE} run_dir=other rounds=2 beta=3", tmp_path)
    assert "rounds=2 runs in one process" in rounds.stderr and not (tmp_path / "other").exists()
    alone = subprocess.run(
        [sys.executable, "-m", "egflow.train", *LINE.split(), "run_dir=alone"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    samples = [np.load(tmp_path / name / "samples.npy") for name in ("run", "alone")]
    assert np.abs(samples[0] - samples[1]).max() < 1e-3

    drawn = torchrun("run=run n=200 seed=0 solver.rtol=1e-2 solver.atol=1e-2 out=more", tmp_path, "sample")
    assert drawn.returncode == 0 and drawn.stdout.count("200 samples written") == 1, drawn.stderr
    assert np.abs(np.load(tmp_path / "more" / "samples.npy") - samples[0]).max() < 1e-5
    held = torchrun("run=run n=200 seed=0 solver.rtol=1e-2 solver.atol=1e-2 out=held", tmp_path, "evaluate")
    assert held.returncode == 0 and held.stdout.count("Written to held") == 1, held.stderr
    again, first = (TiltReport.load(tmp_path / name) for name in ("held", "run"))
    assert again.energy_mean["generated"] == pytest.approx(first.energy_mean["generated"], abs=1e-4)
