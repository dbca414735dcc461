"""Many processes as one: each does its share of every batch and of the energies, and all hold the same state.

All processes run the same program in step: they draw the same global batch from the same seeds, each takes its rows,
and the gradients are summed, so that the sum is that of one process (to the rounding of another order). Weights are
normalised over the global batch or the data before it is cut. `torchrun` starts the processes; the command line joins
them, a script of one's own calls ``torch.distributed.init_process_group``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from egflow.energy import EnergyError, EnergyModel, EnergyValues, evaluate

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those that work together: its rank, 0 for the one that writes, and how many there are."""

    rank: int = 0
    size: int = 1

    def rows(self, n: int) -> slice:
        """This process's share of n rows."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in place."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([one.reshape(-1) for one in tensors])
        dist.all_reduce(flat)
        for one, part in zip(tensors, flat.split([one.numel() for one in tensors]), strict=True):
            one.copy_(part.view_as(one))

    def share(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by the first process's, in place."""
        if self.size > 1:
            with torch.no_grad():
                for one in tensors:
                    dist.broadcast(one.data, 0)

    def largest(self, number: int, device: torch.device) -> int:
        """The largest of a whole number over the processes."""
        if self.size == 1:
            return number
        value = torch.tensor(number, device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def wait(self) -> None:
        """Wait until all have come here."""
        if self.size > 1:
            dist.barrier()

    def first(self, work: Callable[[], Result]) -> Result:
        """What the first process makes of some work, everywhere; what it raises, too."""
        if self.size == 1:
            return work()
        found: list[Any] = [None, None]
        if self.rank == 0:
            try:
                found[0] = work()
            except Exception as error:  # any, for the others would wait for ever
                found[1] = error
        dist.broadcast_object_list(found)
        if found[1] is not None:
            raise _everywhere(found[1])
        return found[0]

    def gather(self, work: Callable[[], Result]) -> list[Result]:
        """What each process makes of its own work, by rank, everywhere; the first failure is raised by all."""
        if self.size == 1:
            return [work()]
        own: tuple[Any, Exception | None]
        try:
            own = work(), None
        except Exception as error:
            own = None, error
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, own)
        for _, error in found:
            if error is not None:
                raise _everywhere(error)
        return [value for value, _ in found]


def _everywhere(error: Exception) -> Exception:
    error.everywhere = True  # type: ignore[attr-defined]  # so that one process alone tells it
    return error


def group() -> Group:
    """The processes that work together now; one where ``torch.distributed`` was not set up."""
    if dist.is_available() and dist.is_initialized():
        return Group(dist.get_rank(), dist.get_world_size())
    return Group()


def join_group(device: torch.device) -> torch.device:
    """Join the processes that ``torchrun`` started, if it did; returns the device of this one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        # no energy is too slow to wait for; a process that dies is torchrun's to notice
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=30))
    return device


def evaluate_together(
    energy: EnergyModel,
    x: Tensor,
    condition: Tensor | None = None,
    *,
    allow_all_forbidden: bool = False,
    **options: Any,
) -> EnergyValues:
    """`egflow.energy.evaluate`, each process asking about its share of the rows, none about another's."""
    alone = group()
    if alone.size == 1:
        return evaluate(energy, x, condition, allow_all_forbidden=allow_all_forbidden, **options)
    rows = alone.rows(len(x))

    def share() -> EnergyValues | None:
        if rows.start == rows.stop:
            return None
        part = None if condition is None else condition[rows]
        return evaluate(energy, x[rows], part, allow_all_forbidden=True, offset=rows.start, **options)

    found = [one for one in alone.gather(share) if one is not None]
    values = EnergyValues(
        torch.cat([one.values for one in found]),
        torch.cat([one.forbidden for one in found]),
        calls=sum(one.calls for one in found),
        failed=sum(one.failed for one in found),
        cached=sum(one.cached for one in found),
        failure=next((one.failure for one in found if one.failure), None),
    )
    if not allow_all_forbidden and bool(values.forbidden.all()):
        name = energy.describe()
        raise EnergyError(f"energy {name} forbids all {len(x)} items (+inf): nothing is left to learn from")
    return values
