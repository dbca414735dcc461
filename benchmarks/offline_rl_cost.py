"""What offline RL costs, one thread: gradient steps and whole runs, beside a loop by hand, CORL and d3rlpy, in one run.

100,000 random rows of 11 observations and 3 actions, batches of 256, networks of 2 x 256 (egflow's flows 3 x 256, on
time too). Each works in a process of its own on the same build of torch, and the processes take turns, so that ratios
are of the same minutes. Times are CPU time of the process, which a busy machine stretches less than the clock's: median
of the turns, lowest to highest (`range`; `its range`: of the ratio to egflow's). Nobody writes files; egflow's checks
and means of figures are in its times, as are the
12 ms that a flow's training takes to begin (of 100 steps in a turn), and d3rlpy's `fit` is in its own.

- by hand: TD3+BC in 40 lines, the floor. CORL: `td3_bc.py` and `iql.py` of its commit 6afec90, from GitHub, or put into
  `~/.cache/egflow/peers/corl-6afec90/`. d3rlpy: 2.8.1 from PyPI, in an environment of its own. Its BCQ (generative
  behaviour, twin Q over M sampled actions, and policy, all in each step; M = 8) is the peer nearest in kind to QIPO.
- A whole run is not run: each part is measured at few steps and scaled. QIPO: behaviour 8,000 steps, supports (M = 8)
  of 100,000 next states and of 20,000 states in four rounds, critic 15,000, policy 6,000, five measures of the achieved
  beta. The others: 15,000 steps. All: 20 episodes in Hopper of 1,000 steps each, which nothing ends (its setting), by
  each one's own evaluation: egflow steps all episodes at once, the peers one after the other.

Measured earlier, in another state of the machine, so not to be set against the table's milliseconds: seconds per 1,000
steps of CORL TD3+BC 12 to 13, IQL 20; d3rlpy 16.5 and 22; FQL (JAX) 19; Diffusion-QL of 5 steps 96; QGPO, the method
most like QIPO, 58 (behaviour), 54 (critic), 145 (guidance), and 59 ms an action: at QIPO's numbers of steps 2,144 s.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from _peers import Peer, PeerMissing, environment

TITLE = "Offline RL: what a gradient step and a whole run cost, beside a loop by hand, CORL and d3rlpy"
# d3rlpy names the old gym at import. What is not here (h5py, tqdm, …) comes from the running environment.
D3RLPY = (
    "d3rlpy==2.8.1", "gym==0.26.2", "gym-notices==0.1.0", "structlog", "colorama", "dataclasses-json", "marshmallow<4",
    "typing-inspect", "mypy-extensions", "scikit-learn", "joblib", "threadpoolctl", "tqdm", "cloudpickle", "packaging",
    "click",
)  # fmt: skip
CORL = "https://raw.githubusercontent.com/tinkoff-ai/CORL/6afec90484bbf47dee05fdf525e26a3ebe028e9b/algorithms/offline/"
FILES = {
    "td3_bc.py": "8fbcc24a58dedf81cac1fe5aa0f10a309dc6e7c705745026a3d3735e31354452",
    "iql.py": "87d98495da91c2cd3851a32d9bfb1c80e1f796123d704be096b1822d930baace",
}
BLOCK = {"support": 1_000, "measure": 1}
"""Of a work in a turn; 100 steps of the others."""
SHORT, LONGER, WHOLE = 10, 50, 1_000
"""Steps of each episode: an evaluation's cost is linear in them, and has a part for making the environments."""

Row = dict[str, Any]
Costs = dict[str, dict[str, list[float]]]  # who, work -> seconds for one (an evaluation: for all of it), by turn
Job = Mapping[str, Mapping[str, float]]  # who -> how much of each work; the first is what the others are held against

QIPO = {"behaviour": 8_000, "support": 180_000, "critic": 15_000, "policy": 6_000, "measure": 5, "evaluation qipo": 1}
STEPS: dict[str, Job] = {
    "TD3+BC": {who: {"td3bc": 1} for who in ("egflow", "by hand", "CORL", "d3rlpy")},
    "IQL": {who: {"iql": 1} for who in ("egflow", "CORL", "d3rlpy")},
    "FQL": {"egflow": {"fql": 1}},
    "behaviour flow": {"egflow": {"behaviour": 1}},
    "in-support critic, M = 8": {"egflow": {"critic": 1}},
    "policy on its supports": {"egflow": {"policy": 1}},
    "behaviour, critic and policy": {
        "egflow": {"behaviour": 1, "critic": 1, "policy": 1},
        "d3rlpy BCQ, M = 8": {"bcq": 1},
    },
}
WHOLES: dict[str, Job] = {
    "evaluation, TD3+BC": {who: {"evaluation td3bc": 1} for who in ("egflow", "CORL", "d3rlpy")},
    "evaluation, generative policy": {"egflow": {"evaluation qipo": 1}, "d3rlpy BCQ, M = 8": {"evaluation bcq": 1}},
    "run, TD3+BC": {who: {"td3bc": 15_000, "evaluation td3bc": 1} for who in ("egflow", "CORL", "d3rlpy")},
    "run, IQL": {who: {"iql": 15_000, "evaluation iql": 1} for who in ("egflow", "CORL", "d3rlpy")},
    "run, QIPO or BCQ": {"egflow": QIPO, "d3rlpy BCQ, M = 8": {"bcq": 15_000, "evaluation bcq": 1}},
}


def run(out: Path, quick: bool = False) -> Iterator[Row]:
    """Yield a row for each job and who does it. quick: one turn of a few steps, without evaluations."""
    peers: list[Peer] = []
    missing: dict[str, str] = {}
    try:
        for who in ("egflow", "by hand", "CORL", "d3rlpy"):
            try:
                peers.append(start(who))
            except PeerMissing as reason:
                missing[who] = f"not measured: {reason}"
        costs = measure(peers, quick)
    finally:
        for peer in peers:
            peer.close()
    for jobs, unit in ((STEPS, "ms a step"), ({} if quick else WHOLES, "seconds")):
        for what, job in jobs.items():
            for who in job:
                row = {"what": what, "who": who} | dict.fromkeys(("ms a step", "seconds", "range", "/ egflow"), "")
                row["its range"] = missing.get(who.split()[0], missing.get(who, ""))
                yield row if row["its range"] else row | figures(costs, job, who, unit)


def start(who: str) -> Peer:
    """A process, ready. Raises PeerMissing."""
    script = Path(__file__).with_name(f"_offline_rl_cost_{who.lower().replace('by hand', 'bare')}.py")
    python = environment("d3rlpy", D3RLPY) if who == "d3rlpy" else Path(sys.executable)
    peer = Peer(who, python, script, corl_files() if who == "CORL" else script.parent)
    found = peer.ask("works")
    if found["torch"] != torch.__version__:
        peer.close()
        raise PeerMissing(f"its torch is {found['torch']}, this one {torch.__version__}")
    peer.solvers = found
    return peer


def corl_files() -> Path:
    """The folder of CORL's two files, fetched once. Raises PeerMissing."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "egflow" / "peers" / "corl-6afec90"
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in FILES.items():
        file = folder / name
        if not file.exists():
            try:
                with urllib.request.urlopen(CORL + name, timeout=30) as stream:
                    text = stream.read()
            except OSError as error:
                raise PeerMissing(f"{CORL}{name} cannot be had ({error}): put it into {folder}") from error
            file.write_bytes(text)
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise PeerMissing(f"{file} is not the file of that commit: remove it")
    return folder


def measure(peers: list[Peer], quick: bool) -> Costs:
    """Every work of every process, in turns; turn 0 warms up and is left out."""
    costs: Costs = {peer.name: {work: [] for work in peer.solvers["works"]} for peer in peers}
    for turn in range(1, 2) if quick else range(6):
        for peer in peers:
            for work, taken in costs[peer.name].items():
                if work.startswith("evaluation"):
                    seconds = 0.0 if quick else evaluation(peer, work)
                else:
                    count = BLOCK.get(work, 100)
                    count = max(1, count // 20) if quick or not turn else count
                    seconds = peer.ask(work, count=count)["seconds"] / count
                if turn:
                    taken.append(seconds)
    return costs


def evaluation(peer: Peer, work: str) -> float:
    """Seconds for episodes of `WHOLE` steps, from two short ones."""
    short, longer = (peer.ask(work, count=count)["seconds"] for count in (SHORT, LONGER))
    return short + (longer - short) / (LONGER - SHORT) * (WHOLE - SHORT)


def figures(costs: Costs, job: Job, who: str, unit: str) -> Row:
    """Median and range of the time, and of its ratio to the first of the job, over turns."""
    factor = 1e3 if unit == "ms a step" else 1.0
    first, *_ = job
    taken, held = ([factor * cost for cost in spent(costs, name, job[name])] for name in (who, first))
    row: Row = {
        unit: shown(statistics.median(taken)),
        "range": " – ".join(shown(one) for one in (min(taken), max(taken))),
    }
    if who == first:
        return row | {"/ egflow": "1"}
    ratios = [a / b for a, b in zip(taken, held, strict=True)]
    return row | {"/ egflow": f"{statistics.median(ratios):.2f}", "its range": f"{min(ratios):.2f} – {max(ratios):.2f}"}


def spent(costs: Costs, who: str, works: Mapping[str, float]) -> list[float]:
    """Seconds of so much of these works, by turn."""
    library = costs["by hand" if who == "by hand" else who.split()[0]]
    turns = zip(*(library[work] for work in works), strict=True)
    return [sum(count * one for count, one in zip(works.values(), turn, strict=True)) for turn in turns]


def shown(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
