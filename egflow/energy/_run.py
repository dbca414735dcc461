"""Running a function over items, one by one or in batches, and telling which item failed.

The same code runs in this process and in the workers. It tells what happens as events; what differs is the `Board` that
they are written on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from egflow.energy._check import check_output
from egflow.energy._errors import EnergyError, own_message, where_raised

Items = Tensor | Sequence[Any]
Policy = Literal["raise", "forbid"]

REPORT_EVERY = 1.0  # seconds between two words of progress


@dataclass(frozen=True, slots=True)
class Call:
    """How a function is called.

    Attributes:
        fn: takes a batch (batch=True) or one item (batch=False), and its condition where `conditional`.
        name: for messages.
    """

    fn: Callable[..., Any]
    name: str
    batch: bool
    conditional: bool

    def raw(self, items: Any, condition: Any) -> Any:
        return self.fn(items, condition) if self.conditional else self.fn(items)


@dataclass(frozen=True, slots=True)
class Started:
    """Items lo … hi − 1 are being run. Positions are those of the items that `run_span` was given."""

    lo: int
    hi: int


@dataclass(frozen=True, slots=True)
class Done:
    """Values (n,) of the items from lo on."""

    lo: int
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class Failed:
    """The energy failed on an item; error is what it raised, if it did."""

    index: int
    message: str
    error: BaseException | None = None


Event = Started | Done | Failed


class Board(Protocol):
    """Where events are written."""

    def start(self, lo: int, hi: int) -> None: ...

    def done(self, lo: int, values: np.ndarray) -> None: ...

    def fail(self, index: int, message: str) -> None:
        """Note a failed item; may raise to stop the run."""
        ...


def write(events: Iterable[Event], board: Board) -> None:
    """Write events on a board as they come."""
    for event in events:
        match event:
            case Started(lo, hi):
                board.start(lo, hi)
            case Done(lo, values):
                board.done(lo, values)
            case Failed(index, message, error):
                try:
                    board.fail(index, message)
                except EnergyError as own:
                    raise own from error


def run_span(call: Call, items: Items, condition: Tensor | None, lo: int, hi: int) -> Iterator[Event]:
    """Run items lo … hi − 1. A batch that raises is halved until the failing items are found."""
    if not call.batch:
        for index in range(lo, hi):
            yield Started(index, index + 1)
            try:
                value = as_number(call.raw(items[index], None if condition is None else condition[index]))
            except (Exception, SystemExit) as error:  # the energy is foreign code: whatever it raises is the item's
                yield Failed(index, own_message(error) + where_raised(error, call.fn), error)
            else:
                yield from judged(index, np.array([value]))
        return
    yield Started(lo, hi)
    try:
        raw = call.raw(items[lo:hi], None if condition is None else condition[lo:hi])
    except (Exception, SystemExit) as error:
        failed = Failed(lo, own_message(error) + where_raised(error, call.fn), error)
    else:
        yield from judged(lo, check_output(raw, hi - lo, call.name).detach().to("cpu", torch.float64).numpy())
        return
    if hi - lo == 1:
        yield failed
        return
    middle = (lo + hi) // 2
    yield from run_span(call, items, condition, lo, middle)
    yield from run_span(call, items, condition, middle, hi)


def first_failure(run: Callable[..., Any], x: Tensor, condition: Tensor | None, lo: int, hi: int) -> int | None:
    """The first item in lo … hi − 1 that fails by itself, by halving a batch that failed; None if none does."""
    if hi - lo == 1:
        return lo
    middle = (lo + hi) // 2
    for start, stop in ((lo, middle), (middle, hi)):
        try:
            run(x[start:stop], None if condition is None else condition[start:stop])
        except Exception:  # the energy is foreign code
            return first_failure(run, x, condition, start, stop)
    return None


def judged(lo: int, values: np.ndarray) -> Iterator[Event]:
    """Values as events; a NaN is a failed item, by the same policy as one that raised."""
    nan = np.isnan(values)
    if not nan.any():
        yield Done(lo, values)
        return
    for offset, value in enumerate(values):
        yield Failed(lo + offset, "it returned NaN") if nan[offset] else Done(lo + offset, value[None])


def as_number(value: Any) -> float:
    """One item's energy as a float: a real number or a 0-dimensional float tensor or array.

    Raises:
        TypeError: for anything else, a bool (a constraint is no energy) and a shape (1,) included.
    """
    if isinstance(value, (Tensor, np.ndarray)) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, (Tensor, np.ndarray)) else ""
        raise TypeError(f"it returned a {type(value).__name__}{shape}; one item's energy is one float")
    return float(value)


class Outcome:
    """The board in this process: values, what is done, and failures by item.

    Attributes:
        batch_index: (n,) where the items stand in the batch; offset is the batch's own place in x.
        values: (n,) float64, NaN until done, +inf where failed.
        done_mask: (n,) bool; False where failed.
        failures: index -> message.
    """

    def __init__(
        self, name: str, batch_index: np.ndarray, policy: Policy, offset: int, tick: Callable[[Outcome], None]
    ):
        self.name, self.batch_index, self.offset, self.tick = name, batch_index, offset, tick
        self.policy: Policy = policy
        self.values = np.full(len(batch_index), math.nan)
        self.done_mask = np.zeros(len(batch_index), dtype=bool)
        self.failures: dict[int, str] = {}
        self.last = time.monotonic()

    def start(self, lo: int, hi: int) -> None:
        pass

    def done(self, lo: int, values: np.ndarray) -> None:
        self.values[lo : lo + len(values)] = values
        self.done_mask[lo : lo + len(values)] = True
        self.report()

    def fail(self, index: int, message: str) -> None:
        self.values[index] = math.inf
        self.failures[index] = message
        if self.policy == "raise":
            place = int(self.batch_index[index]) + self.offset
            raise EnergyError(f"energy {self.name} failed for item {place}: {message}", place)
        self.report()

    def report(self) -> None:
        if time.monotonic() - self.last > REPORT_EVERY:
            self.tick(self)
            self.last = time.monotonic()
