"""A run's folder: never shared, never half-written, never code that is run.

It holds ``config.yaml``, ``model/``, ``checkpoints/``, ``metrics.csv``, ``samples.*``, ``figures/``, ``report.json``,
and ``rounds/`` where there were some.
Making ``figures/`` is the claim: a folder can be made only once, so of two starts in one place one is refused.
"""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from egflow._files import write_text
from egflow.cli._compose import Settings
from egflow.domain import find_domain

_ATTEMPTS = 100
_MOST_BYTES, _MOST_LEVELS = 2**16, 20  # ours has 3 KB and 3 levels; a parser's time goes with the square of both
_INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")  # after no backslash, or an even number of them


def stamped(parent: Path) -> Path:
    """Make and return a folder of its own below ``parent``, named by time and a few random signs."""
    parent.mkdir(parents=True, exist_ok=True)
    for _ in range(_ATTEMPTS):
        folder = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(f"no free name for a folder in {parent}")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A claimed folder.

    Attributes:
        path: where it is.
        made: the folders made for it, innermost first; `abandon` takes away what is empty of them.
        resumed: whether it held a run already.
        ours: whether this process writes there; of many only the first does.
    """

    path: Path
    made: tuple[Path, ...]
    resumed: bool
    ours: bool = True

    @property
    def has_checkpoint(self) -> bool:
        """Whether training has left something to go on from."""
        kept = [*(self.path / "checkpoints").rglob("*"), *(self.path / "rounds").rglob("*")]
        return any(file.is_file() for file in kept)

    def abandon(self) -> None:
        """Take back everything a run that never started has written. A resumed run is left as it was."""
        if self.resumed or not self.ours:
            return
        for child in self.path.iterdir():
            if child.is_dir():
                shutil.rmtree(child, ignore_errors=True)
            else:
                child.unlink()
        for folder in self.made:
            try:
                folder.rmdir()
            except OSError:  # another run has come to live in it
                return


def claim(run_dir: str | None, domain: str, *, resume: bool) -> RunFolder:
    """Claim the folder of a run.

    Raises:
        ValueError: for a folder that holds a run (without ``resume``) or anything else.
        OSError: for one that cannot be made.
    """
    if run_dir is None:
        if resume:
            raise ValueError("resume=true needs run_dir=, the folder of the run to go on with")
        parent = Path("runs") / domain
        missing = _missing(parent)
        path = stamped(parent)
        (path / "figures").mkdir()
        return RunFolder(path, (path, *missing), resumed=False)
    path = Path(run_dir)
    if (path / "config.yaml").is_file():
        if not resume:
            raise ValueError(f"run_dir={run_dir} holds a run: go on with it by resume=true, or name another folder")
        return RunFolder(path, (), resumed=True)
    begun = resume and path.is_dir() and [file.name for file in path.iterdir()] == ["figures"]
    if begun and not any((path / "figures").iterdir()):  # killed before it had begun to train
        return RunFolder(path, (), resumed=False)
    if path.is_dir() and any(path.iterdir()):
        raise ValueError(f"run_dir={run_dir} is not empty and holds no run: name another folder")
    missing = _missing(path)
    path.mkdir(parents=True, exist_ok=True)
    try:
        (path / "figures").mkdir()
    except FileExistsError:
        raise ValueError(f"run_dir={run_dir} has just been taken by another run: name another folder") from None
    return RunFolder(path, tuple(missing), resumed=False)


def _missing(path: Path) -> tuple[Path, ...]:
    """The folders that would have to be made for ``path``, innermost first."""
    return tuple(folder for folder in (path, *path.parents) if not folder.exists())


def save_settings(folder: Path, settings: Settings) -> None:
    """Write ``config.yaml``."""
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(_escape(settings))))


def load_settings(folder: str | Path) -> Settings:
    """The settings a run was started with.

    Raises:
        FileNotFoundError: if the folder holds no run.
        ValueError: if its ``config.yaml`` is not one of ours.
    """
    file = Path(folder) / "config.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no run (no config.yaml in it)")
    try:
        settings = OmegaConf.to_container(OmegaConf.create(_plain(file)), resolve=True)
    except Exception as error:  # yaml's and OmegaConf's errors have no common class
        raise ValueError(f"{file} is damaged: {' '.join(str(error).split())}") from error
    if not isinstance(settings, dict) or not isinstance(settings.get("domain"), str):
        raise ValueError(f"{file} is damaged: it names no domain")
    return {str(key): value for key, value in settings.items()}


def refuse_code(settings: Settings, typed: Iterable[str]) -> None:
    """Whether a run's own settings name code to import, which is done only if it was typed.

    Args:
        settings: as a run's folder holds them.
        typed: the domain's options that the command line gives, without the domain's name.

    Raises:
        ValueError: naming the option.
    """
    name = settings["domain"]
    for option in set(find_domain(name).code_options) - set(typed):
        value = (settings.get(name) or {}).get(option)
        if isinstance(value, str) and ":" in value:
            raise ValueError(
                f"{name}.{option}={value} names code, which is never imported for a folder: give {name}.{option}= again"
            )


def _plain(file: Path) -> str:
    """The text of a config file that is data alone: small, without aliases, which can grow without end, or resolvers.

    Raises:
        ValueError: for anything else.
    """
    if (size := file.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than the {_MOST_BYTES:,} allowed")
    text = file.read_text(encoding="utf-8")
    levels = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        levels += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if levels > _MOST_LEVELS:
            raise ValueError(f"it is nested more than {_MOST_LEVELS} levels deep")
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it holds an alias, and egflow writes none")
        if isinstance(event, yaml.ScalarEvent) and _INTERPOLATION.search(event.value):
            raise ValueError(f"{event.value!r} in it would be resolved, and egflow writes no such value")
    return text


def _escape(value: Any) -> Any:
    """Text with ``${`` in it as OmegaConf reads it back."""
    if isinstance(value, dict):
        return {key: _escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escape(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value
