"""A command that ``torchrun`` started in several processes: all work, the first one speaks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from egflow.cli._outcome import one_line


def processes() -> int:
    """How many processes ``torchrun`` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_speaks() -> None:
    """Drop what a process other than the first would print, until it ends."""
    if processes() > 1 and os.environ.get("RANK", "0") != "0":
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def in_step(work: Callable[[], int]) -> int:
    """Work that all processes do alike; a failure of one of them alone is told all the same."""
    try:
        return work()
    except Exception as error:
        if sys.stderr is not sys.__stderr__ and processes() > 1 and not hasattr(error, "everywhere"):
            print(f"egflow: process {os.environ.get('RANK')}: {one_line(error)}", file=sys.__stderr__)
        raise
