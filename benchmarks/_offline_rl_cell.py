"""One cell of the offline RL tables: a data set, a method with its settings, a seed; trained, evaluated, kept as JSON.

Cells of one data set and seed share a folder, and in it the behaviour flow and the critic: their seconds are counted in
each method that needs them, as if it had trained them itself.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from egflow_offline_rl.dataset import Transitions, load_dataset
from egflow_offline_rl.evaluation import Evaluation, evaluate_policy
from egflow_offline_rl.make_data import make_dataset
from egflow_offline_rl.methods import Trained, train_method
from egflow_offline_rl.options import Options

from egflow.domain import Job
from egflow.training import TrainingOptions

WORK = Path(os.environ.get("EGFLOW_CACHE", Path.home() / ".cache" / "egflow")) / "offline_rl"
EPISODES = 20
# One setting for every data set, chosen on seed 0 of Hopper and Pendulum medium-replay, which no table holds.
STEPS, BETA, TARGET_ESS = 8_000, 4.0, 0.5
OPTIONS: dict[str, Any] = {"critic_steps": 15_000, "policy_steps": 6_000, "support_states": 20_000}
TRANSITIONS = {"Pendulum-v1": 20_000}
QUICK: dict[str, Any] = {"critic_steps": 20, "policy_steps": 20, "support_states": 50, "rounds": 1, "renew_every": 20}


@dataclass(frozen=True, slots=True)
class Cell:
    """What is run.

    Attributes:
        data: environment and quality of our own data, as ``("Hopper-v5", "medium-replay")``.
        method: of the domain. label: what the table calls it. seed: of everything.
        beta: of the method; changed: options in place of `OPTIONS`.
    """

    data: tuple[str, str]
    method: str
    label: str
    seed: int
    beta: float
    changed: dict[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        return f"egflow/{self.data[0].rpartition('-v')[0].lower()}/{self.data[1]}-v0"

    @property
    def name(self) -> str:
        return f"{self.data[0]}-{self.data[1]}-{self.label}-{self.seed}".replace(" ", "_")


def result(cell: Cell, cells: Path, quick: bool = False) -> dict[str, Any]:
    """The figures of a cell, from its file or made now."""
    cells.mkdir(parents=True, exist_ok=True)
    file = cells / f"{cell.name}.json"
    if not file.exists():
        torch.set_num_threads(1)
        found = _measure(cell, _data(cell, quick), WORK / ("quick" if quick else "full"), quick)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return json.loads(file.read_text(encoding="utf-8"))


def _data(cell: Cell, quick: bool) -> Transitions:
    try:
        return load_dataset(cell.dataset)
    except FileNotFoundError:
        make_dataset(
            cell.data[0], cell.data[1], transitions=2_000 if quick else TRANSITIONS.get(cell.data[0], 100_000), seed=0
        )
        return load_dataset(cell.dataset)


def _measure(cell: Cell, transitions: Transitions, work: Path, quick: bool) -> dict[str, Any]:
    folder = work / f"{cell.data[0]}-{cell.data[1]}-{cell.seed}"
    if cell.label != cell.method:  # a variant: a policy of its own on the same behaviour and critic
        shared, folder = folder, folder / cell.label
        for stage in ("behaviour-cond_ot", "behaviour-vp", "critic"):
            if (shared / "checkpoints" / stage).is_dir():
                shutil.copytree(shared / "checkpoints" / stage, folder / "checkpoints" / stage, dirs_exist_ok=True)
    options = Options(**(OPTIONS | cell.changed | (QUICK if quick else {})))
    job = Job(
        data=cell.dataset,
        method=cell.method,
        beta=cell.beta,
        n=1_000,
        seed=cell.seed,
        device=torch.device("cpu"),
        steps=20 if quick else STEPS,
        batch_size=256,
        target_ess=TARGET_ESS,
        options=TrainingOptions(progress="plain", folder=folder, resume=True, log_every=1_000, checkpoint_every=5_000),
    )
    trained = train_method(cell.method, transitions, options, job)
    episodes = 2 if quick else EPISODES
    return _figures(trained, evaluate_policy(trained.policy, episodes=episodes, seed=0), transitions) | {
        "best of 8": _best(trained, episodes)
    }


def _figures(trained: Trained, done: Evaluation, transitions: Transitions) -> dict[str, Any]:
    last = trained.steps[-1] if trained.steps else None
    # of each stage, in whichever run it was trained
    seconds = {stage: rows[-1]["seconds"] for stage, rows in trained.curves.items()}
    seconds |= {str(line["stage"]): float(line["seconds"]) for line in trained.history}
    seconds |= {name: value for name, value in trained.seconds.items() if name == "policy"}
    return {
        "return": done.mean,
        "normalized": None if done.normalized is None else float(np.mean(done.normalized)),
        "length": float(done.lengths.mean()),
        "data return": float(transitions.episode_returns.mean()),
        "beta": None if last is None else last.beta,
        "achieved beta": trained.achieved_beta,
        "tilt r2": trained.tilt_r2,
        "sigma_q": None if trained.support is None else trained.support.sigma_q,
        "q to return": None if trained.check is None else trained.check.correlation,
        "words": trained.notes.get("critic"),
        "seconds": seconds,
        "evaluation seconds": round(done.seconds, 1),
    }


def _best(trained: Trained, episodes: int) -> float | None:
    """Mean return of the best of 8 by Q, for policies that draw."""
    if trained.critic is None or trained.policy.method not in ("qipo", "qipo_ot", "qipo_diff"):
        return None
    return evaluate_policy(trained.policy.best_of(8), episodes=episodes, seed=0).mean
