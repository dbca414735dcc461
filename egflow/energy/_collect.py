"""Values for one batch of a function that is not simply called: cached, decoded, item by item, or in workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from egflow.energy._cache import item_keys, look_up, store
from egflow.energy._decode import decoded
from egflow.energy._errors import EnergyError
from egflow.energy._run import Items, Outcome, run_span, write
from egflow.energy._tally import Tally

if TYPE_CHECKING:
    from egflow.energy._callable import CallableEnergy


def collect(
    energy: CallableEnergy, x: Tensor, condition: Tensor | None, cache: Path | None, tally: Tally | None
) -> Tensor:
    """Energies (batch,) float64 on the CPU; what is in the cache, or stands twice in the batch, is not run again."""
    condition = condition if energy.call.conditional else None
    if cache is None:
        values = np.empty(x.shape[0])
        run(energy, x, condition, np.arange(x.shape[0]), values, tally, None)
        return torch.from_numpy(values)
    keys = item_keys(energy.identity(), x, condition)
    found = look_up(cache, keys)
    first: dict[bytes, int] = {}
    for index, key in enumerate(keys):
        if key not in found:
            first.setdefault(key, index)
    values = np.array([found.get(key, np.nan) for key in keys])
    todo = np.fromiter(first.values(), dtype=np.int64, count=len(first))
    if len(todo):
        run(energy, x, condition, todo, values, tally, Saver(cache, keys))
        values = np.array([found[key] if key in found else values[first[key]] for key in keys])
    if tally is not None:
        again = np.ones(x.shape[0], dtype=bool)
        again[todo] = False
        tally.cached |= again
        if tally.failed.any():  # an item equal to one that failed has failed too
            lost = {keys[index] for index in np.flatnonzero(tally.failed)}
            tally.failed |= np.array([key in lost for key in keys])
    return torch.from_numpy(values)


class Saver:
    """Stores what is done and was not stored yet, so that a run that ends early keeps what it paid for."""

    def __init__(self, folder: Path, keys: list[bytes]):
        self.folder, self.keys = folder, keys
        self.saved: np.ndarray | None = None

    def save(self, outcome: Outcome) -> None:
        saved = np.zeros_like(outcome.done_mask) if self.saved is None else self.saved
        new = np.flatnonzero(outcome.done_mask & ~saved)
        store(self.folder, [(self.keys[outcome.batch_index[i]], float(outcome.values[i])) for i in new])
        self.saved = outcome.done_mask.copy()


def run(
    energy: CallableEnergy,
    x: Tensor,
    condition: Tensor | None,
    todo: np.ndarray,
    values: np.ndarray,
    tally: Tally | None,
    saver: Saver | None,
) -> None:
    """Run the energy on the rows todo of x and write their values."""
    name = energy.call.name
    rows = torch.from_numpy(todo).to(x.device)
    items: Items = x if len(todo) == x.shape[0] else x[rows]
    if energy.on is not None and energy.decode is None:
        raise EnergyError(f"energy {name} works on {energy.on!r} objects, and no decoder of that name was bound to it")
    if energy.decode is not None:
        items = decoded(energy.decode, items, name)
    if energy.decode is not None and not isinstance(items, Tensor):
        legible = np.array([item is not None for item in items])
        values[todo[~legible]] = np.inf
        items = [item for item in items if item is not None]
        todo = todo[legible]
        rows = rows[torch.from_numpy(legible).to(rows.device)]
        if not len(todo):
            return
    if condition is not None:
        condition = condition[rows.to(condition.device)]

    def tick(outcome: Outcome) -> None:
        if saver is not None:
            saver.save(outcome)
        if tally is not None and tally.advance is not None:
            tally.advance(x.shape[0] - len(todo) + int(outcome.done_mask.sum()) + len(outcome.failures))

    outcome = Outcome(name, todo, energy.policy, tally.offset if tally else 0, tick)
    try:
        if energy.workers.count:
            from egflow.energy._workers import run_workers  # pebble and multiprocessing only where they are used

            run_workers(energy.call, items, condition, outcome, energy.workers)
        else:
            write(run_span(energy.call, items, condition, 0, len(todo)), outcome)
    finally:
        if saver is not None:
            saver.save(outcome)
    values[todo] = outcome.values
    if tally is not None:
        tally.called[todo] = True
        tally.failed[todo[list(outcome.failures)]] = True
        if outcome.failures and tally.failure is None:
            index = min(outcome.failures)
            tally.failure = f"item {int(todo[index]) + tally.offset}: {outcome.failures[index]}"
