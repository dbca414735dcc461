"""Minari's episodes as rows: one contiguous tensor a field, aligned, checked, and with what is needed to bootstrap.

A row is (observation t, action t, reward t, observation t + 1). The mask of a Bellman target is `terminations`
alone: an episode that was cut by its time limit goes on from its last observation, which is kept.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from egflow._kinds import as_number
from egflow_offline_rl.environments import family, flatten_observation, foreign_entry, observation_keys, spec_from_json

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec
    from minari import EpisodeData, MinariDataset

__all__ = ["Transitions", "discounted_returns", "load_dataset"]

_ID = re.compile(r"([-_\w][-_\w/]*[-_\w]+/)?[-_\w]+-v\d+")
_UNREADABLE = (OSError, LookupError, RuntimeError, AssertionError, TypeError, AttributeError, ArithmeticError)
_UNCERTAIN = 0.05  # share of a return that may lie beyond a cut before it is no longer trusted


@dataclass(frozen=True, slots=True)
class Transitions:
    """A dataset as rows, in the order of the episodes and of time. All tensors are on the CPU.

    Args:
        observations: (N, obs) float32.
        actions: (N, act) float32, in the action space's own units.
        rewards: (N,) float32.
        next_observations: (N, obs) float32; at the end of an episode its true last observation.
        terminations: (N,) bool, True where nothing comes after: the only mask of a bootstrap.
        episode: (N,) long, the number of the row's episode, 0 to E - 1.
        step: (N,) long, the row's index in its episode.
        truncated: (N,) bool, True in every row of an episode that ended without a termination.
        action_low: (act,) float32, the action space's bounds (the data's own range where the space has none).
        action_high: (act,) float32.
        episode_returns: (E,) float32, undiscounted.
        name: the dataset's id.
        env_spec: the environment to evaluate in, None if the dataset names none.
        reference: the dataset's own (random, expert) scores, else None.
        facts: versions, keys of a dict observation, and other notes; JSON-able.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    next_observations: Tensor
    terminations: Tensor
    episode: Tensor
    step: Tensor
    truncated: Tensor
    action_low: Tensor
    action_high: Tensor
    episode_returns: Tensor
    name: str
    env_spec: EnvSpec | None
    reference: tuple[float, float] | None
    facts: dict[str, Any]

    def __len__(self) -> int:
        """The number of rows N."""
        return len(self.rewards)


def load_dataset(name: str) -> Transitions:
    """Read a local Minari dataset (in ``MINARI_DATASETS_PATH``, else ``~/.minari/datasets``). Downloads nothing.

    Args:
        name: its id, such as ``mujoco/hopper/medium-v0`` or ``egflow/hopper/medium-replay-v0``.

    Raises:
        FileNotFoundError: if it is not there; says how to download it, and how to make one.
        ValueError: if it cannot be learned from: discrete actions, spaces that do not fit, NaN or infinity, arrays of
            the wrong length, an empty episode, a corrupt file.
        ModuleNotFoundError: if the extra is missing.

    A UserWarning says where the data's MuJoCo moves otherwise than the installed one.
    """
    try:
        import h5py  # noqa: F401  (an extra of minari's own)
        import minari
    except ImportError as error:
        raise ModuleNotFoundError(
            f"data={name} needs minari and h5py: install them with  pip install 'egflow[offline-rl]'"
        ) from error
    from minari.storage.datasets_root_dir import get_dataset_path

    from egflow_offline_rl import _checks

    if not isinstance(name, str) or not _ID.fullmatch(name):
        raise ValueError(f"data={name!r} is no Minari id; expected namespace/name-vN, as mujoco/hopper/medium-v0")
    folder = Path(get_dataset_path(name)) / "data"
    if not folder.exists():
        raise FileNotFoundError(_not_there(name, folder))
    try:
        dataset = _opened(minari, name)
        metadata = dataset.storage.metadata
        _checks.check_spaces(name, dataset.observation_space, dataset.action_space)
        _checks.check_digest(name, folder, metadata)
        fields = _read(name, dataset)
    except ImportError as error:  # a format other than hdf5
        raise ModuleNotFoundError(f"data={name} cannot be read: {' '.join(str(error).split())}") from error
    except _UNREADABLE as error:
        raise _corrupt(name, folder, error) from error
    spec_text = metadata.get("eval_env_spec") or metadata.get("env_spec")
    low, high = metadata.get("ref_min_score"), metadata.get("ref_max_score")
    try:
        spec = None if spec_text is None else spec_from_json(str(spec_text))
        facts = _facts(dataset, metadata)
        reference = None if low is None or high is None else (as_number("score", low), as_number("score", high))
    except (*_UNREADABLE, ValueError) as error:
        raise _corrupt(name, folder, error) from error
    if spec is not None and (foreign := foreign_entry(spec)):
        facts["environment_error"] = f"it would run {foreign}, which is not registered here"
        spec = None
    if spec is not None:
        facts["environment_error"] = _checks.check_environment(
            name, spec, dataset.observation_space, dataset.action_space
        )
    _checks.warn_of_versions(name, facts["mujoco"], _installed("mujoco") if _is_mujoco(spec) else None)
    bounds = _bounds(dataset.action_space, fields["actions"], facts)
    return Transitions(
        **fields,
        **bounds,
        name=name,
        env_spec=spec,
        reference=reference,
        facts=facts,
    )


def _opened(minari: Any, name: str) -> MinariDataset:
    """The dataset; whatever minari makes of files that are missing or damaged is a corrupt folder, as an OSError."""
    try:
        dataset = minari.load_dataset(name, download=False)
        _ = dataset.observation_space, dataset.action_space  # read now
    except ImportError:  # a format other than hdf5
        raise
    except Exception as error:  # it checks little, and so raises of all kinds
        raise OSError(f"{type(error).__name__}: {error}") from error
    return dataset


def _corrupt(name: str, folder: Path, error: Exception) -> ValueError:
    return ValueError(
        f"data={name}: {folder} is corrupt or half-written ({' '.join(str(error).split())[:150]}): delete "
        f"{folder.parent} and make or download it again"
    )


def discounted_returns(transitions: Transitions, discount: float) -> tuple[Tensor, Tensor]:
    """Monte-Carlo returns sum_k discount**k · reward(t + k) to the episode's end, and which of them to trust.

    Where a truncation cut the tail, the return is short by about discount**(steps left) of its value.

    Args:
        transitions: the rows.
        discount: in [0, 1].

    Returns:
        (N,) float32 returns, and (N,) bool: False where discount**(steps left) > 0.05 in a truncated episode.

    Raises:
        ValueError: if the discount is outside [0, 1].
    """
    if not 0.0 <= discount <= 1.0:
        raise ValueError(f"discount={discount} is outside [0, 1]; usual values are 0.99 and 0.995")
    returns, tails = [0.0] * len(transitions), [0.0] * len(transitions)
    running, tail, following = 0.0, 0.0, None
    columns = (transitions.rewards, transitions.terminations, transitions.episode)
    rows = zip(*(reversed(column.tolist()) for column in columns), strict=True)
    for back, (reward, terminated, episode) in enumerate(rows, start=1):
        if terminated:
            running, tail = 0.0, 0.0
        elif episode != following:  # the last row of an episode that was cut
            running, tail = 0.0, 1.0
        running, tail, following = reward + discount * running, discount * tail, episode
        returns[-back], tails[-back] = running, tail
    return torch.tensor(returns, dtype=torch.float32), torch.tensor(tails) <= _UNCERTAIN


def _read(name: str, dataset: MinariDataset) -> dict[str, Tensor]:
    from egflow_offline_rl import _checks

    if dataset.total_episodes == 0:
        raise ValueError(f"data={name} has no episodes; expected at least one: make or download it again")
    observation_size = flatten_observation(dataset.observation_space.sample()).size
    sizes = {"observations": observation_size, "actions": dataset.action_space.shape[0]}
    columns: dict[str, list[np.ndarray]] = {}
    for number, episode in enumerate(dataset.iterate_episodes()):
        arrays = _arrays(episode)
        _checks.check_episode(f"data={name}: episode {episode.id}", arrays, sizes)
        steps = len(arrays["rewards"])
        row = {
            "observations": arrays["observations"][:-1],
            "next_observations": arrays["observations"][1:],
            "actions": arrays["actions"],
            "rewards": arrays["rewards"],
            "terminations": arrays["terminations"],
            "episode": np.full(steps, number),
            "step": np.arange(steps),
            "truncated": np.full(steps, not arrays["terminations"][-1]),
            "episode_returns": arrays["rewards"].sum(dtype=np.float64, keepdims=True).astype(np.float32),
        }
        for field, array in row.items():
            columns.setdefault(field, []).append(array)
    return {field: torch.from_numpy(np.concatenate(parts)) for field, parts in columns.items()}


@np.errstate(over="ignore")  # what overflows float32 is infinite then, and refused
def _arrays(episode: EpisodeData) -> dict[str, np.ndarray]:
    return {
        "observations": flatten_observation(_by_step(episode.observations)),
        "actions": np.asarray(episode.actions, dtype=np.float32),
        "rewards": np.asarray(episode.rewards, dtype=np.float32),
        "terminations": np.asarray(episode.terminations, dtype=bool),
        "truncations": np.asarray(episode.truncations, dtype=bool),
    }


def _by_step(observations: Any) -> Any:
    if isinstance(observations, Mapping):
        return {key: _by_step(observations[key]) for key in observations}
    array = np.asarray(observations)
    return array[:, None] if array.ndim == 1 else array  # a scalar a step is a vector of one


def _bounds(space: Any, actions: Tensor, facts: dict[str, Any]) -> dict[str, Tensor]:
    low, high = torch.as_tensor(space.low).float(), torch.as_tensor(space.high).float()
    seen_low, seen_high = actions.amin(0), actions.amax(0)
    if not bool(torch.isfinite(low).all() and torch.isfinite(high).all()):
        facts["notes"].append("the action space has no bounds: the range of the data's actions stands for them")
        low, high = torch.where(low.isfinite(), low, seen_low), torch.where(high.isfinite(), high, seen_high)
    beyond = float(torch.maximum(low - seen_low, seen_high - high).amax())
    if beyond > 1e-4 * float((high - low).amax()):
        facts["notes"].append(f"some actions lie outside the action space, by up to {beyond:.3g}")
    return {"action_low": low, "action_high": high}


def _facts(dataset: MinariDataset, metadata: Mapping[str, Any]) -> dict[str, Any]:
    ours = metadata.get("egflow") or {}
    versions = dict(ours.get("versions", {}))
    required = [text for text in metadata.get("requirements", []) if re.match(r"mujoco\b", str(text))]
    keys = getattr(dataset.observation_space, "spaces", None)
    return {
        "minari": dataset.minari_version,
        "versions": versions,
        "mujoco": versions.get("mujoco", str(required[0]) if required else None),
        "observation_keys": None if keys is None else observation_keys(keys),
        "made_by": {key: value for key, value in ours.items() if key not in ("versions", "sha256")},
        "notes": [],
    }


def _not_there(name: str, folder: Path) -> str:
    from egflow_offline_rl.make_data import ENVIRONMENTS

    plain = re.sub(r"[/-]", "_", name.lower())
    env = next((known for known in ENVIRONMENTS if family(known) in plain), None)
    found = re.search(r"medium_replay|medium_expert|medium", plain.replace("pointmaze_medium", ""))
    quality = "" if env is None or found is None else f" quality={found[0].replace('_', '-')}"
    make = f"python -m egflow_offline_rl.make_data env={env or '…'}{quality}"
    there = f"data={name} is not in {folder.parent}"
    if name.startswith("egflow/"):
        return f"{there}: make it with  {make}  (only others' datasets come by  minari download {name})"
    return f"{there}: fetch it with  minari download {name}  or make one with  {make}"


def _is_mujoco(spec: EnvSpec | None) -> bool:
    return spec is not None and any(word in str(spec.entry_point) for word in ("mujoco", "gymnasium_robotics"))


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
