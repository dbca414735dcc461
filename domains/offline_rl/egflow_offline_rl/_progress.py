"""A bar on a terminal, a plain line every ten seconds elsewhere, on stderr; and one maker of data at a time."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

try:
    import fcntl
except ImportError:  # Windows has none: there, do not start two at once
    fcntl = None

_PLAIN_EVERY = 10.0  # seconds


class StepsLine:
    """How many steps, or states, are done of how many.

    Args:
        label: what is under way.
        total: how many at most.
        kind: "auto" (a bar on a terminal, else plain lines), "plain" or "none".
    """

    def __init__(self, label: str, total: int, kind: str = "auto") -> None:
        self._label, self._total, self._last = label, total, time.monotonic()
        self._plain = kind == "plain" or (kind == "auto" and not sys.stderr.isatty())
        self._bar = None
        if kind == "auto" and not self._plain:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True))
            self._task = self._bar.add_task(label, total=total, note="")

    def __enter__(self) -> StepsLine:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, steps: int, note: str) -> None:
        """Say where it is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=min(steps, self._total), note=note)
        elif self._plain and time.monotonic() - self._last > _PLAIN_EVERY:
            self._last = time.monotonic()
            print(f"{self._label}: {steps:,} of {self._total:,}, {note}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold a lock on a file; wait, and say so, while another process holds it. A killed process lets it go."""
    with open(file, "a", encoding="utf-8") as stream:
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process makes data in {file.parent}: waiting for it", file=sys.stderr, flush=True)
                fcntl.flock(stream, fcntl.LOCK_EX)
        yield
