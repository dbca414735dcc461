"""One run of `suite=data_size`: a fit, a tilt and its report on N samples, in memory or over a file. Prints one row."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from pathlib import Path

import torch

import egflow
from egflow._account import ReportOptions
from egflow.data import open_samples
from egflow.network import MLP


def resident() -> int:
    """Anonymous resident memory of this process, MB: what cannot be given back when memory is short."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) // 1_000


class Peak(threading.Thread):
    """The largest resident memory, looked at every 5 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.value, self.done = resident(), threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.005):
            self.value = max(self.value, resident())


def job(file: Path, where: str, steps: int) -> dict[str, object]:
    """Fit, tilt by the first coordinate at beta 1 and report. where: "file", or "memory"."""
    torch.set_num_threads(1)
    quiet = egflow.TrainingOptions(progress="quiet")
    small = torch.randn(100, 2)
    egflow.tilt(egflow.fit(small, steps=2, options=quiet), _energy, 1.0, data=small, steps=2, options=quiet)  # warm
    before, peak = resident(), Peak()
    peak.start()
    marks = [time.perf_counter()]
    x = open_samples(file)
    if where == "memory":
        x = x.clone()
    base = egflow.fit(x, network=MLP(x.shape[1:], width=64), steps=steps, options=quiet)
    marks.append(time.perf_counter())
    reporting = ReportOptions(n=1_000, has_density=False)
    flow = egflow.tilt(base, _energy, 1.0, data=x, steps=steps, options=quiet, reporting=reporting)
    marks.append(time.perf_counter())
    peak.done.set()
    assert flow.report is not None
    return {
        "fit_s": round(marks[1] - marks[0], 1),
        "tilt_s": round(marks[2] - marks[1], 1),
        "peak_mb": peak.value - before,
        "n_eff": round(flow.report.n_eff),
        "energy": flow.report.energy_mean["generated"],
    }


def _energy(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0]


if __name__ == "__main__":
    print(json.dumps(job(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
