"""A function over workers: chunks of items, a time limit for each item, and a kill.

Which item a worker is at, and since when, stands on a board (`_worker_task`); so an item that hangs is killed after its
own limit, whatever the chunk, and an item that ends its worker costs itself alone.
"""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import torch
from pebble import ProcessExpired
from torch import Tensor

from egflow.energy._errors import EnergyError, own_message
from egflow.energy._pool import Pool, Processes
from egflow.energy._run import Call, Items, Outcome
from egflow.energy._worker_options import Workers
from egflow.energy._worker_task import DONE, FAILED, RUNNING, WAITING, Chunk

POLL = 0.05  # seconds between two looks at the board
LARGEST_CHUNK = 64
MOST_RESTARTS = 3  # of workers that end before they reach an item


def run_workers(call: Call, items: Items, condition: Tensor | None, outcome: Outcome, workers: Workers) -> None:
    """Run all items on workers and write values and failures on the outcome.

    Raises:
        EnergyError: by the outcome's policy; where workers cannot run the function at all; where the function, or a
            decoded item, cannot be sent to a process.
    """
    total = len(outcome.done_mask)
    backend = Processes
    if workers.backend == "ray":
        from egflow.energy._pool_ray import RayWorkers as backend  # an extra
    pool = backend(call, min(workers.count, total), workers.memory_limit, total)
    crew = Crew(call, items, condition, outcome, workers, pool)
    try:
        crew.run()
    finally:
        pool.close()
        crew.read()


class Crew:
    """The state of one run: chunks to do, chunks under way, and the pool that is doing them."""

    def __init__(
        self,
        call: Call,
        items: Items,
        condition: Tensor | None,
        outcome: Outcome,
        workers: Workers,
        pool: Pool,
    ):
        self.call, self.items, self.condition, self.outcome = call, items, condition, outcome
        self.pool, self.time_limit = pool, workers.time_limit
        total = len(outcome.done_mask)
        self.count = min(workers.count, total)
        size = max(1, min(LARGEST_CHUNK, -(-total // (4 * self.count))))
        self.waiting = deque(np.arange(lo, min(lo + size, total)) for lo in range(0, total, size))
        self.running: dict[Future, np.ndarray] = {}
        self.broken: set[Future] = set()  # under way when their pool broke, and not settled since
        self.restarts = self.finished = 0

    def run(self) -> None:
        while self.waiting or self.running:
            while self.waiting and len(self.running) < 2 * self.count:
                self.submit(self.waiting.popleft())
            for future in wait(self.running, timeout=POLL, return_when=FIRST_COMPLETED).done:
                self.settle(future, self.running.pop(future))
            for future, places in list(self.running.items()):
                self.watch(future, places)
            if self.pool.stalled(self.running):
                self.restart("no worker takes up its items")
                for places in self.running.values():
                    self.put_back(places)
                self.running.clear()
            self.read()
            self.outcome.report()
            if not self.waiting and not self.running and len(left := self.undone()):
                self.waiting.append(left)  # a worker about to be killed may have taken up an item done elsewhere

    def undone(self) -> np.ndarray:
        return np.flatnonzero(np.isin(self.pool.rows["state"], (WAITING, RUNNING)))

    def submit(self, places: np.ndarray) -> None:
        if isinstance(self.items, Tensor):  # indexed, thus a copy: pickling a view sends the whole of what it views
            chosen = self.items[torch.from_numpy(places)].detach().cpu()
        else:
            chosen = [self.items[place] for place in places]
        condition = None if self.condition is None else self.condition[torch.from_numpy(places)].detach().cpu()
        try:
            payload = pickle.dumps((chosen, condition))
        except Exception as error:  # pickling runs foreign code
            raise EnergyError(f"energy {self.call.name}: decoded items cannot be sent to workers ({error})") from error
        try:
            future = self.pool.submit(Chunk(places, self.outcome.policy, payload))
        except RuntimeError:  # the pool broke since; its chunks come back through settle
            self.waiting.appendleft(places)
            self.restart("the pool of workers broke")
            return
        self.running[future] = places

    def settle(self, future: Future, places: np.ndarray) -> None:
        """Take in a chunk that ended, well or not, and put back what it left undone."""
        try:
            future.result()
        except CancelledError:  # by watch, which has noted the culprit
            pass
        except ProcessExpired as error:
            code = f" (exit code {error.exitcode})" if error.exitcode else ""  # Ray tells none
            if not self.blame(places, f"it ended its worker process{code}"):
                self.count_restart(f"exit code {error.exitcode}")
        except BrokenProcessPool:
            self.blame(places, "it ended its worker process")
            if future not in self.broken:  # the first of its pool
                self.restart("the pool of workers broke")
        except EnergyError:
            raise
        except Exception as error:  # unpickling or importing in the worker runs foreign code
            raise EnergyError(
                f"energy {self.call.name} cannot be run by a worker process: {own_message(error)}"
            ) from error
        for place in places[self.pool.rows["state"][places] == FAILED].tolist():
            if place not in self.outcome.failures:
                self.fail(place, bytes(self.pool.messages[place]).decode(errors="ignore"))
        self.put_back(places)

    def put_back(self, places: np.ndarray) -> None:
        """Have the items of a chunk that are not done, and have not failed, run by another."""
        left = places[np.isin(self.pool.rows["state"][places], (WAITING, RUNNING))]
        left = left[[int(place) not in self.outcome.failures for place in left]]
        if self.call.batch:  # a batch that ended its worker goes on one by one, to find the item
            self.waiting.extendleft(left[i : i + 1] for i in reversed(range(len(left))))
        elif len(left):
            self.waiting.appendleft(left)
        self.pool.rows["state"][left] = WAITING

    def watch(self, future: Future, places: np.ndarray) -> None:
        """Cancel, and so kill, a chunk whose item is over its time or whose worker is gone."""
        at = places[self.pool.rows["state"][places] == RUNNING]
        if not len(at):
            return
        elapsed = time.monotonic() - float(self.pool.rows["start"][at[0]])
        limit = None if self.time_limit is None else self.time_limit * len(at)
        if limit is not None and elapsed > limit:
            if len(at) == 1:
                self.fail(int(at[0]), f"it took longer than time_limit={self.time_limit:g} seconds and was killed")
            future.cancel()
        elif elapsed > 1.0 and gone(int(self.pool.rows["pid"][at[0]])) and not future.done():
            # a worker that left by os._exit(0) is no error to pebble, which would wait for its chunk for ever
            self.blame(at, "it ended its worker process")
            future.cancel()

    def blame(self, places: np.ndarray, message: str) -> bool:
        """The item that was running when its worker ended has failed. False where the worker had not reached one."""
        states = self.pool.rows["state"][places]
        at = places[states == RUNNING]
        if len(at) == 1:
            self.fail(int(at[0]), message)
        return bool(np.isin(states, (RUNNING, DONE, FAILED)).any())

    def fail(self, place: int, message: str) -> None:
        self.pool.rows["state"][place] = FAILED
        self.outcome.fail(place, message)

    def restart(self, message: str) -> None:
        self.count_restart(message)
        self.broken = set(self.running)
        self.pool.restart()

    def count_restart(self, message: str) -> None:
        """Workers that end without an item between them cannot be what the energy wants."""
        finished = int(np.isin(self.pool.rows["state"], (DONE, FAILED)).sum())
        self.restarts = 1 if finished > self.finished else self.restarts + 1
        self.finished = finished
        if self.restarts > MOST_RESTARTS:
            raise EnergyError(
                f"energy {self.call.name}: worker processes end before they reach an item ({message}); "
                "a script that uses workers starts its work under  if __name__ == '__main__':"
            )

    def read(self) -> None:
        """Copy what the board holds to the outcome."""
        done = np.asarray(self.pool.rows["state"] == DONE)
        done[list(self.outcome.failures)] = False
        self.outcome.values[done] = self.pool.rows["value"][done]
        self.outcome.done_mask[:] = done


def gone(pid: int) -> bool:
    """Whether no process has this id any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
