"""Several energies, one vector of betas: the tilt by Σ_k beta_k E_k at beta 1, and each energy beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from egflow.energy import EnergyValues
from egflow.report._compare import Comparison, Reference, compare


def weighted_sum(parts: Sequence[EnergyValues], beta: Sequence[float]) -> EnergyValues:
    """Σ_k beta_k E_k of N items, forbidden where any of them is, also at beta 0.

    Example:
        >>> a = EnergyValues.from_tensor(torch.tensor([1.0, 2.0]))
        >>> weighted_sum([a, a], [2.0, -1.0]).values.tolist()
        [1.0, 2.0]
    """
    forbidden = torch.stack([part.forbidden for part in parts]).any(0)
    values = sum((b * part.values for b, part in zip(beta, parts, strict=True)), torch.zeros_like(parts[0].values))
    return EnergyValues(
        values.masked_fill(forbidden, 0.0),
        forbidden,
        calls=sum(part.calls for part in parts),
        failed=sum(part.failed for part in parts),
        cached=sum(part.cached for part in parts),
        failure=next((part.failure for part in parts if part.failure), None),
    )


def each_energy(held: Reference, parts: Sequence[EnergyValues], made: Sequence[EnergyValues]) -> list[Comparison]:
    """The comparison of every energy by itself, over the points that all of them allow.

    Args:
        held: the reference points, with the energies and weights of the sum.
        parts: energies of the reference points, one entry an energy.
        made: those of the samples.
    """
    allowed = torch.stack([part.forbidden for part in made]).any(0)
    return [
        compare(replace(held, energies=own), None, replace(got, forbidden=allowed))
        for own, got in zip(parts, made, strict=True)
    ]


def blocks(names: Sequence[str], found: Sequence[Comparison], trusted: bool) -> list[dict[str, Any]]:
    """The entries of `each_energy` in report.json: the energy's name, means, KS and W1."""
    return [{"energy": name, **one.energies(trusted)} for name, one in zip(names, found, strict=True)]
