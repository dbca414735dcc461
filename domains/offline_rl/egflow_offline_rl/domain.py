"""The offline_rl domain: what the command line asks of it. Its methods are all its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from egflow._sample_files import write_samples_file
from egflow.domain import Job, Outcome
from egflow_offline_rl._kept import Kept
from egflow_offline_rl._report import WITH_BETA, account, policy_actions
from egflow_offline_rl._returns import measure, return_metrics, words
from egflow_offline_rl.dataset import Transitions, load_dataset
from egflow_offline_rl.environments import flatten_observation, make_environment
from egflow_offline_rl.methods import METHODS, share_of_support, train_method
from egflow_offline_rl.options import Options

if TYPE_CHECKING:
    from egflow.page import Block, Drawn
    from egflow.report import TiltReport

__all__ = ["DEFAULT_DATA", "OfflineRL"]

DEFAULT_DATA = "egflow/pendulum/medium-replay-v0"
_FEWER = {"Pendulum-v1": 20_000}  # 100 episodes: as much as a pendulum needs


def _write(samples: Mapping[str, np.ndarray], columns: Mapping[str, Any], file: Path) -> None:
    """Observations and actions as one file; in a table a column for each of their numbers."""
    write_samples_file(file, samples)


class OfflineRL:
    """Policies from logged data. Its constructor takes the ``offline_rl.*`` options, see `Options`.

    Raises:
        ValueError: for an option that is none, or a value it cannot have.

    Example:
        >>> OfflineRL(support=16).options.support
        16
    """

    free_options = frozenset({"env", "episodes", "best_of", "bc_baseline"})
    write_as: Mapping[str, Callable[..., None]] = dict.fromkeys((".npz", ".parquet", ".csv"), _write)

    def __init__(self, **options: Any) -> None:
        self.options = Options.of(options)
        self._data: Transitions | None = None

    def check(self, job: Job) -> None:
        """Whether data, environment and settings fit each other; a default dataset may still have to be made.

        Raises:
            ValueError, FileNotFoundError, ModuleNotFoundError: in one line.
        """
        paced = job.method in ("qipo", "guided_actor")
        if paced:
            share_of_support(job.target_ess, self.options.support)
        elif job.target_ess is not None:
            raise ValueError(
                f"target_ess= paces the rounds of qipo and guided_actor, not method={job.method}: leave it out"
            )
        if self.options.env is not None:
            make_environment(self.options.env).close()
        if making(name_of(job)) is None:
            self._load(job)

    def run(self, job: Job) -> Outcome:
        """Load (or make) the data, train, evaluate, account."""
        name = name_of(job)
        if (recipe := making(name)) is not None:
            _make(name, recipe, job)
        transitions = self._load(job)
        trained = train_method(job.method, transitions, self.options, job)
        kept = Kept.of(trained, transitions)
        return self._outcome(kept, job, kept)

    def evaluate(self, job: Job) -> Outcome:
        """The account of a finished run again: other seeds of the episodes, fresh actions."""
        return self._outcome(self._kept(job), job, None)

    def sample(self, job: Job) -> dict[str, np.ndarray]:
        """Actions of the policy at ``job.n`` states of held-out episodes; past their number they come round again."""
        kept = self._kept(job)
        seen = kept.support.observations
        rows = torch.arange(job.n) % len(seen)
        return _rows(kept, seen[rows], job.seed)

    def save_samples(self, samples: Mapping[str, np.ndarray], folder: Path) -> Path:
        """Write ``samples.npz``: ``observations`` (n, obs) and ``actions`` (n, act), in the environment's units."""
        file = folder / "samples.npz"
        np.savez(file, observations=samples["observations"], actions=samples["actions"])
        return file

    def page(self, report: TiltReport, folder: Path, drawn: Drawn | None) -> list[Block]:
        """Returns for the HTML report."""
        from egflow_offline_rl._page import page

        return page(report)

    def _load(self, job: Job) -> Transitions:
        name = name_of(job)
        if self._data is None or self._data.name != name:
            self._data = load_dataset(name)
        found = self._data
        if found.env_spec is None and self.options.env is None:
            raise ValueError(
                f"data={name} names no environment to evaluate in: give one, as in offline_rl.env=Hopper-v5"
            )
        error = found.facts.get("environment_error")
        if error and self.options.env is None:
            raise ValueError(
                f"data={name}: its environment cannot be made ({error}); name another, as in offline_rl.env=Hopper-v5"
            )
        if self.options.env is not None:
            _check_sizes(self.options.env, found)
        return found

    def _kept(self, job: Job) -> Kept:
        folder = job.options.folder
        assert folder is not None
        return Kept.load(folder / "model")

    def _outcome(self, kept: Kept, job: Job, model: Kept | None) -> Outcome:
        quiet = job.options.progress == "quiet"
        returns = measure(kept, self.options, job.seed, quiet=quiet)
        report = account(kept, job, self.options)
        metrics, notes = return_metrics(returns)
        report = _with(report, metrics, notes)
        seen = kept.support.observations[: job.n]

        def figures(folder: Path) -> list[Path]:
            from egflow_offline_rl._figures import save_own_figures
            from egflow_offline_rl._rollout import roll_out

            env = self.options.env or kept.policy.env_spec
            assert env is not None
            rollout = roll_out(kept.policy, env, job.seed)
            if rollout.words and not quiet:
                print(rollout.words, file=sys.stderr, flush=True)
            return save_own_figures(kept, returns, rollout, job.seed, folder)

        return Outcome(
            report=report,
            samples=_rows(kept, seen, job.seed),
            figures=figures,
            model=model,
            history=kept.record["history"] if model is not None else (),
            words=words(returns),
        )


def _check_sizes(env: str, transitions: Transitions) -> None:
    """Whether the data's policy can act in an environment. Raises ValueError."""
    environment = make_environment(env)
    try:
        seen = flatten_observation(environment.observation_space.sample()).size
        shape = environment.action_space.shape
    finally:
        environment.close()
    wanted = (transitions.observations.shape[1], tuple(transitions.actions.shape[1:]))
    if (seen, shape) != wanted:
        raise ValueError(
            f"offline_rl.env={env} has {seen} observations and actions {shape}, the data {wanted[0]} and {wanted[1]}: "
            "name the data's own environment, or a variant of it"
        )


def name_of(job: Job) -> str:
    """The data that a job means."""
    return DEFAULT_DATA if job.data is None else job.data


def making(name: str) -> tuple[str, str] | None:
    """(environment, quality) of a dataset that is to be made first; None where it is there, or cannot be made here."""
    from minari.storage.datasets_root_dir import get_dataset_path

    from egflow_offline_rl.make_data import ENVIRONMENTS, QUALITIES, default_id

    known = {default_id(env, quality): (env, quality) for env in ENVIRONMENTS for quality in QUALITIES}
    if name not in known or (Path(get_dataset_path(name)) / "data").exists():
        return None
    return known[name]


def _make(name: str, recipe: tuple[str, str], job: Job) -> None:
    from egflow_offline_rl.make_data import make_dataset

    env, quality = recipe
    transitions = _FEWER.get(env, 100_000)
    print(
        f"data={name} is not there: it is made first, once "
        f"(python -m egflow_offline_rl.make_data env={env} quality={quality} transitions={transitions})",
        file=sys.stderr,
        flush=True,
    )
    progress = "none" if job.options.progress == "quiet" else job.options.progress
    make_dataset(env, quality, transitions, progress=progress)


def _rows(kept: Kept, observations: torch.Tensor, seed: int) -> dict[str, np.ndarray]:
    """Observations and the policy's actions there, in the environment's units."""
    scaling = kept.policy.scaling
    units = policy_actions(kept.policy, observations, seed)
    return {
        "observations": (observations * scaling.scale + scaling.shift).numpy(),
        "actions": scaling.to_environment(units).numpy(),
    }


def _with(report: TiltReport, metrics: dict[str, Any], notes: dict[str, str]) -> TiltReport:
    return replace(report, domain_metrics={**metrics, **report.domain_metrics}, notes={**report.notes, **notes})


assert set(WITH_BETA) <= set(METHODS)
