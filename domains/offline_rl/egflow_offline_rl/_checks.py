"""What a Minari dataset must be to be learned from: refused here, one line each, with the episode and the field."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from egflow_offline_rl.environments import make_environment, observation_keys

_MUJOCO_CHANGED = (3, 8)  # the first version whose Hopper, Walker2d, … move otherwise than those before it


def check_spaces(name: str, observation_space: spaces.Space, action_space: spaces.Space) -> None:
    """Only continuous action vectors, and observations that are vectors or dicts of vectors."""
    if not isinstance(action_space, spaces.Box) or not np.issubdtype(action_space.dtype, np.floating):
        kind = type(action_space).__name__
        raise ValueError(
            f"data={name}: the actions are {kind} ({action_space}); expected a Box of floats, as offline_rl is for "
            "continuous control only: choose another dataset"
        )
    if len(action_space.shape) != 1 or action_space.shape[0] == 0:
        raise ValueError(f"data={name}: actions have the shape {action_space.shape}; expected vectors, (act,)")
    for key, leaf in _leaves(observation_space, "observation"):
        if not isinstance(leaf, spaces.Box) or len(leaf.shape) > 1:
            raise ValueError(
                f"data={name}: {key} is {leaf}; expected a vector (Box of one dimension) or a dict of vectors: "
                "encode pictures and other observations as vectors first"
            )


def check_environment(name: str, spec: EnvSpec, observation_space: spaces.Space, action_space: spaces.Space) -> str:
    """Compare the dataset's spaces with its environment's. Returns "" or why the environment could not be made."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an old version of an environment is no mistake of the dataset
            environment = make_environment(spec)
    except Exception as error:  # a dataset can be learned from without its environment
        return " ".join(str(error).split())
    try:
        pairs = (("observations", observation_space, environment.observation_space),)
        for field, ours, theirs in (*pairs, ("actions", action_space, environment.action_space)):
            if _shapes(ours) != _shapes(theirs):
                raise ValueError(
                    f"data={name}: its {field} have the shape {_shapes(ours)}, but its environment {spec.id} has "
                    f"{_shapes(theirs)}: the dataset was made with another version of it; make or name another dataset"
                )
        _check_bounds(name, spec.id, action_space, environment.action_space)
    finally:
        environment.close()
    return ""


def _check_bounds(name: str, env: str, ours: spaces.Space, theirs: spaces.Space) -> None:
    """The action bounds of dataset and environment, where both have some."""
    assert isinstance(ours, spaces.Box) and isinstance(theirs, spaces.Box)
    for word, a, b in (("lowest", ours.low, theirs.low), ("highest", ours.high, theirs.high)):
        both = np.isfinite(a) & np.isfinite(b)
        if not np.allclose(a[both], b[both], rtol=1e-4, atol=1e-6):
            raise ValueError(
                f"data={name}: its {word} actions are {a.tolist()}, but those of its environment {env} are "
                f"{b.tolist()}: actions would be scaled wrongly; write the dataset's action space anew"
            )


def check_episode(where: str, arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
    """Lengths, widths and finite values of one episode.

    Args:
        where: the dataset and the episode, for the message.
        arrays: observations (T + 1, obs), actions (T, act), rewards, terminations and truncations (T,).
        sizes: the widths that the dataset's spaces ask for: observations, actions.
    """
    steps = len(arrays["rewards"])
    if steps == 0:
        raise ValueError(f"{where} is empty (no rewards); expected at least one step: drop it with filter_episodes")
    for field, array in arrays.items():
        expected = steps + 1 if field == "observations" else steps
        if len(array) != expected:
            raise ValueError(
                f"{where}: {len(array)} {field} for {steps} rewards; expected {expected} (observations are one more "
                "than steps): write the dataset anew"
            )
        if field in sizes and array.shape[1:] != (sizes[field],):
            raise ValueError(
                f"{where}: {field} have the shape {array.shape}; expected {(expected, sizes[field])} by its space"
            )
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
            raise ValueError(
                f"{where}: {field} hold NaN or infinity, first at step {row}; expected finite numbers: drop the "
                "episode with filter_episodes"
            )


def check_digest(name: str, data_folder: Path, metadata: Mapping[str, Any]) -> None:
    """Compare the file with the SHA-256 that egflow wrote beside it; other writers leave none."""
    ours = metadata.get("egflow") or {}
    if "sha256" not in ours or ours.get("total_steps") != metadata.get("total_steps"):
        return  # written by others, or lengthened since
    file = data_folder / "main_data.hdf5"
    if file.exists() and digest(file) != ours["sha256"]:
        raise ValueError(
            f"data={name}: {file} is corrupt (its SHA-256 is not the one in metadata.json): "
            f"delete {data_folder.parent} and make or download it again"
        )


def digest(file: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def warn_of_versions(name: str, made_with: str | None, installed: str | None) -> None:
    """Warn where data and evaluation would be of two different physics.

    Args:
        name: of the dataset.
        made_with: MuJoCo's version (``3.2.3``) or requirement (``mujoco>=3.1,<3.2``), None if unknown.
        installed: the version at hand.
    """
    if made_with is None or installed is None:
        return
    then, now = _version(made_with), _version(installed)
    if then is None or now is None or (then < _MUJOCO_CHANGED) == (now < _MUJOCO_CHANGED):
        return
    if ">=" in made_with and "<" not in made_with:
        return  # an open requirement says nothing of the version used
    warnings.warn(
        f"data={name} was made with mujoco {made_with}, and {installed} is installed: the dynamics of Hopper and "
        "others changed in 3.8, so scores are not those of the data's environment; compare within one version only",
        stacklevel=3,
    )


def _version(text: str) -> tuple[int, int] | None:
    found = re.search(r"(\d+)\.(\d+)", text)
    return None if found is None else (int(found[1]), int(found[2]))


def _leaves(space: spaces.Space, key: str) -> list[tuple[str, spaces.Space]]:
    if isinstance(space, spaces.Dict):
        return [leaf for name in observation_keys(space.spaces) for leaf in _leaves(space.spaces[name], name)]
    return [(key, space)]


def _shapes(space: spaces.Space) -> object:
    if isinstance(space, spaces.Dict):
        return {key: _shapes(space.spaces[key]) for key in observation_keys(space.spaces)}
    return space.shape


__all__ = ["check_digest", "check_environment", "check_episode", "check_spaces", "digest", "warn_of_versions"]
