"""Which energy is this? A name for the cache that two different energies do not share.

With a version, the version stands for the code. Without one, the code itself does: its bytecode, defaults, closure,
the plain constants and the functions of the same module that it names. What a function reads from other modules or
from files is not seen: give a version, and change it when those change. A lambda or a local function always counts
by its code, as all lambdas of a file share one name.
"""

from __future__ import annotations

import functools
import hashlib
import pickle
import sys
from pathlib import Path
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from egflow.energy._errors import EnergyError

PLAIN = (bool, int, float, complex, str, bytes, type(None))


def fingerprint(fn: Any, version: str | None) -> str:
    """A text that identifies fn across processes.

    Raises:
        EnergyError: where fn holds what has no stable bytes, so that it cannot be told from another.
    """
    inner = fn.func if isinstance(fn, functools.partial) else getattr(fn, "__func__", fn)
    kind = inner if isinstance(inner, FunctionType) else type(inner)
    module, qualname = getattr(kind, "__module__", ""), getattr(kind, "__qualname__", "")
    if module == "__main__":  # the same file is called by its name when it is imported
        module = Path(getattr(sys.modules["__main__"], "__file__", None) or "__main__").stem
    name = f"{module}.{qualname}"
    if version is not None and inner is fn and isinstance(fn, FunctionType) and "<" not in qualname:
        return f"{name} version {version}"
    try:
        digest = hashlib.blake2b(repr(stable(fn, set())).encode(), digest_size=16).hexdigest()
    except Exception as error:  # pickling runs foreign code
        raise EnergyError(
            f"cache= cannot tell energy {name} from another of that name ({error}); "
            "define it as a function at the top level of a file, with version="
        ) from error
    return f"{name} version {version} code {digest}"


def stable(value: Any, seen: set[int]) -> Any:
    """A value as nested tuples of plain values, the same in every process."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, (Tensor, np.ndarray)):
        array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        return (
            "array",
            str(array.dtype),
            array.shape,
            hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
        )
    if isinstance(value, (tuple, list)):
        return ("sequence", *(stable(item, seen) for item in value))
    if isinstance(value, (set, frozenset)):
        return ("set", *sorted(repr(stable(item, seen)) for item in value))
    if isinstance(value, dict):
        return ("dict", *((stable(key, seen), stable(item, seen)) for key, item in value.items()))
    if isinstance(value, CodeType):
        constants = tuple(stable(constant, seen) for constant in value.co_consts)
        return ("code", value.co_code.hex(), value.co_names, value.co_varnames, value.co_freevars, constants)
    if id(value) in seen:
        return "again"
    seen.add(id(value))
    if isinstance(value, functools.partial):
        return ("partial", stable(value.func, seen), stable(value.args, seen), stable(value.keywords, seen))
    if isinstance(value, FunctionType):
        return ("function", *function_parts(value, seen))
    if isinstance(value, MethodType):
        return ("method", stable(value.__func__, seen), stable(value.__self__, seen))
    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    if isinstance(value, nn.Module):
        weights = stable(dict(value.state_dict()), seen)
        return ("network", weights, *(instance_parts(module, seen) for module in value.modules()))
    if type(value).__reduce_ex__ is object.__reduce_ex__ and hasattr(value, "__dict__") and not isinstance(value, type):
        return ("instance", *instance_parts(value, seen))
    return ("pickle", type(value).__module__, type(value).__qualname__, pickle.dumps(value).hex())


def instance_parts(value: Any, seen: set[int]) -> tuple[Any, ...]:
    """An instance's class, what the class does when it is called, and the instance's own settings."""
    kind = type(value)
    run = kind.forward if isinstance(value, nn.Module) else getattr(kind, "__call__", None)  # noqa: B004 - its code
    hidden = isinstance(value, nn.Module)  # torch's own book-keeping: the weights are hashed apart
    own = {key: item for key, item in vars(value).items() if not (hidden and (key[0] == "_" or key == "training"))}
    return (
        kind.__module__,
        kind.__qualname__,
        stable(run, seen) if isinstance(run, FunctionType) else None,
        stable(own, seen),
    )


def function_parts(fn: FunctionType, seen: set[int]) -> tuple[Any, ...]:
    cells = tuple(stable(cell.cell_contents, seen) for cell in fn.__closure__ or ())
    named = {name: fn.__globals__[name] for name in names(fn.__code__) if name in fn.__globals__}
    reads = tuple(
        (name, stable(value, seen))
        for name, value in named.items()
        if constant(value) or (isinstance(value, FunctionType) and value.__module__ == fn.__module__)
    )
    return stable(fn.__code__, seen), cells, stable(fn.__defaults__, seen), stable(fn.__kwdefaults__, seen), reads


def constant(value: Any) -> bool:
    """Whether a value is plain, an array, or a collection of such."""
    if isinstance(value, dict):
        return all(constant(part) for pair in value.items() for part in pair)
    if isinstance(value, (tuple, list, set, frozenset)):
        return all(constant(part) for part in value)
    return isinstance(value, (*PLAIN, Tensor, np.ndarray))


def names(code: CodeType) -> list[str]:
    """Every name the code may look up, in inner functions too, in a fixed order."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.update(names(constant))
    return sorted(found)
