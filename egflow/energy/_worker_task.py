"""What runs inside a worker process: one chunk of items at a time, told as events.

A process of this machine writes them on a board that both sides can see, a small memory-mapped file, so that whatever
ends a worker (a kill, os._exit, a crash) leaves behind which item it was at, and the values and failures of the items
before it. A worker of Ray sends them, one by one.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from egflow.energy._memory import at_most, held, ran_out
from egflow.energy._reference import Reference
from egflow.energy._run import Call, Event, Failed, Policy, run_span, write

WAITING, RUNNING, DONE, FAILED = range(4)
BOARD = np.dtype([("value", "f8"), ("start", "f8"), ("pid", "i8"), ("state", "i8")])
LETTERS = 500  # of a failure's message, as UTF-8
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items on their way to a worker.

    Attributes:
        places: (n,) where the items stand on the board.
        policy: whether the first failure ends the chunk.
        payload: pickled (items, condition or None).
    """

    places: np.ndarray
    policy: Policy
    payload: bytes


class Spent(Exception):
    """An item took all the memory that it may; the worker's next would find little."""


@dataclass(frozen=True, slots=True)
class Worker:
    """What runs items in this process.

    Attributes:
        call: the energy, loaded.
        most: bytes that this process may hold while items run: what it held when the energy was loaded, and the limit.
    """

    call: Call
    most: int | None

    @classmethod
    def of(cls, call: Call, memory_limit: float | None) -> Worker:
        """A worker whose items may take so many MB."""
        return cls(call, None if memory_limit is None else held() + int(1e6 * memory_limit))

    def events(self, payload: bytes) -> Iterator[Event]:
        """Run a chunk. Raises `Spent`, or what is no single item's fault."""
        items, condition = pickle.loads(payload)  # noqa: S301 - our own parent process made it a moment ago
        most = None if self.most is None else self.most + len(payload)
        with torch.no_grad(), at_most(most):
            for event in run_span(self.call, items, condition, 0, len(items)):
                yield event
                if most is not None and isinstance(event, Failed) and ran_out(event.message):
                    raise Spent


def open_board(file: str | Path, total: int) -> tuple[np.ndarray, np.ndarray]:
    """The board (total,) and the messages (total,) beside it; the second stays empty on disk until something fails."""
    rows = np.memmap(file, dtype=BOARD, mode="r+", shape=(total,))
    return rows, np.memmap(f"{file}.messages", dtype=f"S{LETTERS}", mode="r+", shape=(total,))


class Stop(Exception):
    """The first failure ends the chunk under the policy "raise"."""


class ChunkBoard:
    """The rows of a board that belong to a chunk."""

    def __init__(self, rows: np.ndarray, messages: np.ndarray, chunk: Chunk):
        self.rows, self.messages = rows, messages
        self.places, self.policy = chunk.places, chunk.policy

    def start(self, lo: int, hi: int) -> None:
        places = self.places[lo:hi]
        self.rows["pid"][places] = os.getpid()
        self.rows["start"][places] = time.monotonic()
        self.rows["state"][places] = RUNNING

    def done(self, lo: int, values: np.ndarray) -> None:
        places = self.places[lo : lo + len(values)]
        self.rows["value"][places] = values
        self.rows["state"][places] = DONE

    def fail(self, index: int, message: str) -> None:
        place = int(self.places[index])
        self.messages[place] = message.encode()[:LETTERS]
        self.rows["state"][place] = FAILED
        if self.policy == "raise":
            raise Stop


@dataclass(frozen=True, slots=True)
class Portable:
    """A `Call` whose function is named rather than held, and the MB that an item may take."""

    reference: Reference
    name: str
    batch: bool
    conditional: bool
    memory_limit: float | None


_worker: dict[str, Portable] = {}  # set once in each worker, by its initializer


def start_worker(portable: Portable) -> None:
    """One thread a worker: there are as many workers as the user wants cores used. It ends with its parents."""
    torch.set_num_threads(1)
    end_with_parents()
    _worker["call"] = portable


def end_with_parents() -> None:
    """Have the kernel end this process when those that it works for are gone, whatever it hangs in.

    They are two: the server that it is forked from (on Linux), and the process that evaluates. That one holds the other
    end of a pipe, at whose closing SIGIO ends a process that does not handle it; the server alone would not do, for it
    stays while it has children.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    parent = multiprocessing.parent_process()
    if parent is None or sys.platform == "win32":
        return
    import fcntl  # not on Windows

    fcntl.fcntl(parent.sentinel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(parent.sentinel, fcntl.F_SETFL, fcntl.fcntl(parent.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if not parent.is_alive():  # since before
        os._exit(1)


@lru_cache(maxsize=1)
def load() -> Worker:
    """The energy, found at the first chunk, where an error has a way back to the parent."""
    portable = _worker["call"]
    call = Call(portable.reference.load(), portable.name, portable.batch, portable.conditional)
    return Worker.of(call, portable.memory_limit)


def run_chunk(chunk: Chunk, board: str, total: int) -> None:
    """Run a chunk; values and failures go to the board. Raises only what is no single item's fault."""
    worker = load()
    try:
        write(worker.events(chunk.payload), ChunkBoard(*open_board(board, total), chunk))
    except Stop:
        pass
    except Spent:
        os._exit(1)
