"""``egflow sample out=``: a folder in the domain's own format, or one file as its ending says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_shell import InProcess


def test_the_ending_says_how(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = finished[0] / "runs" / "mine"
    assert command("sample", f"run={run}", "n=30", "out=more") == (0, "")
    x = np.load(tmp_path / "more" / "samples.npy")
    for name in ("new/x.npy", "x.parquet", "a b.csv"):
        assert command("sample", f"run={run}", "n=30", f"out={name}") == (0, "")
    assert np.array_equal(np.load(tmp_path / "new" / "x.npy"), x)
    columns = pq.read_table(tmp_path / "x.parquet").columns
    assert np.array_equal(np.stack([one.to_numpy() for one in columns], 1), x)
    assert np.array_equal(np.loadtxt(tmp_path / "a b.csv", delimiter=",", skiprows=1, dtype=np.float32), x)
    assert command("sample", f"run={run}", "n=30", "out=runs.d/") == (0, "")  # a slash makes it a folder
    assert (tmp_path / "runs.d" / "samples.npy").is_file()
    assert command("sample", f"run={run}", "n=30", "out=v1.2") == (0, "")  # and so do digits
    assert (tmp_path / "v1.2" / "samples.npy").is_file()


@pytest.mark.parametrize("name", ["x.sdf", "x.pq", "x.npz", "x.Parquet"])
def test_an_ending_that_is_none(name: str, finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    code, stderr = command("sample", f"run={finished[0] / 'runs' / 'mine'}", "n=30", f"out={name}")
    assert code == 2 and f"out={name}: samples of this run are written as .npy, .parquet, .csv" in stderr
    assert stderr.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_file_that_is_taken_or_cannot_be(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = finished[0] / "runs" / "mine"
    (tmp_path / "x.npy").write_text("mine")
    code, stderr = command("sample", f"run={run}", "n=30", "out=x.npy")
    assert code == 2 and "out=x.npy is there already" in stderr and (tmp_path / "x.npy").read_text() == "mine"
    code, stderr = command("sample", f"run={run}", "n=30", "out=x.npy/y.npy")
    assert code == 2 and "cannot be made" in stderr and stderr.count("\n") == 1
