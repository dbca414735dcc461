"""Energy-weighted objectives (arXiv 2503.04975, theorems 3.3 and 3.5), per sample and before weighting.

    CEFM   L = E[ w(x_1) ‖ v_θ(x_t, t) − u_t(x_t | x_1) ‖² ] / E[w]       minimiser: the velocity of q ∝ p·exp(−beta·E)
    CED    L = E[ w(x_1) ‖ ε_θ(x_t, t) − x_0 ‖² ] / E[w]                  the same on the VP path, in noise

Each returns the mean over the event's dimensions, shape (batch,).
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from egflow.path import Path, PathSample, Prediction


class Objective(Protocol):
    """The squared error of one prediction, per sample."""

    def __call__(self, path: Path, value: Tensor, have: Prediction, point: PathSample) -> Tensor:
        """The network's value (batch, *event), a prediction of kind ``have`` at the points -> loss (batch,)."""
        ...


def cefm(path: Path, value: Tensor, have: Prediction, point: PathSample) -> Tensor:
    """‖v_θ − u_t‖² / dimensions, the velocity objective."""
    return (path.convert(value, point.x_t, point.t, have, "velocity") - point.u_t).square().flatten(1).mean(1)


def ced(path: Path, value: Tensor, have: Prediction, point: PathSample) -> Tensor:
    """‖ε_θ − x_0‖² / dimensions, the noise objective."""
    return (path.convert(value, point.x_t, point.t, have, "noise") - point.x_0).square().flatten(1).mean(1)


METHODS: dict[str, Objective] = {"cefm": cefm, "ced": ced}
