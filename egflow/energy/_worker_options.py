"""How many workers, where, and what an item may take."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from egflow.energy._memory import LEAST_MEMORY, can_limit

Backend = Literal["processes", "ray"]


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of an energy, as `as_energy` explains them.

    Attributes:
        count: processes; 0 is this one.
        backend: of this machine, or of a Ray cluster.
        time_limit: seconds for one item, or None.
        memory_limit: MB for one item, or None.
    """

    count: int = 0
    backend: Backend = "processes"
    time_limit: float | None = None
    memory_limit: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 0:
            raise ValueError(f"workers is {self.count!r}; give a number of processes, 0 for this one")
        if self.backend not in get_args(Backend):
            raise ValueError(f"backend is {self.backend!r}; give 'processes' (of this machine) or 'ray'")
        if self.time_limit is not None and not 0 < self.time_limit < float("inf"):
            raise ValueError(f"time_limit is {self.time_limit!r}; give a number of seconds above 0, or None")
        if self.memory_limit is not None and not LEAST_MEMORY <= self.memory_limit < float("inf"):
            raise ValueError(f"memory_limit is {self.memory_limit!r}; give a number of MB from {LEAST_MEMORY}, or None")
        if self.memory_limit is not None and not can_limit():
            raise ValueError("memory_limit= is kept by Linux alone: leave it out here")

    def check_together(self) -> None:
        """Raises ValueError for an option that needs workers, ImportError for a backend that is not installed."""
        for name in ("time_limit", "memory_limit"):
            given = getattr(self, name)
            if given is not None and not self.count:
                raise ValueError(f"{name}={given} needs workers >= 1: a call cannot be stopped in this process")
        if self.backend == "ray" and not self.count:
            raise ValueError("backend='ray' needs workers >= 1: give how many")
        if self.backend == "ray" and find_spec("ray") is None:
            raise ImportError("backend='ray' needs the extra ray: pip install 'egflow[ray]'")
