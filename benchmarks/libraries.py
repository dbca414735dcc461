"""The same unweighted job in a bare loop, torchcfm, flow_matching and egflow: a training step, samples, likelihoods.

A network of four hidden layers of 256 is trained by egflow on 8gaussians (3,000 steps); its weights are given to all.
Each library runs in a process of its own, the peers in environments of their own, all on the same build
of torch, one thread, and the processes take turns: every time is the median of its turns, and only ratios count
(`quartiles`: of the turns').

- training: forward, backward, clipping, fused Adam, cosine schedule, averaged weights, batches of 512 (256 with
  minibatch optimal transport). A peer brings the pairing, the path and its velocity to the bare loop; egflow is
  `egflow.fit`, its held-out losses, metrics and checks included.
- sampling: 1,000 points carried to t = 1, to a root mean square error (RMSE, over points and entries, against dopri5 in
  float64 at 1e-9) of 1e-3 and 2.5e-4. likelihood: 500 points with the exact divergence, to an RMSE of 1e-2 and 1e-3
  nats. Each library with its own solvers, from coarse to fine until the error is reached; the first setting that
  reaches it is timed. `evaluations` are rows through the network for each point, backward passes not counted.
- `/ bare` is the time over the bare loop's: Runge–Kutta of order 4 with equal steps, where solvers are concerned.

All settings tried are in `libraries_sweep.json`; `tuned` is fitted to the flow before it is timed. The parts are kept
in `libraries_cells/` while the suite runs: stopped and started again, it goes on.
"""

from __future__ import annotations

import copy
import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _libraries_job import Network
from _peers import Peer, PeerMissing, environment
from egflow_toy.densities import density
from safetensors.torch import save_file

import egflow
from egflow.training import TrainingOptions

TITLE = "The same job in a bare loop, torchcfm, flow_matching and egflow"
PACKAGES = {
    "bare": (),
    # torchcfm's tutorials sample with torchdyn's NeuralODE, whose module imports all of these
    "torchcfm": (
        "torchcfm==1.0.7",
        "torchdyn==1.0.6",
        "attrs",
        "lightning-utilities",
        "pytorch-lightning",
        "torchcde",
        "torchmetrics",
        "torchsde",
        "trampoline",
    ),
    "flow_matching": ("flow_matching==1.0.10",),
    "egflow": (),
}
TARGETS = {"sample": (1e-3, 2.5e-4), "likelihood": (1e-2, 1e-3)}
TOLERANCES = tuple(10 ** (-k / 4) for k in range(4, 27))
STEPS = (
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    18,
    20,
    22,
    25,
    28,
    32,
    40,
    50,
    64,
    90,
    128,
    256,
    512,
    1024,
)
EVALUATIONS = (6, 8, 10, 12, 14, 16, 18, 20, 22, 24)

Row = dict[str, Any]
Chosen = tuple[str, str, float, Mapping[str, Any] | None]  # library, solver, setting, what the sweep found with it


def run(out: Path, quick: bool = False) -> Iterator[Row]:
    """Yield a row for each job, target, library and solver. quick: a barely trained network, one turn."""
    cells = out / "libraries_cells"
    cells.mkdir(parents=True, exist_ok=True)
    prepare(cells, quick)
    sweep_file = cells / "sweep.json"
    peers: list[Peer] = []

    def part(name: str, rows: Callable[[], Iterator[Row]]) -> Iterator[Row]:
        cell = cells / f"{name}.json"
        if not cell.exists():
            cell.write_text(json.dumps(list(rows())))
        yield from json.loads(cell.read_text())

    try:
        for name, packages in PACKAGES.items():
            try:
                peers.append(start(name, packages, cells))
            except PeerMissing as reason:
                yield row_of("all", name, f"not measured: {reason}")
        coupled = [peer for peer in peers if peer.name != "flow_matching"]
        yield from part("step", partial(training, peers, False, 512, quick))
        yield from part("step_ot", partial(training, coupled, True, 256, quick))
        for job, targets in TARGETS.items():
            for target in targets[:1] if quick else targets:
                yield from part(f"{job}_{target:g}", partial(solving, peers, job, target, sweep_file, quick))
    finally:
        for peer in peers:
            peer.close()
    shutil.copy(sweep_file, out / "libraries_sweep.json")
    shutil.rmtree(cells)


def prepare(folder: Path, quick: bool) -> None:
    """The trained network and the points with their references, for every process."""
    if (folder / "problem.safetensors").exists():  # written last
        return
    x = density("8gaussians").sample(400_000, seed=1)
    x = (x - x.mean(0)) / x.std(0)
    torch.manual_seed(0)
    options = TrainingOptions(progress="quiet")
    fitted = egflow.fit(x, network=Network(), steps=50 if quick else 3_000, options=options)
    exact = egflow.Flow(copy.deepcopy(fitted.network).double(), (2,))
    z_0 = torch.randn(1_000, 2, generator=torch.Generator().manual_seed(12345))
    points = density("8gaussians").sample(500, seed=2)
    points = (points - points.mean(0)) / points.std(0)
    accurate = {"solver": "dopri5", "rtol": 1e-9, "atol": 1e-9}
    save_file(dict(fitted.network.state_dict()), folder / "weights.safetensors")
    problem = {
        "x": x,
        "sample_points": z_0,
        "sample_reference": exact.integrate(z_0.double(), 0.0, 1.0, **accurate).y,
        "likelihood_points": points,
        "likelihood_reference": exact.log_prob(points.double(), **accurate),
    }
    save_file({key: value.contiguous() for key, value in problem.items()}, folder / "problem.safetensors")


def start(name: str, packages: tuple[str, ...], folder: Path) -> Peer:
    """The process of a library, ready. Raises PeerMissing."""
    python = environment(name, packages) if packages else Path(sys.executable)
    peer = Peer(name, python, Path(__file__).with_name(f"_libraries_{name}.py"), folder)
    found = peer.ask("solvers")
    if found["torch"] != torch.__version__:
        raise PeerMissing(f"its torch is {found['torch']}, this one {torch.__version__}")
    peer.solvers = found
    return peer


def training(peers: list[Peer], ot: bool, batch: int, quick: bool) -> Iterator[Row]:
    """A step of each library, in turns of 200 steps; the first turn warms up."""
    steps, turns = (20, 1) if quick else (200, 7)
    taken: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for turn in range(turns + 1):
        for peer in peers:
            seconds = peer.ask("train", steps=steps, batch=batch, ot=ot)["seconds"]
            if turn:
                taken[peer.name].append(seconds / steps)
    job = f"training step, {'optimal transport, ' if ot else ''}batch {batch}"
    for peer in peers:
        yield row_of(job, peer.name) | times(taken[peer.name], taken["bare"], 1)
    if ot:
        yield row_of(job, "flow_matching", "has none")


def solving(peers: list[Peer], job: str, target: float, sweep_file: Path, quick: bool) -> Iterator[Row]:
    """Each solver at the first of its settings that reaches the error, in turns."""
    sweep: dict[str, list[Row]] = json.loads(sweep_file.read_text()) if sweep_file.exists() else {}
    chosen: list[Chosen] = []
    for peer in peers:
        for solver in peer.solvers[job]:
            tried = sweep.setdefault(f"{job}, {peer.name} {solver}", [])
            chosen.append((peer.name, solver, *reach(peer, job, solver, target, tried, quick)))
    sweep_file.write_text(json.dumps(sweep, indent=1) + "\n")
    by_name = {peer.name: peer for peer in peers}
    taken: dict[tuple[str, str], list[float]] = {(library, solver): [] for library, solver, *_ in chosen}
    for _ in range(1 if quick else 7):
        for library, solver, setting, found in chosen:
            if found is not None:
                reply = by_name[library].ask(job, solver=solver, setting=setting)
                taken[library, solver].append(reply["seconds"])
    points = 1_000 if job == "sample" else 500
    for library, solver, setting, found in chosen:
        row = row_of(f"{job}, RMSE ≤ {target:g}", library, solver)
        row["setting"] = f"rtol = atol = {setting:.1e}" if setting < 1 else f"{setting:g} {_unit(solver)}"
        if found is None:
            yield row | {"setting": f"not reached with {row['setting']}"}
        else:
            row |= {"RMSE": float(f"{found['error']:.2g}"), "evaluations": round(found["evaluations"], 1)}
            yield row | times(taken[library, solver], taken["bare", "rk4"], points)


def reach(peer: Peer, job: str, solver: str, target: float, tried: list[Row], quick: bool) -> tuple[float, Row | None]:
    """The first setting of a solver, from coarse to fine, that reaches the error, with its row of the sweep."""
    settings = STEPS if _unit(solver) == "steps" else EVALUATIONS if solver == "tuned" else TOLERANCES
    for setting in settings[:9:4] if quick else settings:
        row = next((row for row in tried if row["setting"] == setting), None)
        if row is None:
            row = {"setting": setting} | peer.ask(job, solver=solver, setting=setting)
            tried.append(row)
        if row["error"] <= target or quick:
            return setting, row
    return settings[-1], None


def row_of(job: str, library: str, solver: str = "") -> Row:
    """A row with its columns in order, the figures yet to come."""
    figures = ("setting", "RMSE", "evaluations", "µs each", "/ bare", "quartiles")
    return {"job": job, "library": library, "solver": solver} | dict.fromkeys(figures, "")


def times(taken: list[float], bare: list[float], points: int) -> Row:
    """Median microseconds each, the ratio of medians to the bare loop, and the quartiles of the turns' ratios."""
    median, ratios = statistics.median(taken), [a / b for a, b in zip(taken, bare, strict=True)]
    micro = median / points * 1e6
    row: Row = {
        "µs each": round(micro, 1) if micro < 100 else round(micro),
        "/ bare": round(median / statistics.median(bare), 3),
    }
    quartiles = statistics.quantiles(ratios, n=4)[::2] if len(ratios) > 1 else ratios
    return row | {"quartiles": " – ".join(f"{q:.2f}" for q in quartiles)}


def _unit(solver: str) -> str:
    return {"tuned": "evaluations", "rk4": "steps", "euler": "steps", "midpoint": "steps"}.get(solver, "")
