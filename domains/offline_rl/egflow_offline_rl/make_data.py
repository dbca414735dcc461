"""Real Minari datasets, made here: ``python -m egflow_offline_rl.make_data env=Hopper-v5 quality=medium-replay``.

Qualities, after D4RL (arXiv 2004.07219, section 5 and appendix):

- ``medium``: episodes of the first policy whose return is a third of the way from the reference's random to its
  expert score, its actions sampled;
- ``medium-replay``: every whole episode that the training saw up to there; if these are more than `transitions`,
  whole episodes are left out evenly;
- ``medium-expert``: half `medium`, half the best policy of the whole training, its mean with a little noise.

PointMaze has ``medium`` only: a controller that wanders between goals, three quarters of which are its own.
"""

from __future__ import annotations

import re
import shutil
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch

from egflow_offline_rl._collect import Begin, collect, gaussian
from egflow_offline_rl._episodes import Episode
from egflow_offline_rl._progress import StepsLine
from egflow_offline_rl._training import BUDGETS, Training, train
from egflow_offline_rl._waypoints import NOISE, OWN_GOALS, REFERENCES, waypoints
from egflow_offline_rl.environments import family, reference_scores

__all__ = ["ENVIRONMENTS", "QUALITIES", "main", "make_dataset"]

QUALITIES = ("medium", "medium-replay", "medium-expert")
ENVIRONMENTS = (*BUDGETS, *REFERENCES)
_EXPERT_NOISE = 0.1  # of the action range's half
_OPTIONS = ("env", "quality", "transitions", "seed", "id", "replace")
_HELP = f"""python -m egflow_offline_rl.make_data env=NAME [key=value ...]

Makes a Minari dataset (hdf5) in MINARI_DATASETS_PATH, else ~/.minari/datasets. Stop it and start it again: it goes on.

  env          one of {", ".join(ENVIRONMENTS)}
  quality      one of {", ".join(QUALITIES)}   [medium-replay; PointMaze: medium]
  transitions  how many, to the nearest whole episode   [100000]
  seed         fixes everything   [0]
  id           the dataset's id   [egflow/<env in lower case, without version>/<quality>-v0]
  replace      true: overwrite the dataset of that id   [false]
"""


def make_dataset(
    env: str,
    quality: str | None = None,
    transitions: int = 100_000,
    seed: int = 0,
    *,
    dataset_id: str | None = None,
    replace: bool = False,
    progress: str = "auto",
    budget: int | None = None,
) -> str:
    """Make a dataset and return its id. A stopped call goes on where it was when it is made again.

    Args:
        env: one of `ENVIRONMENTS`.
        quality: one of `QUALITIES`; None is medium-replay, or medium for a maze, which has no other.
        transitions: how many, to the nearest whole episode.
        seed: fixes the data on one machine.
        dataset_id: None is ``egflow/<env>/<quality>-v0``.
        replace: whether a dataset of that id is overwritten.
        progress: "auto", "plain" or "none".
        budget: environment steps of the training; None takes the measured ones. Fewer is for tests.

    Raises:
        ValueError: for an unknown environment or quality, an id that exists, a number of transitions below 1.
        ModuleNotFoundError: if the extra is missing.
    """
    quality = quality or ("medium" if env in REFERENCES else "medium-replay")
    _check(env, quality, transitions, seed)
    dataset_id = default_id(env, quality) if dataset_id is None else dataset_id
    from minari.storage.datasets_root_dir import get_dataset_path

    from egflow_offline_rl._writer import versions, write_dataset

    if not re.fullmatch(r"([-_\w]+/)*[-_\w]+-v\d+", dataset_id):
        raise ValueError(
            f"id={dataset_id!r} is no Minari id; expected namespace/name-vN, as {default_id(env, quality)}"
        )
    final = Path(get_dataset_path(dataset_id))
    if final.exists() and not replace:
        raise ValueError(
            f"id={dataset_id} exists already in {final.parent}: add replace=true to overwrite it, or choose another id="
        )
    final.parent.mkdir(parents=True, exist_ok=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are too small for more
    try:
        made = _Making(env, quality, transitions, seed, final, progress, budget, versions())
        episodes, facts = made.wandering() if env in REFERENCES else made.episodes()
    finally:
        torch.set_num_threads(threads)
    facts |= {"env": env, "quality": quality, "seed": seed, "transitions_asked": transitions}
    write_dataset(
        dataset_id,
        env,
        episodes,
        reference=REFERENCES.get(env) or reference_scores(env),
        algorithm="waypoint controller" if env in REFERENCES else "PPO",
        description=f"{quality} data of {env}, made by egflow_offline_rl.make_data",
        facts=facts,
        replace=replace,
    )
    shutil.rmtree(made.parts, ignore_errors=True)
    return dataset_id


def default_id(env: str, quality: str) -> str:
    """The id that `make_dataset` gives.

    >>> default_id("Hopper-v5", "medium-replay")
    'egflow/hopper/medium-replay-v0'
    """
    return f"egflow/{family(env)}/{quality}-v0"


class _Making:
    """One dataset on its way: where its parts are kept, and how its episodes come about."""

    def __init__(
        self,
        env: str,
        quality: str,
        transitions: int,
        seed: int,
        final: Path,
        progress: str,
        budget: int | None,
        versions: dict[str, str],
    ) -> None:
        self.env, self.quality, self.transitions, self.seed = env, quality, transitions, seed
        self.progress, self.budget, self.versions = progress, budget, versions
        self.training = final.parent / f".training-{env}-seed{seed}"
        self.parts = final.parent / f".{final.name}.parts"

    def wandering(self) -> tuple[list[Episode], dict[str, Any]]:
        """Episodes of the waypoint controller, and what is to be known of them."""
        facts: dict[str, Any] = {"policy": "waypoints", "own_goals": OWN_GOALS, "noise": NOISE, "notes": []}
        return self._collect("waypoint", waypoints(OWN_GOALS, NOISE), self.transitions), facts

    def episodes(self) -> tuple[list[Episode], dict[str, Any]]:
        """Episodes of the training and its policies, and what is to be known of them."""
        low, high = reference_scores(self.env) or (0.0, 0.0)
        threshold = low + (high - low) / 3
        until = "best" if self.quality == "medium-expert" else "medium"
        label = f"training a policy ({self.env}, medium at {threshold:.0f})"
        with StepsLine(label, self.budget or BUDGETS[self.env], self.progress) as line:

            def show(training: Training, budget: int) -> None:
                mean = float(np.mean(training.recent)) if training.recent else float("nan")
                line.show(training.steps, f"return {mean:.0f}")

            training = train(
                self.env,
                self.training,
                seed=self.seed,
                threshold=threshold,
                until=until,
                versions=self.versions,
                show=show,
                budget=self.budget,
            )
        facts: dict[str, Any] = {"medium": training.medium_facts, "threshold": threshold, "notes": []}
        facts["policy"] = "PPO, 64x64 tanh, normal distribution"
        medium = training.medium
        if medium is None:
            if training.best is None or training.best_facts is None:
                raise RuntimeError(f"{self.env}: too few episodes ended in {training.steps} steps of training")
            medium, facts["medium"] = training.best, training.best_facts
            reached = training.best_facts["return_mean"]
            facts["notes"].append(f"no policy reached {threshold:.0f}; the best stands for medium, at {reached:.0f}")
        if self.quality == "medium-replay":
            return self._replay(training.episodes, facts), facts
        half = self.transitions if self.quality == "medium" else self.transitions // 2
        episodes = self._collect("medium", gaussian(medium, None), half)
        if self.quality == "medium-expert":
            assert training.best is not None
            facts["expert"], facts["expert_noise"] = training.best_facts, _EXPERT_NOISE
            facts["medium_episodes"] = len(episodes)
            episodes += self._collect("expert", gaussian(training.best, _EXPERT_NOISE), self.transitions - half)
        return episodes, facts

    def _replay(self, episodes: list[Episode], facts: dict[str, Any]) -> list[Episode]:
        seen = sum(map(len, episodes))
        facts["transitions_seen"] = seen
        if seen <= self.transitions:
            if seen < self.transitions:
                facts["notes"].append(f"the training saw {seen} transitions before its medium policy: all are here")
            return episodes
        facts["notes"].append(f"whole episodes evenly thinned from {seen} transitions to about {self.transitions}")
        return thin(episodes, self.transitions)

    def _collect(self, name: str, begin: Begin, transitions: int) -> list[Episode]:
        with StepsLine(f"episodes of the {name} policy", transitions, self.progress) as line:

            def show(episodes: list[Episode]) -> None:
                mean = float(np.mean([episode.rewards.sum() for episode in episodes]))
                line.show(sum(map(len, episodes)), f"return {mean:.0f}")

            seed = int(np.random.SeedSequence((self.seed, *name.encode())).generate_state(1)[0])
            return collect(self.env, begin, self.parts / name, transitions=transitions, seed=seed, show=show)


def thin(episodes: list[Episode], transitions: int) -> list[Episode]:
    """Whole episodes, spread evenly over the order given, with about so many transitions in all."""
    share = transitions / sum(map(len, episodes))
    kept, seen, result = 0, 0, []
    for episode in episodes:
        seen += len(episode)
        if kept + len(episode) / 2 <= share * seen:
            result.append(episode)
            kept += len(episode)
    return result


def _check(env: str, quality: str, transitions: int, seed: int) -> None:
    for name, value, known in (("env", env, ENVIRONMENTS), ("quality", quality, QUALITIES)):
        if value not in known:
            near = get_close_matches(str(value), known, n=1, cutoff=0.4)
            raise ValueError(f"{name}={value!r} is not one of {', '.join(known)}" + (f": {near[0]}?" if near else ""))
    for name, value, least in (("transitions", transitions, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}={value!r} is no whole number of at least {least}")
    if env in REFERENCES and quality != "medium":
        raise ValueError(f"quality={quality} is not made for {env}: a waypoint controller has quality=medium only")


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0, 2 for wrong input, 1 for a failure, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if any(argument in ("-h", "--help", "help") for argument in arguments):
        print(_HELP, end="")
        return 0
    try:
        name = make_dataset(**_parse(arguments))
    except (ValueError, ModuleNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: what was done is kept, and the same command goes on", file=sys.stderr)
        return 130
    except (OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_summary(name))
    return 0


def _parse(arguments: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"{argument!r} is no key=value; known keys: {', '.join(_OPTIONS)} (--help explains them)")
        if key not in _OPTIONS:
            near = get_close_matches(key, _OPTIONS, n=1, cutoff=0.4)
            raise ValueError(f"unknown key {key!r}" + (f": {near[0]}?" if near else f"; known: {', '.join(_OPTIONS)}"))
        if key in ("transitions", "seed"):
            if not re.fullmatch(r"\d[\d_]*", value):
                raise ValueError(f"{key}={value!r} is no whole number; expected digits, as {key}=100_000")
            given[key] = int(value)
        elif key == "replace":
            if value.lower() not in ("true", "false"):
                raise ValueError(f"replace={value!r} is neither true nor false")
            given[key] = value.lower() == "true"
        else:
            given["dataset_id" if key == "id" else key] = value
    if "env" not in given:
        raise ValueError(f"env= is missing; expected one of {', '.join(ENVIRONMENTS)}")
    return given


def _summary(name: str) -> str:
    from minari.dataset.minari_storage import MinariStorage
    from minari.storage.datasets_root_dir import get_dataset_path

    folder = Path(get_dataset_path(name))
    facts = MinariStorage.read_raw_metadata(folder / "data")["egflow"]
    numbers = facts["statistics"]
    notes = "".join(f"\n  {note}" for note in facts["notes"])
    return (
        f"{name}: {numbers['transitions']:,} transitions in {numbers['episodes']:,} episodes, "
        f"return {numbers['return_mean']:.1f} ± {numbers['return_std']:.1f} "
        f"({numbers['return_min']:.1f} to {numbers['return_max']:.1f}), in {folder}{notes}"
    )


if __name__ == "__main__":
    sys.exit(main())
