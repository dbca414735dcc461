"""What one evaluation tells the energies in it, and what they tell back: offsets, calls, failures, progress.

An energy's `forward` returns a tensor alone; the rest goes through this record, found by a context variable, so that
it passes through algebra and through modules of the user's own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

TALLY: ContextVar[Tally | None] = ContextVar("egflow_energy_tally", default=None)


@dataclass(slots=True)
class Tally:
    """The account of one batch within one evaluation.

    Attributes:
        size: items in this batch.
        offset: place of the batch's first item in x.
        cache: folder of the cache for energies that have none of their own.
        advance: told how many items of this batch are ready.
        called, cached, failed: (size,) bool, by item.
        failure: the first failure's text.
    """

    size: int
    offset: int = 0
    cache: Path | None = None
    advance: Callable[[int], None] | None = None
    failure: str | None = None
    called: np.ndarray = field(init=False)
    cached: np.ndarray = field(init=False)
    failed: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.called, self.cached, self.failed = (np.zeros(self.size, dtype=bool) for _ in range(3))


def current_tally(batch: int) -> Tally | None:
    """The tally of the running evaluation, if the batch is the evaluation's own (and not a part of it)."""
    tally = TALLY.get()
    return tally if tally is not None and tally.size == batch else None
