"""Energies of a whole data set, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from egflow.energy._callable import CallableEnergy, as_energy
from egflow.energy._check import check_inputs, check_output, check_values, split_forbidden
from egflow.energy._errors import EnergyError, own_message
from egflow.energy._model import EnergyModel
from egflow.energy._run import first_failure
from egflow.energy._tally import TALLY, Tally
from egflow.energy._values import EnergyValues


def evaluate(
    energy: EnergyModel | Callable[..., Any],
    x: Tensor,
    condition: Tensor | None = None,
    *,
    batch_size: int = 65536,
    cache: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    allow_all_forbidden: bool = False,
    offset: int = 0,
) -> EnergyValues:
    """Energies of all items, with every check, without a graph, and with the energy's modules in eval mode.

    Batches are moved to the device of the energy's own parameters, where it has any.

    Args:
        energy: an `EnergyModel`, or a function (batch, *event) -> (batch,).
        x: (N, *event).
        condition: (N, …) or None.
        batch_size: items in one call of `energy`.
        cache: folder of a persistent cache for the energies made by `as_energy` that have none of their own.
        progress: told (items done, N), at least after every batch.
        offset: added to the indices that messages name, where x is a part of something.
        allow_all_forbidden: for generated samples, where a batch without one allowed item is a finding, not a mistake.

    Returns:
        `EnergyValues` (N,) in float64 on the CPU.

    Raises:
        EnergyError: where the energy fails (with its own message and the item's index), returns another shape than
            (batch,), another dtype than a float, NaN or −inf; or where every item is forbidden.
        TypeError, ValueError: where x or condition is not what it must be.

    Example:
        >>> evaluate(lambda x: x.square().sum(-1), torch.tensor([[3.0, 4.0], [0.0, 1.0]])).values
        tensor([25.,  1.], dtype=torch.float64)
    """
    check_inputs(x, condition)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}; give a number of items from 1")
    energy = energy if isinstance(energy, EnergyModel) else as_energy(energy)
    if cache is not None and not any(isinstance(part, CallableEnergy) for part in energy.modules()):
        energy = as_energy(energy, cache=cache)
    name, total = energy.describe(), x.shape[0]
    device = next((part.device for part in chain(energy.parameters(), energy.buffers())), x.device)
    pieces: list[Tensor] = []
    calls = failed = cached = 0
    failure: str | None = None
    with torch.no_grad(), eval_mode(energy):
        for lo in range(0, total, batch_size):
            hi = min(lo + batch_size, total)
            tally = Tally(hi - lo, lo + offset, None if cache is None else Path(cache), within(progress, lo, total))
            part = None if condition is None else condition[lo:hi].to(device)
            pieces.append(run_batch(energy, x[lo:hi].to(device), part, tally, name))
            calls += int((tally.called | ~tally.cached).sum())
            cached += int((tally.cached & ~tally.called).sum())
            failed += int(tally.failed.sum())
            failure = failure or tally.failure
            if progress is not None:
                progress(hi, total)
    values, forbidden = split_forbidden(torch.cat(pieces))
    if bool(forbidden.all()) and not allow_all_forbidden:
        why = f"; it failed for {failed} of them, first {failure}" if failed else ""
        raise EnergyError(f"energy {name} forbids all {total} items (+inf){why}: nothing is left to learn from")
    return EnergyValues(values, forbidden, calls, failed, cached, failure)


def run_batch(energy: EnergyModel, x: Tensor, condition: Tensor | None, tally: Tally, name: str) -> Tensor:
    """Checked energies (batch,) of one batch in float64 on the CPU."""
    token = TALLY.set(tally)
    try:
        value = energy(x, condition)
    except EnergyError:
        raise
    except Exception as error:  # a user's own EnergyModel is foreign code: its own message goes to the user
        TALLY.set(None)
        index = first_failure(energy, x, condition, 0, x.shape[0])
        place = None if index is None else index + tally.offset
        where = f"on a batch of {x.shape[0]}" if place is None else f"for item {place}"
        raise EnergyError(f"energy {name} failed {where}: {own_message(error)}", place) from error
    finally:
        TALLY.reset(token)
    value = check_output(value, x.shape[0], name).detach().to("cpu", torch.float64)
    check_values(value, name, tally.offset)
    return value


def within(progress: Callable[[int, int], None] | None, lo: int, total: int) -> Callable[[int], None] | None:
    return None if progress is None else lambda done: progress(lo + done, total)


@contextmanager
def eval_mode(energy: EnergyModel) -> Iterator[None]:
    """Dropout and batch statistics have no place in an energy; every module gets its own mode back."""
    training = [module for module in energy.modules() if module.training]
    energy.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
