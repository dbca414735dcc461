"""Ranges of beta, several energies and rounds on the command line, through a shell where quoting matters."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from cli_shell import InProcess, shell
from test_signals import stop

from egflow.cli._beta import ranges_of
from egflow.cli._folder import load_settings
from egflow.cli._quote import split_list

QUIET = "trainer.progress=quiet"
SMALL = "toy.n_data=600 trainer.steps=10 trainer.batch_size=32 n=200 solver.rtol=1e-2 solver.atol=1e-2"


LOOSE = ("solver.rtol=1e-2", "solver.atol=1e-2")


def content(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of a range, typed without quotes, and what it printed."""
    folder = tmp_path_factory.mktemp("ranged")
    result = shell(f"python -m egflow.train {SMALL} {QUIET} data=rings beta=[0,4] run_dir=run", folder)
    assert result.returncode == 0, result.stderr
    return folder / "run", result.stdout


@pytest.fixture(scope="module")
def gridded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two energies, one of them with brackets and a comma in its name."""
    folder = tmp_path_factory.mktemp("gridded")
    energies = "energy='[rings,linear(slope=[1,0])]' beta='[[0,3],[0,1]]'"
    result = shell(f"python -m egflow.train {SMALL} {QUIET} data=rings {energies} run_dir=run", folder)
    assert result.returncode == 0, result.stderr
    return folder / "run"


def test_a_run_of_a_range(ranged: tuple[Path, str]) -> None:
    run, printed = ranged
    report = content(run)
    assert report["beta"] == [0.0, 4.0] and [block["beta"] for block in report["per_beta"]] == [0, 1, 2, 3, 4]
    assert report["n_eff"] == report["per_beta"][-1]["n_eff"] and report["n_samples"] == 200
    assert {"strip.png", "energy.png", "samples.png"} <= {file.name for file in (run / "figures").iterdir()}
    assert np.load(run / "samples.npy").shape == (200, 2)
    assert "samples.npy (at beta 4)" in printed
    assert load_settings(run)["beta"] == [0, 4]


def test_any_beta_of_the_range_is_sampled(ranged: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = ranged[0]
    made = {}
    for beta in ("0", "3.25", "4"):
        assert command("sample", f"run={run}", "n=50", f"beta={beta}", *LOOSE, f"out={beta}") == (0, "")
        made[beta] = np.load(tmp_path / beta / "samples.npy")
    # the run's samples are those at the upper end, of the run's seed
    assert command("sample", f"run={run}", "n=200", "seed=0", "beta=4", *LOOSE, "out=again") == (0, "")
    assert np.abs(np.load(tmp_path / "again" / "samples.npy") - np.load(run / "samples.npy")).max() < 1e-4
    assert np.abs(made["0"] - made["4"]).max() > 1e-3
    assert command("sample", f"run={run}", "n=10", "beta=2", "correct=true", *LOOSE, "out=corrected")[0] == 0


@pytest.mark.parametrize(
    "typed, words",
    [
        ([], "beta= is needed: run="),
        (["beta=4.5"], "beta=4.5 is outside beta in [0, 4]"),
        (["beta=-1"], "outside beta in [0, 4]"),
        (["beta=[1,2]"], "beta must be one number in beta in [0, 4]"),
        (["beta=auto"], "beta=auto: expected a finite number"),
        (["beta=[]"], "beta=[]: expected a finite number"),
    ],
)
def test_a_beta_that_is_not_in_the_range(
    ranged: tuple[Path, str], typed: list[str], words: str, command: InProcess, tmp_path: Path
) -> None:
    code, stderr = command("sample", f"run={ranged[0]}", "n=10", *typed, "out=here")
    assert code == 2 and words in stderr and stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_report_again_of_a_range_and_of_one_beta(
    ranged: tuple[Path, str], command: InProcess, tmp_path: Path
) -> None:
    run = ranged[0]
    assert command("evaluate", f"run={run}", "n=200", *LOOSE, "out=whole")[0] == 0
    assert [block["beta"] for block in content(tmp_path / "whole")["per_beta"]] == [0, 1, 2, 3, 4]
    assert command("evaluate", f"run={run}", "n=200", *LOOSE, "beta=2", "out=one")[0] == 0
    one = content(tmp_path / "one")
    assert one["beta"] == 2.0 and one["per_beta"] is None and one["n_samples"] == 200
    assert one["n_eff"] == pytest.approx(content(run)["per_beta"][2]["n_eff"])
    code, stderr = command("evaluate", f"run={run}", "beta=9", "out=outside")
    assert code == 2 and "outside beta in [0, 4]" in stderr and not (tmp_path / "outside").exists()


def test_several_energies(gridded: Path, command: InProcess, tmp_path: Path) -> None:
    report = content(gridded)
    assert report["beta"] == [[0.0, 3.0], [0.0, 1.0]] and len(report["per_beta"]) == 9
    assert [one["energy"] for one in report["each_energy"]] == ["rings", "linear(slope=[1.0, 0.0])"]
    assert {"strip.png", "tradeoff.png"} <= {file.name for file in (gridded / "figures").iterdir()}
    assert command("sample", f"run={gridded}", "n=20", *LOOSE, "beta=[2,.5]", "out=some") == (0, "")
    assert command("evaluate", f"run={gridded}", "n=200", *LOOSE, "beta=[3,1]", "out=corner")[0] == 0
    assert content(tmp_path / "corner")["n_eff"] == pytest.approx(report["n_eff"])
    code, stderr = command("sample", f"run={gridded}", "n=20", "beta=2")
    assert code == 2 and "2 numbers, one for each energy" in stderr
    code, stderr = command("evaluate", f"run={gridded}", "n=200", *LOOSE, "energy=rings", "beta=[3,1]")
    assert code == 2 and "a range of beta for each of 2 energies" in stderr


def test_a_run_of_one_beta_is_not_one_of_a_range(finished: tuple[Path, str], command: InProcess) -> None:
    code, stderr = command("evaluate", f"run={finished[0] / 'runs' / 'mine'}", "beta=[0,2]")
    assert code == 2 and "the run is of one beta" in stderr


def test_rounds(command: InProcess, tmp_path: Path) -> None:
    typed = ["data=swissroll", "beta=10", "rounds=2", "target_ess=0.4", "log_p=swissroll", "max_calls=9000"]
    with pytest.warns(UserWarning, match="rounds stopped at beta .* of 10: "):
        code, stderr = command("train", *SMALL.split(), QUIET, *typed, "run_dir=run")
    assert code == 0, stderr
    report = content(tmp_path / "run")
    assert report["reference"] == "density" and report["rounds"]["calls"] <= 9000
    assert 1 <= len(report["rounds"]["rounds"]) <= 2
    reached = report["rounds"]["beta_reached"]
    assert 0 < reached < 10 and report["beta"] == reached
    assert report["verdict"].startswith("rounds stopped at beta") and report["findings"][0] == "stopped"
    assert (tmp_path / "run" / "figures" / "rounds.png").is_file()
    # evaluated at the beta that was reached, against the data
    assert command("evaluate", "run=run", "n=200", *LOOSE, "out=again")[0] == 0
    again = content(tmp_path / "again")
    assert again["beta"] == reached and again["rounds"] == report["rounds"] and "data" in again["notes"]["reference"]


def test_log_p_of_code_is_given_again(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\ndef log_p(x): return -x.square().sum(1) / 2")
    typed = ["data=gaussian", "beta=.3", "rounds=auto", "target_ess=.01", "log_p=mine.py:log_p"]
    assert command("train", *SMALL.split(), QUIET, *typed, "run_dir=run")[0] == 0
    (tmp_path / "run" / "report.json").unlink()
    code, stderr = command("train", "run_dir=run", "resume=true")
    assert code == 2 and "give log_p= again" in stderr
    code, stderr = command("train", "run_dir=run", "resume=true", "log_p=other.py:log_p")
    assert code == 2 and "differs from the run's log_p=mine.py:log_p" in stderr
    assert command("train", "run_dir=run", "resume=true", "log_p=./mine.py:log_p", QUIET)[0] == 0
    assert (tmp_path / "run" / "report.json").is_file()


@pytest.mark.slow
def test_rounds_that_were_stopped_go_on_to_the_same_end(tmp_path: Path) -> None:
    line = f"python -m egflow.train {SMALL} {QUIET} data=swissroll beta=10 rounds=3 log_p=swissroll trainer.log_every=1"
    line = line.replace("trainer.steps=10", "trainer.steps=100")
    straight = shell(f"{line} run_dir=straight", tmp_path)
    assert straight.returncode == 0, straight.stderr
    first = stop(f"{line} run_dir=run", tmp_path, signal.SIGTERM, at_row=130)
    assert first.returncode == 143, first
    assert "run_dir=run resume=true" in first.stderr
    second = shell("python -m egflow.train run_dir=run resume=true", tmp_path)
    assert second.returncode == 0, second.stderr
    samples = [np.load(tmp_path / name / "samples.npy") for name in ("run", "straight")]
    assert np.array_equal(*samples)
    shutil.rmtree(tmp_path / "run")


@pytest.mark.parametrize(
    "text, parts",
    [("rings", ["rings"]), ("[a, b]", ["a", "b"]), ("[f(x=[1,2]),b.py:g]", ["f(x=[1,2])", "b.py:g"]), ("[a]", ["a"])],
)
def test_a_list_of_energies(text: str, parts: list[str]) -> None:
    assert split_list(text) == parts


def test_ranges_are_read() -> None:
    assert ranges_of([0, 8]) == ((0.0, 8.0),) and ranges_of("auto") is None and ranges_of(3.0) is None
