"""Workers on a Ray cluster: one actor each, which sends what happens item by item.

The board is in this process. A thread for each actor writes on it what the actor sends, so that time limits are counted
here, by one clock, and whatever ends an actor leaves behind which item it was at. The energy travels by Ray's own
pickle (cloudpickle): by name where its module can be imported there, by value where it is from ``file.py`` or a script.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Collection, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import replace
from queue import SimpleQueue
from threading import Lock, Thread, current_thread, main_thread
from typing import Any

import numpy as np
import ray
import ray.cloudpickle
import torch
from pebble import ProcessExpired
from ray.exceptions import RayActorError, RayTaskError

from egflow.energy._errors import EnergyError
from egflow.energy._files import loaded_files
from egflow.energy._run import Call, Event, Failed, write
from egflow.energy._worker_task import BOARD, LETTERS, Chunk, ChunkBoard, Spent, Stop, Worker

MOST_TRIES = 3  # to start an actor, before the energy is told to be no good
PAUSE = 1.0  # seconds before the next

cloudpickle: Any = ray.cloudpickle  # untyped


class Actor:
    """A worker process of the cluster."""

    def __init__(self, folders: list[str]):
        sys.path.extend(folder for folder in folders if folder not in sys.path)  # as in a worker of this machine
        torch.set_num_threads(1)
        self.worker: Worker | None = None

    def ready(self) -> None:
        """Answers once the process is up."""

    def run(self, code: bytes, memory_limit: float | None, payload: bytes) -> Iterator[Event]:
        """Run a chunk; events are sent as they happen."""
        if self.worker is None:
            self.worker = Worker.of(cloudpickle.loads(code), memory_limit)  # of our own driver, as all of an actor
        for event in self.worker.events(payload):
            yield replace(event, error=None) if isinstance(event, Failed) else event


class Task(Future[None]):
    """A chunk. To cancel it is to kill its actor."""

    def __init__(self, chunk: Chunk):
        super().__init__()
        self.chunk = chunk
        self.actor: Any = None
        self.killed = False
        self.lock = Lock()  # for an actor that is done may be at another's chunk

    def cancel(self) -> bool:
        with self.lock:
            if self.done():
                return False
            self.killed = True
            ray.kill(self.actor)
        return True


class RayWorkers:
    """Actors on the cluster that ``ray.init`` finds, or on one of this machine that is started here."""

    def __init__(self, call: Call, count: int, memory_limit: float | None, total: int):
        connect()
        self.arguments = (travelling(call), memory_limit)
        self.rows, self.messages = np.zeros(total, BOARD), np.zeros(total, f"S{LETTERS}")
        self.tasks: SimpleQueue[Task | None] = SimpleQueue()
        self.actors: dict[int, Any] = {}
        self.closed = False
        self.threads = [Thread(target=self.drive, args=(number,), daemon=True) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def submit(self, chunk: Chunk) -> Future[None]:
        self.tasks.put(task := Task(chunk))
        return task

    def drive(self, number: int) -> None:
        """Have chunks run by an actor, and by another one where it has ended."""
        remote: Any = ray.remote(num_cpus=1, max_restarts=0)
        tries = 0
        while not self.closed:
            try:
                actor = self.actors[number] = remote(Actor).remote(sys.path)
                if self.closed:  # since; close may not have seen this actor
                    ray.kill(actor)
                    return
                ray.get(actor.ready.remote())  # no chunk waits for an actor that the cluster has no room for yet
            except Exception as error:  # Ray's own, or that of a lost connection: a chunk must hear of it
                tries += 1
                if tries > MOST_TRIES and not self.closed and (task := self.tasks.get()) is not None:
                    task.set_exception(RuntimeError(f"Ray starts no actor: {' '.join(str(error).split())}"))
                time.sleep(PAUSE)
                continue
            tries = 0
            while (task := self.tasks.get()) is not None and self.done(task, actor):
                pass

    def done(self, task: Task, actor: Any) -> bool:
        """Run a chunk; whether the actor can take another."""
        task.actor = actor
        try:
            # the next event is sent once this one is read: a worker that is killed has told which item it was at
            how = actor.run.options(num_returns="streaming", _generator_backpressure_num_objects=1)
            stream = how.remote(*self.arguments, task.chunk.payload)
            write((ray.get(event) for event in stream), ChunkBoard(self.rows, self.messages, task.chunk))
        except Stop:
            pass
        except Exception as error:  # as above, or an event that cannot be read
            if isinstance(found := ended(error, task), Spent):
                ray.kill(actor)
                task.set_result(None)
            else:
                task.set_exception(found)
            return False
        with task.lock:
            task.set_result(None)
            return not task.killed

    def stalled(self, under_way: Collection[Future[None]]) -> bool:
        """Never: a cluster without room may have some later."""
        return False

    def restart(self) -> None:
        """Nothing: actors are replaced one by one."""

    def close(self) -> None:
        self.closed = True
        for _ in self.threads:
            self.tasks.put(None)
        for actor in list(self.actors.values()):
            with suppress(Exception):  # a cluster that is lost has ended them
                ray.kill(actor)
        for thread in self.threads:
            thread.join()


def ended(error: Exception, task: Task) -> BaseException:
    """What became of a chunk, as `Pool.submit` says it."""
    if isinstance(error, RayTaskError):
        return error.cause
    if isinstance(error, RayActorError):
        return CancelledError() if task.killed else ProcessExpired("its actor ended")
    return error


def connect() -> None:
    """Connect to Ray where this process is not yet; SIGTERM stays what it was."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # to send them is for the user to choose
    before = signal.getsignal(signal.SIGTERM)
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    if current_thread() is main_thread():
        signal.signal(signal.SIGTERM, before)


def travelling(call: Call) -> bytes:
    """The call as a pickle of Ray's, what comes from ``file.py`` by value."""
    modules = [sys.modules[name] for name in loaded_files()]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(call)
    except Exception as error:  # pickling runs foreign code
        raise EnergyError(f"energy {call.name} cannot be sent to Ray ({error})") from error
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)
