"""Energies after the checks: finite values and the forbidden mask, apart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from egflow.energy._check import check_output, check_values, split_forbidden


@dataclass(frozen=True, slots=True, eq=False)
class EnergyValues:
    """Checked energies of N items, and what it took to get them.

    Attributes:
        values: (N,) float64 on the CPU, finite; 0 where forbidden.
        forbidden: (N,) bool, where E = +inf.
        calls: items for which the energy was run (the others came from a cache).
        failed: items forbidden because the energy failed on them (``on_failure="forbid"``).
        cached: items that came from a cache, or repeated another item of the same batch when one is kept.
        failure: the first failed item's index and message, or None.
    """

    values: Tensor
    forbidden: Tensor
    calls: int = 0
    failed: int = 0
    cached: int = 0
    failure: str | None = None

    @property
    def energy(self) -> Tensor:
        """(N,) float64 with +inf where forbidden."""
        return self.values.masked_fill(self.forbidden, torch.inf)

    def __len__(self) -> int:
        return self.values.shape[0]

    @classmethod
    def from_tensor(cls, energy: Tensor) -> EnergyValues:
        """From plain energies (N,) of any float dtype, +inf = forbidden; `calls` is 0.

        Raises:
            EnergyError: for a wrong shape or dtype, NaN or −inf.

        Example:
            >>> EnergyValues.from_tensor(torch.tensor([1.0, torch.inf])).forbidden
            tensor([False,  True])
        """
        batch = energy.shape[0] if isinstance(energy, Tensor) and energy.ndim else 1
        energy = check_output(energy, batch, "values").detach().cpu()
        check_values(energy, "values")
        values, forbidden = split_forbidden(energy)
        return cls(values, forbidden)

    def at(self, index: Tensor) -> EnergyValues:
        """The energies at index (long or bool, (n,)); the counts stay those of the whole evaluation."""
        return replace(self, values=self.values[index], forbidden=self.forbidden[index])
