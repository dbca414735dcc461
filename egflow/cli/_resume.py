"""Going on with a run: its own settings hold, and what the command line says must not contradict them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from egflow.cli._compose import Arguments, Settings, flatten
from egflow.cli._folder import load_settings, refuse_code
from egflow.cli._quote import split_list

FREE_KEYS = frozenset({
    "resume", "run_dir", "device", "cache", "trainer.progress", "trainer.checkpoint_every", "trainer.tensorboard",
    "trainer.compile", "workers.count", "workers.backend", "workers.time_limit", "workers.memory_limit",
})  # fmt: skip
"""Keys that do not change what a run computes, so that they may differ when it is gone on with."""


def is_resumed(typed: Arguments) -> bool:
    """Whether the arguments go on with a run that is there."""
    run_dir = typed.typed.get("run_dir", "")
    return typed.typed.get("resume") == "true" and bool(run_dir) and (Path(run_dir) / "config.yaml").is_file()


def with_stored(arguments: Arguments) -> Arguments:
    """The arguments, with the domain of the run that is gone on with."""
    if arguments.multirun or not is_resumed(arguments) or "domain" in arguments.typed:
        return arguments
    stored = load_settings(arguments.typed["run_dir"])
    return replace(arguments, typed={"domain": stored["domain"], **arguments.typed})


def merged(settings: Settings, arguments: Arguments) -> Settings:
    """The settings to go on with: those of the run, with what may differ taken from the command line.

    Raises:
        ValueError: naming a key that contradicts the run's.
    """
    stored = load_settings(arguments.typed["run_dir"])
    refuse_code(stored, [key.partition(".")[2] for key in arguments.typed if key.startswith(f"{stored['domain']}.")])
    now, then = flatten(settings), flatten(stored)
    for key in arguments.typed:
        if key not in FREE_KEYS and not _same(key, now[key], then.get(key)):
            raise ValueError(
                f"{key}={now[key]} differs from the run's {key}={then.get(key)}: resume=true goes on with its own "
                "settings; leave the key out, or start a new run"
            )
    for key in FREE_KEYS & arguments.typed.keys():
        _put(stored, key, now[key])
    for key in ("energy", "score", "log_p"):
        if key in arguments.typed:
            stored[key] = settings[key]
    return stored


def _same(key: str, now: Any, then: Any) -> bool:
    if key in ("energy", "score", "log_p") and isinstance(now, str) and isinstance(then, str):
        names = [[PurePath(name).name for name in split_list(text)] for text in (now, then)]
        return names[0] == names[1]  # a file may be named from another folder
    return now == then


def _put(settings: Settings, key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        settings = settings.setdefault(parent, {})
    settings[last] = value
