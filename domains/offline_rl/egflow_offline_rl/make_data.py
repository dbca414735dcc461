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

import torch

from egflow_offline_rl._progress import alone
from egflow_offline_rl.environments import family, reference_scores
from egflow_offline_rl.making._recipes import Order, make_episodes
from egflow_offline_rl.making._training import BUDGETS
from egflow_offline_rl.making._waypoints import REFERENCES

__all__ = ["ENVIRONMENTS", "QUALITIES", "default_id", "main", "make_dataset"]

QUALITIES = ("medium", "medium-replay", "medium-expert")
ENVIRONMENTS = (*BUDGETS, *REFERENCES)
_OPTIONS = ("env", "quality", "transitions", "seed", "id", "replace")
_HELP = f"""python -m egflow_offline_rl.make_data env=NAME [key=value ...]

Makes a Minari dataset (hdf5) in MINARI_DATASETS_PATH, else ~/.minari/datasets. Stop it and start it again: it goes on.
The training's episodes and policies stay beside it (.training-*), for other qualities; they may be deleted.

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
        OSError: if the disk is full; what was made is kept, and nothing is under the id.
    """
    quality = quality or ("medium" if env in REFERENCES else "medium-replay")
    _check(env, quality, transitions, seed)
    dataset_id = default_id(env, quality) if dataset_id is None else dataset_id
    if not re.fullmatch(r"([-_\w]+/)*[-_\w]+-v\d+", dataset_id):
        wanted = default_id(env, quality)
        raise ValueError(f"id={dataset_id!r} is no Minari id; expected namespace/name-vN, as {wanted}")
    try:
        from egflow_offline_rl.making._writer import dataset_folder, versions, write_dataset
    except ImportError as error:
        raise ModuleNotFoundError(
            f"making data needs gymnasium, mujoco and minari ({error}): pip install 'egflow[offline-rl]'"
        ) from error
    final = dataset_folder(dataset_id)
    final.parent.mkdir(parents=True, exist_ok=True)
    before = final.exists()
    threads = torch.get_num_threads()
    with alone(final.parent / ".lock"):
        if final.exists() and not before:
            return dataset_id  # another process made it while this one waited
        if before and not replace:
            raise ValueError(f"id={dataset_id} exists already in {final.parent}: add replace=true, or another id=NAME")
        training = final.parent / f".training-{env}-seed{seed}"
        parts = final.parent / f".{final.name}.parts"
        order = Order(env, quality, transitions, seed, training, parts, versions(), progress, budget)
        try:
            torch.set_num_threads(1)  # the networks are too small for more
            episodes, facts = make_episodes(order)
        finally:
            torch.set_num_threads(threads)
        write_dataset(
            dataset_id,
            env,
            episodes,
            reference=REFERENCES.get(env) or reference_scores(env),
            algorithm="waypoint controller" if env in REFERENCES else "PPO",
            description=f"{quality} data of {env}, made by egflow_offline_rl.make_data",
            facts=facts | {"env": env, "quality": quality, "seed": seed, "transitions_asked": transitions},
            replace=replace,
        )
        shutil.rmtree(parts, ignore_errors=True)
    return dataset_id


def default_id(env: str, quality: str) -> str:
    """The id that `make_dataset` gives.

    >>> default_id("Hopper-v5", "medium-replay")
    'egflow/hopper/medium-replay-v0'
    """
    return f"egflow/{family(env)}/{quality}-v0"


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


def _check(env: str, quality: str, transitions: int, seed: int) -> None:
    for name, value, known in (("env", env, ENVIRONMENTS), ("quality", quality, QUALITIES)):
        if value not in known:
            raise ValueError(f"{name}={value!r} is not one of {', '.join(known)}{_nearest(value, known)}")
    for name, value, least in (("transitions", transitions, 1), ("seed", seed, 0)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name}={value!r} is no whole number of at least {least}")
    if env in REFERENCES and quality != "medium":
        raise ValueError(f"quality={quality} is not made for {env}: a waypoint controller has quality=medium only")


def _parse(arguments: list[str]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ValueError(f"{argument!r} is no key=value; known keys: {', '.join(_OPTIONS)} (--help explains them)")
        if key not in _OPTIONS:
            raise ValueError(f"unknown key {key!r}; known: {', '.join(_OPTIONS)}{_nearest(key, _OPTIONS)}")
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


def _nearest(value: object, known: tuple[str, ...]) -> str:
    near = get_close_matches(str(value), known, n=1, cutoff=0.4)
    return f"; did you mean {near[0]}?" if near else ""


def _summary(name: str) -> str:
    from minari.dataset.minari_storage import MinariStorage

    from egflow_offline_rl.making._writer import dataset_folder

    folder: Path = dataset_folder(name)
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
