"""A command that ``torchrun`` started in several processes: all work, the first one speaks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from egflow.cli._outcome import one_line


def processes() -> int:
    """How many processes ``torchrun`` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def in_step(work: Callable[[], int]) -> int:
    """Work as one of several processes: of what the others would print only their own failures are kept."""
    rank = int(os.environ.get("RANK", "0"))
    if not rank:
        return work()
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  until the process ends
    try:
        return work()
    except Exception as error:
        if not hasattr(error, "everywhere"):
            print(f"egflow: process {rank}: {one_line(error)}", file=sys.__stderr__)
        raise
