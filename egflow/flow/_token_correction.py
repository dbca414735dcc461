"""When samples of a flow of tokens are corrected, and when that is refused."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from egflow.solver import make_token_solver

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.flow._token_flow import TokenFlow


def corrects(
    flow: TokenFlow,
    condition: Tensor | int | None,
    solver: object,
    energy: EnergyModel | list[EnergyModel] | None,
    fixed: Tensor | None,
) -> bool:
    """Whether samples are corrected where nothing was said; says so where only the energy is missing."""
    if flow.path.likelihood != "exact" or flow.base is None or flow.beta is None:
        return False
    if flow.report is not None and flow.report.reference == "density":
        return False  # p is not the base then
    if energy is None and flow.report is not None and flow.report.method == "trajectory_balance":
        return False  # a search's calls are counted, and these would be many more
    if make_token_solver(solver, flow.path).inexact or (fixed is not None and fixed.ndim > 1):
        return False
    labels = None if condition is None else torch.as_tensor(condition)
    if labels is not None and labels.ndim > len(flow.condition_shape or ()) and len(labels.unique(dim=0)) > 1:
        return False  # rows of different conditions are not resampled across
    if flow.energy is None and energy is None:
        warnings.warn(
            "samples are not corrected: the energy is not at hand after loading; pass energy=, or correct=False",
            stacklevel=3,
        )
        return False
    return True


def check_correction(
    flow: TokenFlow, solver: object, energy: EnergyModel | list[EnergyModel] | None, fixed: Tensor | None
) -> None:
    """Whether samples can be corrected. Raises ValueError with the reason where not."""
    if flow.path.likelihood != "exact":
        raise ValueError(f"correct=True needs exact likelihoods, and path {flow.path.name!r} has none")
    if flow.base is None or flow.beta is None or (flow.energy is None and energy is None):
        raise ValueError("correct=True needs the base and the energy at hand: tilt, or load and give energy= again")
    if word := make_token_solver(solver, flow.path).inexact:
        raise ValueError(f"correct=True weighs samples of the flow itself, which the solver does not draw: {word}")
    if fixed is not None and fixed.ndim > 1:
        raise ValueError("correct=True resamples across rows: fixed must be one prefix for all, of shape (length,)")
