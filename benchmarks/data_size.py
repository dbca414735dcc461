"""Memory and time against the number of samples, in memory and over a memory-mapped file.

A fit of 200 steps, a tilt of 200 by the first coordinate at beta 1, and its report of 1,000 samples without densities
(whose cost knows no N), on N samples of 128 float32 numbers, by a small MLP in batches of 512 on one thread; each run
is a process of its own.

- `peak`: the most anonymous resident memory, less what the process had before, MB. Pages of the file do not count: the
  kernel takes them back when memory is short. What is left grows by some 150 bytes a sample, whatever a sample is:
  energies, weights and indices in float64, several at once.
- `fit`, `tilt`: seconds by the clock, reading and checking included; the tilt's hold the energies and the report. The
  machine was busier for the rows in memory: they are not to be compared with those of a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TITLE = "Data past memory: memory and time against N"
SIZES, NUMBERS, STEPS, PART = (100_000, 1_000_000, 10_000_000), 128, 200, 100_000
JOB = Path(__file__).resolve().with_name("_data_size_job.py")


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """A row for each N and place. quick: small ones."""
    for n in [size // 100 for size in SIZES] if quick else SIZES:
        with tempfile.TemporaryDirectory(dir=out) as folder:
            file = Path(folder) / "x.npy"
            write_normal(file, n)
            for where in ("memory", "file"):
                yield measured(file, n, where, 5 if quick else STEPS)


def measured(file: Path, n: int, where: str, steps: int) -> dict[str, object]:
    """The row of one run."""
    done = subprocess.run(
        [sys.executable, JOB, file, where, str(steps)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"N={n}, {where}: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    names = {"fit_s": "fit, s", "tilt_s": "tilt, s", "peak_mb": "peak, MB"}
    size: dict[str, object] = {"N": n, "file, MB": round(file.stat().st_size / 1e6), "data": where}
    return size | {name: found[key] for key, name in names.items()}


def write_normal(file: Path, n: int) -> None:
    """n standard normal samples (n, 128), written in parts."""
    with file.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, NUMBERS)}
        np.lib.format.write_array_header_2_0(stream, header)
        for low in range(0, n, PART):
            rows = min(PART, n - low)
            stream.write(np.random.default_rng(low).standard_normal((rows, NUMBERS), dtype=np.float32).tobytes())
