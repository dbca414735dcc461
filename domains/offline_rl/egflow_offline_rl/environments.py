"""Environments by name or spec, their reference scores, and the one order in which a dict observation is read."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import gymnasium as gym
    from gymnasium.envs.registration import EnvSpec

__all__ = ["REFERENCE_SCORES", "flatten_observation", "make_environment", "reference_scores"]

# (score of a random policy, score of an expert), by family: the id without its version, in lower case.
# D4RL's table (arXiv 2004.07219; https://github.com/Farama-Foundation/D4RL, infos.py) for all but the last two, which
# are measured here: the mean of 1,000 episodes of uniform actions, and what our own PPO reaches.
REFERENCE_SCORES: dict[str, tuple[float, float]] = {
    "hopper": (-20.272305, 3234.3),
    "halfcheetah": (-280.178953, 12135.0),
    "walker2d": (1.629008, 4592.3),
    "ant": (-325.6, 3879.7),
    "antmaze": (0.0, 1.0),
    "pointmaze_umaze": (23.85, 161.86),
    "pointmaze_medium": (13.13, 277.39),
    "pointmaze_large": (6.7, 273.99),
    "adroithandpen": (96.26, 3076.83),
    "frankakitchen": (0.0, 4.0),
    "inverteddoublependulum": (46.7, 9350.0),
    "pendulum": (-1225.3, -145.0),
}

_ROBOTICS = ("pointmaze", "antmaze", "adroithand", "frankakitchen", "fetch", "handmanipulate", "handreach")
_FIRST_KEYS = ("observation", "desired_goal")
_LEFT_OUT = ("achieved_goal",)


def make_environment(spec: str | EnvSpec, **kwargs: Any) -> gym.Env:
    """An environment, ready to be reset.

    Args:
        spec: an id (``"Hopper-v5"``) or the spec stored in a dataset.
        **kwargs: passed to ``gymnasium.make`` (``render_mode="rgb_array"``, …).

    Raises:
        ModuleNotFoundError: if a package of the extra is missing; the line says what to install.
        ValueError: if there is no such environment.
    """
    gym = _gymnasium()
    name = spec if isinstance(spec, str) else spec.id
    entry = "" if isinstance(spec, str) else str(spec.entry_point)
    if family(name).startswith(_ROBOTICS) or entry.startswith("gymnasium_robotics"):
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # it prints its makers' news on import
                import gymnasium_robotics
        except ImportError as error:
            raise _missing("gymnasium-robotics", f"the environment {name}") from error
        gym.register_envs(gymnasium_robotics)
    _quiet_mujoco()
    try:
        environment = gym.make(spec, **kwargs)
    except (gym.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise _missing("MuJoCo and its helpers", f"the environment {name} ({_line(error)})") from error
    except gym.error.UnregisteredEnv as error:
        raise ValueError(f"environment {name!r} is not known to gymnasium: {_line(error)}") from error
    # A maze writes its model beside the temporary files and forgets it; MuJoCo has read it by now.
    forgotten = getattr(environment.unwrapped, "tmp_xml_file_path", None)
    if isinstance(forgotten, str):
        Path(forgotten).unlink(missing_ok=True)
    return environment


def family(env_id: str) -> str:
    """The id without namespace and version, in lower case.

    >>> family("PointMaze_UMaze-v3"), family("gym_ns/Hopper-v5")
    ('pointmaze_umaze', 'hopper')
    """
    name = env_id.rsplit("/", 1)[-1]
    head, _, version = name.rpartition("-v")
    return (head if head and version.isdigit() else name).lower()


def reference_scores(env_id: str) -> tuple[float, float] | None:
    """(score of a random policy, score of an expert) of an environment, or None where we know none.

    A longer id counts for its family: ``PointMaze_Medium_Diverse_GR-v3`` is a ``PointMaze_Medium``.

    >>> reference_scores("Hopper-v5")
    (-20.272305, 3234.3)
    >>> reference_scores("Swimmer-v5") is None
    True
    """
    name = family(env_id)
    if name in REFERENCE_SCORES:
        return REFERENCE_SCORES[name]
    parents = [known for known in REFERENCE_SCORES if name.startswith(known + "_")]
    return REFERENCE_SCORES[max(parents, key=len)] if parents else None


def flatten_observation(observation: np.ndarray | Mapping[str, Any]) -> np.ndarray:
    """An observation as one float32 vector; a stack of T observations as a matrix.

    The order of a dict's parts: ``observation``, ``desired_goal``, then the other keys in alphabetical order (inner
    dicts likewise). ``achieved_goal`` is left out: where there is one, ``observation`` holds it.

    Args:
        observation: (obs,) or (T, obs), or a mapping of such arrays.

    Returns:
        (obs,) or (T, obs), float32.

    >>> parts = {"desired_goal": np.array([3.0]), "achieved_goal": np.array([9.0]), "observation": np.ones(2)}
    >>> flatten_observation(parts)
    array([1., 1., 3.], dtype=float32)
    """
    if not isinstance(observation, Mapping):
        return np.asarray(observation, dtype=np.float32)
    parts = [np.atleast_1d(flatten_observation(observation[key])) for key in observation_keys(observation)]
    return np.concatenate(parts, axis=-1)


def observation_keys(keys: Mapping[str, Any]) -> list[str]:
    """The keys that `flatten_observation` reads, in its order."""
    first = [key for key in _FIRST_KEYS if key in keys]
    return first + sorted(key for key in keys if key not in _FIRST_KEYS + _LEFT_OUT)


_OWN = re.compile(r"gymnasium\.envs\.(mujoco|classic_control|box2d|toy_text|phys2d)\.|gymnasium_robotics\.envs\.")


def foreign_entry(spec: EnvSpec) -> str | None:
    """What making a stored spec would run that is neither gymnasium's own nor registered here, or None.

    A spec in a dataset or a saved policy names code to import; such a file may come from a stranger.
    """
    from gymnasium import registry

    registered, entry = registry.get(spec.id), str(spec.entry_point)
    if (registered is None or registered.entry_point != spec.entry_point) and not _OWN.match(entry):
        return entry
    foreign = (wrapper.entry_point for wrapper in spec.additional_wrappers)
    return next((entry for entry in foreign if not entry.startswith("gymnasium.wrappers.")), None)


def spec_from_json(text: str) -> EnvSpec:
    """A spec out of a dataset's metadata; the fields that gymnasium 1.0 dropped are ignored."""
    from gymnasium.envs.registration import EnvSpec

    fields = json.loads(text)
    for gone in ("apply_api_compatibility", "autoreset"):
        fields.pop(gone, None)
    return EnvSpec.from_json(json.dumps(fields))


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ImportError as error:
        raise _missing("gymnasium", "offline RL") from error
    return gymnasium


def _quiet_mujoco() -> None:
    # mujoco >= 3.8 warns about gymnasium's models (settotalmass), on the terminal and in a file MUJOCO_LOG.TXT.
    try:
        import mujoco
    except ImportError:
        return  # gymnasium says what is missing, if the environment needs it at all
    silence = getattr(mujoco, "set_mju_user_warning", None)  # absent before mujoco 3.2
    if silence is not None:
        silence(_warn)


def _warn(message: str) -> None:
    if "settotalmass" not in message:
        print(f"mujoco: {message}", file=sys.stderr)


def _missing(package: str, user: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"{user} needs {package}: install it with  pip install 'egflow[offline-rl]'")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
