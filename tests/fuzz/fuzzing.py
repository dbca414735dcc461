"""What a hostile value or file may lead to: a result without NaN, or a documented exception that names its argument."""

from __future__ import annotations

import contextlib
import json
import math
import re
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from egflow.solver import SolverError
from egflow.training import TrainingError

LIMIT = 20.0  # seconds: an example takes milliseconds, so what takes these hangs


class TooLong(BaseException):
    """No exception of a program's own, so that none catches it."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Stop what hangs."""

    def stop(*_: object) -> None:
        raise TooLong(f"not done in {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except TooLong as error:
        raise AssertionError(str(error)) from None  # its own traceback may be endless
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def judged(
    call: Callable[[], Any], *names: str, kinds: tuple[type[Exception], ...] = (ValueError,), seconds: float = LIMIT
) -> Any:
    """The result of a call, which holds no NaN; or None where it raised one of ``kinds``, naming one of ``names``."""
    try:
        with within(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call()
    except (SolverError, TrainingError) as error:  # documented: numbers that are allowed, and lead past float32
        assert "not finite" in str(error) or "NaN or inf" in str(error) or "steps" in str(error), error
        return None
    except kinds as error:
        said = str(error)
        assert len(said) > 10, f"{type(error).__name__} says nothing: {said!r}"
        assert not names or any(re.search(rf"(?<![a-z]){re.escape(name)}", said) for name in names), (
            f"{type(error).__name__} names none of {', '.join(names)}: {said}"
        )
        return None
    assert not _has_nan(result), f"NaN in {result!r}"
    return result


def _has_nan(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_floating_point() and not value.is_meta and bool(value.isnan().any())
    if isinstance(value, float):
        return math.isnan(value)
    if isinstance(value, list | tuple):
        return any(map(_has_nan, value))
    if isinstance(value, Mapping):
        return any(map(_has_nan, value.values()))
    return False


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below a folder, with size and time of change: to see that nothing was written."""
    found = {str(file): file.lstat() for file in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items() if not Path(name).is_dir()}


class Odd:
    """An object that nothing can be made of."""

    def __repr__(self) -> str:
        return "Odd()"


def _tensors() -> list[Any]:
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 2, generator=g)
    spoiled = [x.clone() for _ in range(5)]
    for one, value in zip(spoiled, (math.nan, math.inf, -math.inf, 1e30, 1e-30), strict=True):
        one[3, 1] = value
    return [
        *spoiled,
        x,
        x * 1e30,
        x * 1e-30,
        x * 0,
        x.double() * 1e300,
        x[:0],
        x[:1],
        x[:19],
        x[:39],
        x[:, :1],
        x[:, :0],
        x[:, 0],
        x[0, 0],
        x[:, None, None],
        torch.empty(0),
        x.half(),
        x.bfloat16(),
        x.double(),
        x.to(torch.complex64),
        x > 0,
        x[:, 0] > 0,
        (x * 10).to(torch.int8),
        (x * 10).to(torch.uint8),
        (x[:, 0] * 10).long(),
        torch.arange(40),
        torch.arange(40) % 3,
        torch.arange(40) % 3 - 1,
        torch.full((40,), 2**62),
        torch.full((40,), -(2**62)),
        torch.ones(40) * -1,
        torch.zeros(40),
        torch.ones(40),
        torch.ones(40, 1),
        x.to_sparse(),
        x.clone().requires_grad_(),
        x[:1].expand(40, 2),
        torch.empty(40, 2, device="meta"),
        x.flip(0).T.contiguous().T,
        torch.randint(3, (40, 4), generator=g),
    ]


def _arrays() -> list[Any]:
    return [
        np.zeros((40, 2)),
        np.full((40, 2), np.nan, dtype=np.float32),
        np.array(["a"] * 40),
        np.array([None] * 40, dtype=object),
        np.zeros(40, dtype="datetime64[s]"),
        np.zeros(40, dtype=[("a", "f4")]),
        np.zeros(40, dtype=np.uint16),
        np.float64(0.5),
        np.int64(1),
        np.bool_(True),
    ]


WORDS = [
    "",
    " ",
    "a",
    "auto",
    "NaN",
    "../..",
    "\0",
    "\ud800",
    "é" * 3,
    "x" * 2000,
    "cond_ot",
    "cpu",
    "cuda:99",
    "{}",
    "1",
]
NUMBERS = [
    0,
    1,
    -1,
    2,
    0.0,
    0.5,
    -0.5,
    1.5,
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    -1e308,
    1e-320,
    2**31,
    2**63,
    -(2**63),
]
NUMBERS += [10**400, True, False, 1j, Fraction(1, 2)]
COUNTS = [0, 1, 2, -1, 0.0, 0.5, 1.0, math.nan, math.inf, True, False, 1j, Fraction(3, 2), -(2**63), -(10**400)]
OTHERS = [
    None,
    b"a",
    [],
    (),
    {},
    set(),
    [1.0],
    [math.nan],
    [1.0, 2.0],
    (0.0, 1.0),
    (1.0, 0.0),
    [[0.0, 1.0]],
    [None],
    ["a"],
]
OTHERS += [{"a": 1}, Odd(), Odd, print, lambda: 0, lambda *a: 1 / 0, range(3), iter([]), torch.nn.Linear(2, 2)]
OTHERS += [torch.device("cpu"), torch.float32, Path("nowhere")]

TENSORS, ARRAYS = _tensors(), _arrays()


def anything(*own: Any) -> st.SearchStrategy[Any]:
    """Any value of any kind, those given among them."""
    return st.one_of(
        *([st.sampled_from(list(own))] if own else []),
        st.sampled_from(TENSORS),
        st.sampled_from(NUMBERS),
        st.sampled_from(OTHERS),
        st.sampled_from(WORDS),
        st.sampled_from(ARRAYS),
        st.floats(),
        st.text(max_size=8),
    )


def count() -> st.SearchStrategy[Any]:
    """Anything in the place of a number of things, but nothing that would rightly take for ever."""
    return st.one_of(st.sampled_from(COUNTS), st.sampled_from(OTHERS), st.sampled_from(WORDS), st.sampled_from(TENSORS))


def altered(strategies: Mapping[str, st.SearchStrategy[Any]], most: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """One or two arguments with hostile values in their place."""
    names = st.lists(st.sampled_from(sorted(strategies)), min_size=1, max_size=most, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: strategies[name] for name in chosen}))


def damaged_bytes(content: bytes) -> st.SearchStrategy[bytes]:
    """A file with bytes flipped, cut, repeated, put in or taken out; or another file."""
    place = st.integers(0, max(len(content) - 1, 0)) | st.integers(0, min(200, max(len(content) - 1, 0)))
    flipped = st.lists(st.tuples(place, st.integers(1, 255)), min_size=1, max_size=6).map(
        lambda at: _flipped(content, at)
    )
    cut = place.map(lambda at: content[:at])
    put = st.tuples(place, st.binary(min_size=1, max_size=9)).map(lambda p: content[: p[0]] + p[1] + content[p[0] :])
    out = st.tuples(place, st.integers(1, 40)).map(lambda p: content[: p[0]] + content[p[0] + p[1] :])
    other = st.sampled_from(
        [b"", b"\0", b"\xff\xfe", b"{}", b"[", b"\x80\x04.", b"PK\x03\x04", b"\xff" * 64, content * 2]
    )
    return st.one_of(flipped, cut, put, out, other, st.binary(max_size=64))


def _flipped(content: bytes, places: list[tuple[int, int]]) -> bytes:
    changed = bytearray(content)
    for place, mask in places:
        if place < len(changed):
            changed[place] ^= mask
    return bytes(changed)


HOSTILE_JSON: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    3,
    2**31,
    2**63,
    10**30,
    0.5,
    -0.0,
    1e-320,
    1e308,
    1e30,
    "",
    "a",
]
HOSTILE_JSON += [
    "vp",
    "cond_ot",
    "mlp",
    "../x",
    "/etc/passwd",
    "file.py:f",
    "os.system",
    "\0",
    "é",
    "${oc.env:HOME}",
    "x" * 5000,
]
HOSTILE_JSON += [
    [],
    {},
    [0],
    [1],
    [2, 2],
    [-1],
    ["a"],
    [None],
    [[]],
    [[1, 2], [3]],
    {"a": 1},
    {"_target_": "os.system"},
]
HOSTILE_JSON += [{"name": None, "config": None}, [1] * 5000, json.loads("[" * 400 + "]" * 400)]


def damaged_json(document: Any) -> st.SearchStrategy[Any]:
    """A document with one or two of its values, at any depth, replaced, left out, or moved."""
    places = list(_places(document))
    value = (
        st.sampled_from(HOSTILE_JSON)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers()
        | st.text(max_size=5)
    )
    change = st.tuples(st.sampled_from(places), st.sampled_from(["put", "put", "put", "drop", "wrap", "add"]), value)
    return st.lists(change, min_size=1, max_size=2).map(lambda changes: _changed(document, changes))


def _places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _changed(document: Any, changes: list[tuple[tuple[Any, ...], str, Any]]) -> Any:
    document = json.loads(json.dumps(document))
    for place, how, value in changes:
        holder = document
        try:
            for key in place[:-1]:
                holder = holder[key]
            if how == "put":
                holder[place[-1]] = value
            elif how == "drop":
                del holder[place[-1]]
            elif how == "wrap":
                holder[place[-1]] = [holder[place[-1]]]
            elif isinstance(holder, dict):
                holder[str(value)[:20]] = value
            else:
                holder.append(value)
        except (LookupError, TypeError, AttributeError):  # the first change took it away
            pass
    return document
