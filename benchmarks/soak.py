"""Trust: rounds again and again in one process, with an energy that fails in three ways.

Each tilt fits a flow to 600 new points of the swissroll and goes to beta 6 in two rounds, its energy in two workers
under a time limit of half a second and `on_failure="forbid"`. Of the items 1 % raise, 1 % hang, 1 % are NaN and 2 % are
forbidden; which, is a hash of the item's bytes, so that each answer is held against what it must be. `asked`:
items asked for. `lost`: those that came back as anything else than their value, their +inf, or a counted failure.
`late`: healthy items that missed the time limit, counted as failures (the machine was busy). A row is a twelfth of the
time, the first is the warm-up. `MB`: resident memory of the process at the ends of its tilts, median; `growth` against
the second row, in percent; `server MB` is of the process that workers are forked from. `handles`: open files of both,
least and most at the ends of tilts; `processes`: children, workers included, at the ends of tilts, most.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _soak_flaky import FATES, fate, flaky, value
from egflow_toy.densities import density
from torch import Tensor

import egflow
from egflow._account import ReportOptions
from egflow.energy import EnergyModel, as_energy
from egflow.energy._tally import current_tally
from egflow.training import TrainingOptions

TITLE = "Soak: rounds for hours with an energy that fails"
ROWS = 12
TIME_LIMIT = 0.5
_PAGE = os.sysconf("SC_PAGE_SIZE") / 1e6


class Watched(EnergyModel):
    """The flaky energy in workers, each answer held against what it must be."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = as_energy(flaky, batch=False, workers=2, time_limit=TIME_LIMIT, on_failure="forbid")
        self.counts: Counter[str] = Counter()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        tally = current_tally(len(x))
        assert tally is not None
        energies = self.inner(x, condition)
        for item, energy, failed in zip(x, energies.tolist(), tally.failed.tolist(), strict=True):
            self.counts[account(item, energy, failed)] += 1
        self.counts["asked"] += len(x)
        return energies


def account(item: Tensor, energy: float, failed: bool) -> str:
    """Which column an answer counts in."""
    wanted = fate(item)
    if wanted in ("exception", "hang", "nan"):
        return wanted if failed and energy == float("inf") else "lost"
    if failed:
        return "late"
    return wanted if energy == (float("inf") if wanted == "forbidden" else value(item)) else "lost"


def run(out: Path, quick: bool = False, hours: float = 2.0) -> Iterator[dict[str, object]]:
    """Yield a row for each twelfth of the time; quick: three rows of one short tilt each."""
    torch.set_num_threads(1)
    rows, number, first = (3 if quick else ROWS), 0, 0.0
    started = time.monotonic()
    for row in range(rows):
        energy, seen = Watched(), []
        while not seen or (not quick and time.monotonic() - started < (row + 1) / rows * hours * 3600):
            number += 1
            rounds = tilted(energy, number, quick)
            seen.append(look() | {"rounds": rounds})
            print(f"tilt {number}: {seen[-1]}", file=sys.stderr, flush=True)
        memory = statistics.median(one["MB"] for one in seen)
        first = memory if row == 1 else first
        yield {
            "hours": round((time.monotonic() - started) / 3600, 3),
            "tilts": len(seen),
            "rounds": sum(one["rounds"] for one in seen),
            "asked": energy.counts["asked"],
            **{name: energy.counts[name] for name in (*reversed(FATES), "late", "lost")},
            "MB": round(memory, 1),
            "growth": round(100 * (memory / first - 1), 2) if row else None,
            "server MB": round(statistics.median(one["server MB"] for one in seen), 1),
            "handles": f"{min(one['handles'] for one in seen)}–{max(one['handles'] for one in seen)}",
            "processes": max(one["processes"] for one in seen),
        }


def tilted(energy: EnergyModel, seed: int, quick: bool) -> int:
    """One fit and its tilt in rounds; returns how many rounds it took."""
    roll = density("swissroll")
    x = roll.sample(100 if quick else 600, seed)
    options = TrainingOptions(progress="quiet")
    loose = ReportOptions(n=100 if quick else 500, rtol=1e-2, atol=1e-2)
    steps = 10 if quick else 100
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few points, many of them forbidden: what a soak is about
        base = egflow.fit(x, steps=steps, batch_size=64, seed=seed, options=options, device="cpu")
        guided = egflow.tilt(
            base, energy, 6.0, data=x, rounds=2, log_p=roll.log_prob, steps=steps, batch_size=64, seed=seed,
            options=options, reporting=loose, max_calls=400 if quick else None,
        )  # fmt: skip
    assert guided.report is not None and guided.report.rounds is not None
    return len(guided.report.rounds["rounds"])


def look() -> dict[str, Any]:
    """Memory, open files and children of this process and of the server that forks its workers."""
    gc.collect()
    everyone = family()
    servers = [pid for pid in everyone if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return {
        "MB": resident(os.getpid()),
        "server MB": sum(resident(pid) for pid in servers),
        "handles": sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (os.getpid(), *servers)),
        "processes": len(everyone),
    }


def resident(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def family() -> list[int]:
    """All descendants of this process, the dead that nobody waited for included."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
    found, more = [], [os.getpid()]
    while more:
        more = [pid for pid, parent in parents.items() if parent in more]
        found += more
    return found
