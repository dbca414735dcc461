"""An energy by its name on the command line: ``package.module.name`` or ``file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from egflow.energy._callable import as_energy
from egflow.energy._errors import own_message
from egflow.energy._files import load_file
from egflow.energy._model import EnergyModel


def load_energy(text: str, options: Mapping[str, Any] | None = None) -> EnergyModel:
    """The energy that a text names. The code it names is run: it is the user's own, trusted code.

    Args:
        text: ``package.module.name``, looked up in the installed packages and then in the working folder, or
            ``file.py:function``, the file absolute or relative to the working folder.
        options: arguments of `as_energy` for a plain function.

    Returns:
        The object itself where it is an `EnergyModel`, an instance of a class of them, else ``as_energy`` of it.

    Raises:
        ValueError: in one line, where there is no such file, module or function (naming the nearest), where the code
            raises at import (with its message), or where the object is not callable or takes no batch.
    """
    file, colon, name = text.rpartition(":")
    if text.endswith(".py") and not (colon and file.endswith(".py")):
        raise ValueError(f"{text} names a file but no function; write {text}:function")
    if colon and file.endswith(".py"):
        module, shown = from_file(file, text), file
        found = find(module, name, shown)
    else:
        found = from_dotted(text)
    if isinstance(found, type) and issubclass(found, EnergyModel):
        try:
            return found()
        except Exception as error:  # the class is foreign code
            raise ValueError(f"{text} cannot be made without arguments: {one_line(error)}") from error
    if isinstance(found, EnergyModel):
        return found
    try:
        return as_energy(found, name=f"{Path(file).name}:{name}" if colon else None, **(options or {}))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text} cannot be used: {error}") from error


def from_file(file: str, text: str) -> ModuleType:
    if not Path(file).is_file():
        folder = Path(file).parent
        near = get_close_matches(Path(file).stem, [p.stem for p in folder.glob("*.py")], n=1) if folder.is_dir() else []
        hint = f" Did you mean {folder / near[0]}.py?" if near else ""
        raise ValueError(f"{text}: there is no file {Path(file).resolve()}.{hint}")
    return imported(lambda: load_file(file), text)


def from_dotted(text: str) -> Any:
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ValueError(f"{text} is neither package.module.name nor file.py:function, nor a preset's name")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # at the end, so that it hides nothing that is installed
    found: Any = None
    rest = parts
    for depth in range(1, len(parts)):  # the longest importable head is the module; the rest are attributes
        module = ".".join(parts[:depth])
        if importable(module):
            found, rest = imported(lambda module=module: importlib.import_module(module), text), parts[depth:]
        elif found is None:
            raise ValueError(f"{text}: there is no module {module}; for a file write  file.py:function")
        else:
            break
    for index, name in enumerate(rest):
        found = find(found, name, ".".join(parts[: len(parts) - len(rest) + index]))
    return found


def importable(module: str) -> bool:
    """Whether a module of that name is found, without running it (its parent package was imported before)."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return module in sys.modules


def imported(load: Callable[[], ModuleType], text: str) -> ModuleType:
    try:
        return load()
    except (Exception, SystemExit) as error:  # whatever the user's code raises is told in its own words
        frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
        where = (
            "" if isinstance(error, SyntaxError) else f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
        )
        raise ValueError(f"{text} failed at import: {one_line(error)}{where}") from error


def one_line(error: BaseException) -> str:
    return " ".join(own_message(error).split())


def find(holder: Any, name: str, shown: str) -> Any:
    if hasattr(holder, name):
        return getattr(holder, name)
    named = {key: getattr(holder, key, None) for key in dir(holder) if not key.startswith("_")}
    names = [key for key, value in named.items() if callable(value)]
    own = [key for key in names if getattr(named[key], "__module__", None) == getattr(holder, "__name__", None)]
    near = get_close_matches(name, own, n=1) or get_close_matches(name, names, n=1)
    has = f" Did you mean {near[0]}?" if near else f" It has: {', '.join(own) or 'no function'}."
    raise ValueError(f"{shown} has no function {name or '(name it after the colon)'}.{has}")
