"""A base flow whose velocity is changed at sampling, and what it costs.

On a Gaussian path the velocity is linear in the score_fn and in the predicted x_1 (see `egflow.path`), so a change of
either is a change of the velocity:

    Δv = (alpha' sigma² / alpha − sigma' sigma) Δ∇log p_t = (alpha' − sigma' alpha / sigma) Δx̂_1

The factors are unbounded at t = 0 and t = 1, where what they multiply vanishes; a learned or sampled guidance does not
quite, so times are kept within [.01, .999] in the guidance, never in the base.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from egflow.energy import EnergyModel
from egflow.flow import Flow
from egflow.path import Path, Prediction
from egflow.solver import Solution, Solver

T_LOW, T_HIGH = 1e-2, 1 - 1e-3


class Sampler(Protocol):
    """What every way of guiding gives: samples, and samples with the solver's statistics."""

    def sample(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Tensor: ...

    def solve(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Solution: ...


def guided_flow(base: Flow, network: nn.Module, energy: EnergyModel, beta: float) -> Flow:
    """The flow of a network that returns the guided velocity in the base's preprocessed coordinates."""
    flow = Flow(network, base.event_shape, path=base.path, prediction="velocity")
    flow.shift, flow.scale = base.shift, base.scale
    flow.condition_shape, flow.num_classes = base.condition_shape, base.num_classes
    flow.base, flow.energy, flow.beta = base, energy, float(beta)
    return flow


def check_guided_base(base: Flow) -> None:
    """A base that a velocity can be taken from and changed. Raises ValueError otherwise."""
    if not isinstance(getattr(base, "path", None), Path):
        raise ValueError(f"base must be a flow on a Gaussian path, got {base!r}: guidance changes its velocity")
    if getattr(base, "beta_range", None) is not None:
        raise ValueError("base was trained over a range of beta: fix one with base.at(beta)")


def base_velocity(base: Flow, z: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
    """The base's velocity in preprocessed coordinates: z (batch, *event), t (batch,) -> (batch, *event)."""
    return base._velocity(z, t, condition)  # in every stage of a solve: what was asked is checked once, before it


def inside(t: Tensor) -> Tensor:
    """Times at which the guidance is taken."""
    return t.clamp(T_LOW, T_HIGH)


def change_of_velocity(path: Path, change: Tensor, t: Tensor, of: Prediction) -> Tensor:
    """Δv for a change (batch, *event) of another prediction, "score_fn" or "x_1", at t (batch,) inside (0, 1)."""
    return path.convert(change, torch.zeros_like(change), t, of, "velocity")


def network_passes(sampler: Sampler, solution: Solution) -> Tensor:
    """Network passes spent on each sample of a solve, (batch,) long; a backward pass counts as one more.

    Example:
        >>> flow = Flow(lambda z, t, condition, beta=None: torch.zeros_like(z), (2,))
        >>> solution = flow.solve(3, solver="euler:10")
        >>> network_passes(flow, solution).tolist()
        [10, 10, 10]
    """
    return solution.nfe * int(getattr(getattr(sampler, "network", None), "passes", 1))
