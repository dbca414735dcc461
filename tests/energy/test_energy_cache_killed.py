"""The cache under SIGKILL: writers killed at random moments, one beside another; what is left opens and is whole."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import energy_functions
import torch

from egflow.energy import as_energy, evaluate
from egflow.energy._pool import start_method


def test_writers_killed_twenty_times(tmp_path: Path) -> None:
    """Two write at once. One of them is killed at a random moment and another takes its place, 20 times."""
    context = multiprocessing.get_context(start_method())
    if start_method() == "forkserver":
        context.set_forkserver_preload(["egflow.energy._worker_task"])  # torch is imported once
    rng, before, writers = random.Random(0), 0, []
    try:
        for seed in range(21):
            on = context.Event()
            writers.append(context.Process(target=energy_functions.writes_for_ever, args=(tmp_path, seed, on)))
            writers[-1].start()
            assert on.wait(60), "the writer is writing"
            if seed == 0:
                continue
            time.sleep(rng.uniform(0.0, 0.2))
            killed = writers.pop(0)
            assert killed.is_alive()
            killed.kill()
            killed.join()
            rows = whole_rows(tmp_path)
            assert rows >= before, "nothing that was there is gone"
            before = rows
    finally:
        for writer in writers:
            writer.kill()
            writer.join()
    assert before > 1000
    energy, x = as_energy(energy_functions.total, batch=False, cache=tmp_path, version=1), torch.arange(50.0)[:, None]
    assert (evaluate(energy, x).calls, evaluate(energy, x).cached) == (50, 50), "and it goes on being used"


def whole_rows(folder: Path) -> int:
    """How many values the store holds, each of them right."""
    with closing(sqlite3.connect(folder / "energies.sqlite", timeout=60)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT key, value FROM energy").fetchall()
    assert all(value == int.from_bytes(key, "big") / 7 for key, value in rows)
    return len(rows)
