"""Sweeps by Hydra's launchers: every run whole and in a folder of its own, and one that fails is named."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from cli_shell import SMALL, shell

LINE = f"python -m egflow.train --multirun {SMALL} trainer.progress=quiet hydra.sweep.dir=sweep"
JOBLIB = "hydra/launcher=joblib hydra.launcher.n_jobs=2"
SUBMITIT = "hydra/launcher=submitit_local hydra.launcher.submitit_folder=jobs hydra.launcher.timeout_min=5"
submitit = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="the launcher is not installed"),
]
LAUNCHERS = [pytest.param(JOBLIB, id="joblib"), pytest.param(SUBMITIT, id="submitit", marks=submitit)]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_all_runs_end_whole_and_apart(tmp_path: Path, launcher: str) -> None:
    result = shell(f"{LINE} {launcher} beta=1,2", tmp_path)
    assert result.returncode == 0, result.stderr
    runs = [tmp_path / "sweep" / number for number in ("0", "1")]
    reports = [json.loads((run / "report.json").read_text()) for run in runs]
    assert [report["beta"] for report in reports] == [1, 2]
    samples = [np.load(run / "samples.npy") for run in runs]
    assert all(sample.shape == (500, 2) for sample in samples) and not np.array_equal(*samples)
    for run in runs:
        assert (run / "model" / "model.json").is_file() and not list(run.rglob("*.writing*"))
    alone = shell(f"python -m egflow.train {SMALL} trainer.progress=quiet beta=2 run_dir=alone", tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert np.array_equal(np.load(tmp_path / "alone" / "samples.npy"), samples[1]), "as a run of its own"


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_one_that_fails_is_named_and_the_other_ends(tmp_path: Path, launcher: str) -> None:
    result = shell(f"{LINE} {launcher} energy=8gaussians,nothing", tmp_path)
    assert result.returncode == 1, result.stderr
    assert "energy='nothing' failed (2)" in result.stderr and "Traceback" not in result.stderr
    assert (tmp_path / "sweep" / "0" / "report.json").is_file() and not (tmp_path / "sweep" / "1").exists()
