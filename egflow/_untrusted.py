"""Files that may come from strangers: plain, small, whole; nothing in them is imported, run or followed elsewhere."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

MOST_BYTES = 16 * 2**20  # of a description or a report
MOST_COUNT = 2**20  # of anything a network's config counts
_MOST_LAYERS = 200
_LAYERS = ("depth", "blocks", "levels", "layers")


def member(folder: Path, name: str) -> Path:
    """``folder/name``, which must not lead out of the folder. The Hub's cache, whose files are links, is one folder.

    Raises:
        ValueError: for a link to somewhere else, and for what is neither file nor folder: a pipe may never end.
    """
    path = folder / name
    if path.is_symlink():
        home, target = (Path(os.path.realpath(one)) for one in (folder, path))  # resolve() raises for a link to itself
        blobs = [one.parent / "blobs" for one in home.parents if one.name == "snapshots"]
        if not (target.parent in blobs or target.is_relative_to(home)):
            raise ValueError(f"{path} is a link out of its folder, which is not followed: put a copy there")
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is a pipe, a socket or a device: it is not read")
    return path


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: for one that is too large, no JSON, or holds a key twice or a number that is not finite.
    """
    if file.exists() and not file.is_file():
        raise ValueError(f"{file} is no file but a folder, a pipe or a device: it is not read")
    if (size := file.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{file} is truncated or altered: it has {size:,} bytes, more than the {MOST_BYTES:,} allowed")
    try:
        return json.loads(file.read_bytes(), object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is truncated or altered: {error}") from None


def read_shapes(file: Path) -> dict[str, Tensor]:
    """What a safetensors file says it holds, as tensors on the meta device: its header is read, and nothing else.

    Raises:
        ValueError: for what is no such file.
    """
    try:
        with safe_open(file, framework="pt") as stored:
            shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} is truncated or altered: {error}") from None
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        ValueError: for a number that is not finite.
        SafetensorError: for what is no such file.
    """
    tensors = load_file(file)
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise ValueError(f"{file}: {name} holds NaN or infinity: it is no trained model")
    return tensors


def check_config(config: Any, file: Path) -> None:
    """Whether a network of that config could be made in a moment: no count in it is beyond reason.

    Raises:
        ValueError: naming the count.
    """
    if isinstance(config, dict):
        for key, value in config.items():
            most = _MOST_LAYERS if key in _LAYERS else MOST_COUNT
            if isinstance(value, int) and abs(value) > most:
                raise ValueError(f"{file}: {key}={value} of the network is beyond {most:,}")
            check_config(value, file)
    elif isinstance(config, list):
        for value in config:
            check_config(value, file)


def check_fields(record: Any) -> None:
    """Every field of a dataclass against its annotation. Raises TypeError for the first that is of another kind."""
    hints = get_type_hints(type(record))
    for field in fields(record):
        value = getattr(record, field.name)
        if not fits(value, hints[field.name]):
            raise TypeError(f"{field.name} is {str(value)[:80]!r}, which is no {field.type}")


def check_arguments(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Arguments that are JSON against a function's annotations. Raises TypeError for the first of another kind."""
    hints = get_type_hints(function)
    for name, value in given.items():
        if name in hints and not fits(value, hints[name]):
            raise TypeError(f"{name} is {str(value)[:80]!r}, which is no {hints[name]}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of an annotated kind; whole numbers are floats too, flags are no numbers.

    >>> fits({"a": 1}, dict[str, float | None]), fits([True], list[float])
    (True, False)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in inner)
    if origin in (list, Sequence):
        return isinstance(value, list) and all(fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)


def check_shapes(module: torch.nn.Module, tensors: Mapping[str, Tensor], file: Path) -> None:
    """Whether a module, which may be on the meta device, has the tensors' names and shapes.

    Raises:
        ValueError: naming the first that differs.
    """
    wanted = module.state_dict()
    for name in [*wanted, *tensors]:
        shapes = [None if name not in one else tuple(one[name].shape) for one in (wanted, tensors)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{file}: {name} has shape {shapes[1]}, its description asks for {shapes[0]}")


def finite_shape(shape: Sequence[Any], file: Path) -> tuple[int, ...]:
    """A shape of a few positive whole numbers whose product is within reason. Raises ValueError otherwise."""
    good = isinstance(shape, list | tuple) and all(type(one) is int and one > 0 for one in shape)
    if not good or math.prod(shape) > 2**30:
        raise ValueError(f"{file}: event_shape {shape!r} is none")
    return tuple(shape)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return found


def _finite(word: str) -> float:
    return float(word) if math.isfinite(float(word)) else _refuse(word)


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")
