"""A limit on the memory that the items of a worker may take (`memory_limit=`), kept by the kernel.

It is RLIMIT_DATA, what a process allocates for itself, and not RLIMIT_AS, its address space: torch, CUDA and threads
reserve far more addresses than they ever use, and the files that a program maps would count as well.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEAST_MEMORY = 50  # MB; below, a worker's own small change (a thread's stack is 8 MB) would count as the item's
WORDS = ("MemoryError", "allocate memory")  # Python's and numpy's, torch's


def can_limit() -> bool:
    return sys.platform == "linux"


def held() -> int:
    """Bytes of this process that count against the limit."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmData"))
    return 1024 * int(line.split()[1])


@contextmanager
def at_most(most: int | None) -> Iterator[None]:
    """Allocations that take this process past so many bytes fail; None for no limit."""
    if most is None:
        yield
        return
    import resource  # not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def ran_out(message: str) -> bool:
    """Whether a failure's message says that memory could not be had."""
    return any(word in message for word in WORDS)
