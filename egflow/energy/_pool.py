"""Where workers run: the one seam between what is done with chunks (`Crew`) and the processes that do them."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Collection
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import numpy as np
from pebble import ProcessPool

from egflow.energy._reference import refer
from egflow.energy._run import Call
from egflow.energy._worker_task import BOARD, LETTERS, Chunk, Portable, open_board, run_chunk, start_worker

STALL = 60.0  # seconds in which no worker takes up a chunk
FIRST = 600.0  # of a new pool, whose workers may import torch from a slow disk; a restart would begin anew


class Pool(Protocol):
    """Workers, and the board that tells how their items stand.

    Attributes:
        rows, messages: the board (total,), see `_worker_task`.
    """

    rows: np.ndarray
    messages: np.ndarray

    def submit(self, chunk: Chunk) -> Future[None]:
        """Have a chunk run. The future's ``cancel`` kills the worker that is at it, and another takes its place.

        Its exception is `pebble.ProcessExpired` where the worker ended, `BrokenProcessPool` where all are gone, else
        what is no single item's fault. May raise RuntimeError where the pool is broken.
        """
        ...

    def stalled(self, under_way: Collection[Future[None]]) -> bool:
        """Whether none of these chunks will ever be taken up."""
        ...

    def restart(self) -> None:
        """Workers anew, in place of a broken pool's; the board stays."""
        ...

    def close(self) -> None:
        """End all workers, whatever they are at."""
        ...


def start_method() -> str:
    return "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


class Processes:
    """Processes of this machine, by pebble.

    They are started clean (forkserver, or spawn where there is none) and never forked from this process: a fork copies
    torch's and OpenMP's locks as they are, and may wait for them for ever. The price is that a worker must be able to
    import the function.
    """

    def __init__(self, call: Call, count: int, memory_limit: float | None, total: int):
        self.count, self.total = count, total
        self.portable = Portable(refer(call.fn, call.name), call.name, call.batch, call.conditional, memory_limit)
        self.folder = tempfile.TemporaryDirectory(prefix="egflow-")
        self.board = str(Path(self.folder.name) / "board")
        for file, size in ((self.board, BOARD.itemsize), (f"{self.board}.messages", LETTERS)):
            with open(file, "wb") as new:
                new.truncate(total * size)  # zeros, and sparse where the system can
        self.rows, self.messages = open_board(self.board, total)
        self.moved, self.patience = time.monotonic(), FIRST
        self.pool = self.started()

    def started(self) -> ProcessPool:
        context = multiprocessing.get_context(start_method())
        if start_method() == "forkserver":  # torch is imported once, in the server, and not again for each new worker
            context.set_forkserver_preload(["egflow.energy._worker_task"])
        return ProcessPool(self.count, initializer=start_worker, initargs=(self.portable,), context=context)

    def submit(self, chunk: Chunk) -> Future[None]:
        return self.pool.schedule(run_chunk, args=(chunk, self.board, self.total))

    def stalled(self, under_way: Collection[Future[None]]) -> bool:
        """An idle worker that is killed may leave locked the queue that the others wait at; pebble does not see it."""
        now = time.monotonic()
        if any(future.running() or future.done() for future in under_way):
            self.moved, self.patience = now, STALL
        elif not under_way:
            self.moved = now
        return now - self.moved > self.patience

    def restart(self) -> None:
        self.moved, self.patience = time.monotonic(), FIRST
        self.end()
        self.pool = self.started()

    def end(self) -> None:
        self.pool.stop()
        self.pool.join()

    def close(self) -> None:
        self.end()
        self.rows, self.messages = np.array(self.rows), np.array(self.messages)  # unmapped before the folder goes
        self.folder.cleanup()
