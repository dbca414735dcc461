"""Episodes into a Minari dataset (hdf5) that is whole under its id, or not there at all."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import minari
import numpy as np
from minari.data_collector import EpisodeBuffer
from minari.storage.datasets_root_dir import get_dataset_path

from egflow_offline_rl._checks import digest
from egflow_offline_rl.environments import make_environment
from egflow_offline_rl.making._episodes import Episode


def dataset_folder(dataset_id: str) -> Path:
    """Where Minari keeps a dataset, whether it is there or not."""
    return Path(get_dataset_path(dataset_id))


def versions() -> dict[str, str]:
    """Versions that decide what the data is: gymnasium, mujoco, gymnasium-robotics, egflow."""
    found = {}
    for package in ("egflow", "gymnasium", "gymnasium-robotics", "mujoco"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def statistics(episodes: list[Episode]) -> dict[str, float | int]:
    """Counts, and the undiscounted returns' mean, standard deviation, least and largest."""
    returns = np.array([episode.rewards.sum() for episode in episodes])
    return {
        "episodes": len(episodes),
        "transitions": sum(map(len, episodes)),
        "terminated_episodes": int(sum(bool(episode.terminations[-1]) for episode in episodes)),
        "return_mean": float(returns.mean()),
        "return_std": float(returns.std()),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
    }


def write_dataset(
    dataset_id: str,
    env: str,
    episodes: list[Episode],
    *,
    reference: tuple[float, float] | None,
    algorithm: str,
    description: str,
    facts: Mapping[str, Any],
    replace: bool,
) -> Path:
    """Write the episodes under an id, in the order given, and return the dataset's folder.

    It is built in a hidden folder beside the others and moved in one step; a failure leaves nothing.

    Args:
        dataset_id: Minari's id.
        env: the environment's id, for its spec and spaces.
        episodes: at least one.
        reference: (random, expert) scores to store.
        algorithm: what made the actions, in a few words.
        description: for people.
        facts: stored under "egflow" in the metadata; plain data.
        replace: whether a dataset under the id gives way (only once the new one is whole).

    Raises:
        OSError: if the disk is full or the folder cannot be written.
        ValueError: if the id exists and `replace` is False.
    """
    root = get_dataset_path()
    final = root / dataset_id
    work = Path(tempfile.mkdtemp(prefix=".egflow-writing-", dir=root))
    try:
        with _root(work), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Minari would like links and addresses that we have not
            _create(dataset_id, env, episodes, reference, algorithm, description)
        data = work / dataset_id / "data"
        metadata = json.loads((data / "metadata.json").read_text(encoding="utf-8"))
        metadata["egflow"] = {
            **facts,
            "versions": versions(),
            "statistics": statistics(episodes),
            "total_steps": metadata["total_steps"],
            "sha256": digest(data / "main_data.hdf5"),
        }
        (data / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
        _place(work / dataset_id, final, work / ".old", replace)
        for parent in final.relative_to(root).parents[:-1]:
            note = root / parent / "namespace_metadata.json"  # what Minari itself writes into a namespace
            if not note.exists():
                note.write_text("{}", encoding="utf-8")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return final


def _create(
    dataset_id: str,
    env: str,
    episodes: list[Episode],
    reference: tuple[float, float] | None,
    algorithm: str,
    description: str,
) -> None:
    environment = make_environment(env, disable_env_checker=False)
    needed = ("gymnasium", "mujoco") if "mujoco" in type(environment.unwrapped).__module__ else ("gymnasium",)
    buffers = [
        EpisodeBuffer(
            seed=episode.seed,
            observations=episode.observations,  # pyright: ignore[reportArgumentType]  (arrays are written as lists are)
            actions=episode.actions,  # pyright: ignore[reportArgumentType]
            rewards=episode.rewards,  # pyright: ignore[reportArgumentType]
            terminations=episode.terminations,  # pyright: ignore[reportArgumentType]
            truncations=episode.truncations,  # pyright: ignore[reportArgumentType]
        )
        for episode in episodes
    ]
    try:
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            buffers,
            env=environment,
            algorithm_name=algorithm,
            author="egflow",
            description=description,
            requirements=[f"{package}=={importlib.metadata.version(package)}" for package in needed],
            data_format="hdf5",
        )
        if reference is not None:  # as arguments, Minari would make the environment once more for them
            dataset.storage.update_metadata({"ref_min_score": reference[0], "ref_max_score": reference[1]})
    finally:
        environment.close()


def _place(new: Path, final: Path, old: Path, replace: bool) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        if not replace:
            raise ValueError(f"id={final.name} exists already in {final.parent}: add replace=true to overwrite it")
        os.replace(final, old)
    os.replace(new, final)


@contextlib.contextmanager
def _root(folder: Path) -> Iterator[None]:
    """Minari's root for a while: it has no argument for it."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
