"""Ctrl-C and SIGTERM in the middle of training: 130 and 143, saved, gone on with to the same end."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from cli_shell import environment, restore_signals, shell

LINE = (
    "python -m egflow.train toy.n_data=500 trainer.steps=500 trainer.batch_size=16 trainer.log_every=1 n=500 "
    "trainer.checkpoint_every=100000 trainer.progress=quiet"
)


def stop(line: str, cwd: Path, number: int, at_row: int) -> subprocess.CompletedProcess[str]:
    """Start a run and send it a signal once its metrics have some rows."""
    process = subprocess.Popen(
        f"exec {line}",
        shell=True,
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_signals,
    )
    metrics = cwd / "run" / "metrics.csv"
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") > at_row):
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def test_interrupted_terminated_and_gone_on_with(tmp_path: Path) -> None:
    first = stop(f"{LINE} run_dir=run", tmp_path, signal.SIGINT, at_row=20)
    assert first.returncode == 130, first
    assert "run_dir=run resume=true" in first.stderr and "Traceback" not in first.stderr
    assert list((tmp_path / "run" / "checkpoints").rglob("*"))
    rows = (tmp_path / "run" / "metrics.csv").read_text().count("\n")
    second = stop("python -m egflow.train run_dir=run resume=true", tmp_path, signal.SIGTERM, at_row=rows + 20)
    assert second.returncode == 143 and "terminated" in second.stderr, second
    third = shell("python -m egflow.train run_dir=run resume=true", tmp_path)
    assert third.returncode == 0, third.stderr
    assert json.loads((tmp_path / "run" / "report.json").read_text())["domain"] == "toy"
    straight = shell(f"{LINE} run_dir=straight", tmp_path)
    assert straight.returncode == 0, straight.stderr
    samples = [np.load(tmp_path / name / "samples.npy") for name in ("run", "straight")]
    assert np.array_equal(*samples)
