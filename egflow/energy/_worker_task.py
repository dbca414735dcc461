"""What runs inside a worker process: one chunk of items at a time, its state on a board both sides can see.

The board is a small memory-mapped file, so that whatever ends a worker (a kill, os._exit, a crash) leaves behind
which item it was at, and the values and failures of the items before it.
"""

from __future__ import annotations

import os
import pickle
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from egflow.energy._reference import Reference
from egflow.energy._run import Call, Policy, run_span

WAITING, RUNNING, DONE, FAILED = range(4)
BOARD = np.dtype([("value", "f8"), ("start", "f8"), ("pid", "i8"), ("state", "i8")])
LETTERS = 500  # of a failure's message, as UTF-8


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items on their way to a worker.

    Attributes:
        board, total: file of the board, and its number of rows.
        places: (n,) where the items stand on the board.
        policy: whether the first failure ends the chunk.
        payload: pickled (items, condition or None).
    """

    board: str
    total: int
    places: np.ndarray
    policy: Policy
    payload: bytes


def open_board(file: str | Path, total: int) -> tuple[np.ndarray, np.ndarray]:
    """The board (total,) and the messages (total,) beside it; the second stays empty on disk until something fails."""
    rows = np.memmap(file, dtype=BOARD, mode="r+", shape=(total,))
    return rows, np.memmap(f"{file}.messages", dtype=f"S{LETTERS}", mode="r+", shape=(total,))


class _Stop(Exception):
    """The first failure ends the chunk under the policy "raise"."""


class SharedBoard:
    """A worker's own view of the board."""

    def __init__(self, chunk: Chunk):
        self.rows, self.messages = open_board(chunk.board, chunk.total)
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
            raise _Stop


@dataclass(frozen=True, slots=True)
class Portable:
    """A `Call` whose function is named rather than held."""

    reference: Reference
    name: str
    batch: bool
    conditional: bool


_worker: dict[str, Portable] = {}  # set once in each worker, by its initializer


def start_worker(portable: Portable) -> None:
    """One thread a worker: there are as many workers as the user wants cores used."""
    torch.set_num_threads(1)
    _worker["call"] = portable


@lru_cache(maxsize=1)
def load() -> Call:
    """The call, found at the first chunk, where an error has a way back to the parent."""
    portable = _worker["call"]
    return Call(portable.reference.load(), portable.name, portable.batch, portable.conditional)


def run_chunk(chunk: Chunk) -> None:
    """Run a chunk; values and failures go to the board. Raises only what is no single item's fault."""
    call = load()
    items, condition = pickle.loads(chunk.payload)  # noqa: S301 - our own parent process made it a moment ago
    board = SharedBoard(chunk)
    try:
        with torch.no_grad():
            run_span(call, items, condition, 0, len(chunk.places), board)
    except _Stop:
        pass
