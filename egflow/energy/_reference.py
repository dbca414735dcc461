"""How a function travels to a worker process: by where it is defined, or as a pickle; never by its code."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from types import FunctionType
from typing import Any

from egflow.energy._errors import EnergyError
from egflow.energy._files import load_file, loaded_files


@dataclass(frozen=True, slots=True)
class Reference:
    """A function that another process can find.

    Attributes:
        files: (module name, file) to load first, for code that came from ``file.py:function``.
        module, qualname: where a plain function stands; None for a pickle.
        pickled: anything else: a partial, an instance, a module with its weights.
    """

    files: tuple[tuple[str, str], ...]
    module: str | None = None
    qualname: str = ""
    pickled: bytes = b""

    def load(self) -> Callable[..., Any]:
        """Find the function, in the process that calls this."""
        for name, file in self.files:
            load_file(file, name)
        if self.module is None:
            return pickle.loads(self.pickled)  # noqa: S301 - our own parent process made it a moment ago
        return plain(attribute(importlib.import_module(self.module), self.qualname))


def refer(fn: Callable[..., Any], name: str) -> Reference:
    """The reference of a function.

    Raises:
        EnergyError: where no other process could find it: a lambda, a local function, one typed into a prompt.
    """
    fix = "workers=… run it in other processes, which must find it: define it at the top level of a module or a file"
    files = loaded_files()
    if not isinstance(fn, FunctionType):
        try:
            pickled = pickle.dumps(fn)
        except Exception as error:  # pickling runs foreign code
            raise EnergyError(f"energy {name} cannot be pickled ({error}); {fix}") from error
        return Reference(tuple(pair for pair in files.items() if pair[0].encode() in pickled), pickled=pickled)
    module = sys.modules.get(fn.__module__)
    if "<" in fn.__qualname__:
        kind = "a lambda" if fn.__name__ == "<lambda>" else "defined inside another function"
        raise EnergyError(f"energy {name} is {kind}; {fix}")
    if fn.__module__ == "__main__" and getattr(module, "__file__", None) is None:
        raise EnergyError(
            f"energy {name} was typed into a prompt or a notebook; {fix}, as as_energy's file.py:function"
        )
    if plain(attribute(module, fn.__qualname__)) is not fn:
        raise EnergyError(f"energy {name} is not what {fn.__module__}.{fn.__qualname__} names now; {fix}")
    return Reference(tuple(p for p in files.items() if p[0] == fn.__module__), fn.__module__, fn.__qualname__)


def attribute(module: Any, qualname: str) -> Any:
    return reduce(lambda found, part: getattr(found, part, None), qualname.split("."), module)


def plain(found: Any) -> Any:
    """The function itself where @as_energy has put an energy in its place."""
    wrapped = getattr(found, "call", None)
    return wrapped.fn if wrapped is not None and not isinstance(found, FunctionType) else found
