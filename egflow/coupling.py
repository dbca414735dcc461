"""Couplings: which x_0 goes with which x_1. A coupling returns indices, so that labels and energies travel along."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Coupling(Protocol):
    """Pairs the rows of two equally weighted batches."""

    def __call__(self, x_0: Tensor, x_1: Tensor) -> Tensor:
        """x_0, x_1 (batch, *event) -> (batch,) long: x_0[index[i]] goes with x_1[i]."""
        ...


def independent(x_0: Tensor, x_1: Tensor) -> Tensor:
    """x_0 and x_1 independent: the pairs as drawn."""
    return torch.arange(len(x_1), device=x_1.device)


def optimal_transport(x_0: Tensor, x_1: Tensor) -> Tensor:
    """The exact minibatch optimal transport plan for squared distance (Tong et al. 2024, arXiv 2302.00482).

    Straightens the paths. Both batches must be equally weighted (draws ∝ w are), and all rows must share one
    condition and one beta: otherwise x_0 would depend on them and sampling from N(0, I) would be biased.

    Args:
        x_0, x_1: (batch, *event).

    Returns:
        (batch,) long, a permutation.
    """
    import ot  # imported on use: POT takes longer to import than egflow

    cost = torch.cdist(x_0.flatten(1).double(), x_1.flatten(1).double()).square().cpu().numpy()
    mass = ot.unif(len(x_0))
    plan = ot.emd(mass, mass, cost)
    return torch.from_numpy(plan.argmax(axis=0)).to(x_1.device)


COUPLINGS: dict[str, Coupling] = {"independent": independent, "ot": optimal_transport}


def make_coupling(coupling: str | Coupling, *, weights: str = "resample", differ: str = "") -> Coupling:
    """A coupling by its name, or as given.

    Args:
        coupling: "independent", "ot", or a function of one's own.
        weights: how x_1 is drawn; "ot" needs equally weighted draws.
        differ: what rows differ in ("condition", "beta"), or nothing; "ot" is refused where they do.

    Raises:
        ValueError: for an unknown name, or for "ot" where it would bias the samples.
    """
    if isinstance(coupling, str):
        if coupling not in COUPLINGS:
            raise ValueError(f"coupling must be one of {', '.join(COUPLINGS)}, got {coupling!r}")
        chosen = COUPLINGS[coupling]
    else:
        chosen = coupling
    if chosen is optimal_transport and differ:
        raise ValueError(
            f"coupling='ot' is refused where rows differ in {differ}: x_0 would depend on it and samples would be "
            "biased; use coupling='independent'"
        )
    if chosen is optimal_transport and weights != "resample":
        raise ValueError(f"coupling='ot' needs equally weighted draws: weights='resample', got {weights!r}")
    return chosen
