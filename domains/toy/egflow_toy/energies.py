"""Energies of the toy sets, as functions of x alone, so that they score generated points as well as data.

The classic energies are E = −e with the e of CEP's code (arXiv 2304.12824): the label of the component, ring, arc or
blade a point came from. Here the label is that of the nearest one. `linear` and `quadratic` tilt a Gaussian into a
Gaussian (`gaussian_tilt`). All take x of shape (batch, 2) and return (batch,), finite everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from egflow._kinds import as_number, shown
from egflow.energy import EnergyModel
from egflow_toy.densities import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN, MIXTURE_CENTRES, RING_RADII

RING_VALUES = (0.0, 1.0, 1 / 3, 2 / 3)
LINEAR_SLOPE = (1.0, 0.5)
QUADRATIC_CENTRE = (0.0, 0.0)


def nearest_centre(x: Tensor) -> Tensor:
    """(batch,) long: which of the 8 centres is nearest."""
    return torch.cdist(x, MIXTURE_CENTRES.to(x)).argmin(dim=1)


def nearest_ring(x: Tensor) -> Tensor:
    """(batch,) long: which of the four rings is nearest, 0 the innermost."""
    return (x.norm(dim=1, keepdim=True) - torch.tensor(RING_RADII).to(x)).abs().argmin(dim=1)


def nearest_moon(x: Tensor) -> Tensor:
    """(batch,) long: 0 for the upper arc, 1 for the lower."""
    upper = _half_circle_distance(x - x.new_tensor([-1.0, -0.2]))
    lower = _half_circle_distance(x.new_tensor([1.0, 0.8]) - x)
    return (lower < upper).long()


def _half_circle_distance(x: Tensor) -> Tensor:
    """Distance to the upper half of the circle of radius 2 around the origin."""
    to_circle = (x.norm(dim=1) - 2).abs()
    to_ends = torch.stack([x[:, 0].abs() - 2, x[:, 1]], dim=1).norm(dim=1)
    return torch.where(x[:, 1] >= 0, to_circle, to_ends)


def nearest_blade(x: Tensor) -> Tensor:
    """(batch,) long: which of the five blades of the pinwheel is nearest, at the point's own radius."""
    twist = 0.25 * (x.norm(dim=1) / 2).clamp(max=2.5).exp()  # data end at 2.5; beyond, the blades go on straight
    angle = torch.atan2(-x[:, 1], x[:, 0]) - twist
    return (angle * 5 / (2 * math.pi)).round().long() % 5


def spiral_arc(x: Tensor) -> Tensor:
    """(batch,) the arc parameter, in [0, 3π], of the nearest point of the nearer of the two spirals.

    Each winding that may be the nearest gives a start on the point's own ray; Gauss–Newton steps on the squared
    distance bring it to the foot of the perpendicular.
    """
    arcs, distances = [], []
    for arm in (1.0, -1.0):
        y = 3 * arm * x - 0.25  # .25 is the mean of the uniform jitter of the data
        radius, ray = y.norm(dim=1), math.pi - torch.atan2(y[:, 1], y[:, 0])  # ray in [0, 2π]
        winding = ((radius - ray) / (2 * math.pi)).floor()
        for shift in (0.0, 1.0):
            arc = (ray + 2 * math.pi * (winding + shift)).clamp(0, 3 * math.pi)
            for _ in range(4):
                cosine, sine = arc.cos(), arc.sin()
                gap_x, gap_y = -cosine * arc - y[:, 0], sine * arc - y[:, 1]
                slope_x, slope_y = sine * arc - cosine, cosine * arc + sine
                step = (gap_x * slope_x + gap_y * slope_y) / (1 + arc.square())
                arc = (arc - step.clamp(-0.5, 0.5)).clamp(0, 3 * math.pi)
            arcs.append(arc)
            distances.append((-arc.cos() * arc - y[:, 0]).square() + (arc.sin() * arc - y[:, 1]).square())
    best = torch.stack(distances).argmin(dim=0, keepdim=True)
    return torch.stack(arcs).gather(0, best)[0]


def _mixture(x: Tensor) -> Tensor:
    return -nearest_centre(x).to(x) / 7


def _swissroll(x: Tensor) -> Tensor:
    return -x.square().sum(dim=1) / 9


def _rings(x: Tensor) -> Tensor:
    return -torch.tensor(RING_VALUES).to(x)[nearest_ring(x)]


def _moons(x: Tensor) -> Tensor:
    return -nearest_moon(x).to(x)


def _spirals(x: Tensor) -> Tensor:
    return -(1 - spiral_arc(x) / 10).clamp(0, 1)


def _checkerboard(x: Tensor) -> Tensor:
    stripe = ((x[:, 0] > 0) & (x[:, 0] <= 2)) | (x[:, 0] <= -2)
    return -stripe.to(x)


def _pinwheel(x: Tensor) -> Tensor:
    return -nearest_blade(x).to(x) / 4


CLASSIC: dict[str, Callable[[Tensor], Tensor]] = {
    "8gaussians": _mixture,
    "swissroll": _swissroll,
    "rings": _rings,
    "moons": _moons,
    "2spirals": _spirals,
    "checkerboard": _checkerboard,
    "pinwheel": _pinwheel,
}
"""Set -> its classic energy as a plain function of points."""


class ClassicEnergy(EnergyModel):
    """The classic energy of a toy set: E(x) = −e(x), the e of CEP's toy experiments.

    Example:
        >>> ClassicEnergy("swissroll")(torch.tensor([[3.0, 0.0]]))
        tensor([-1.])
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    @property
    def differentiable(self) -> bool:
        return self.name in ("swissroll", "2spirals")  # the others are labels, constant between their borders

    def describe(self) -> str:
        return self.name

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return CLASSIC[self.name](x)


class Linear(EnergyModel):
    """E(x) = slope · x. It moves a Gaussian by −beta·Σ·slope and leaves its covariance.

    Example:
        >>> Linear((2.0, 0.0))(torch.tensor([[3.0, 1.0]]))
        tensor([6.])
    """

    def __init__(self, slope: Sequence[float] = LINEAR_SLOPE) -> None:
        super().__init__()
        self.slope = _pair("slope", slope)

    def describe(self) -> str:
        return f"linear(slope={list(self.slope)})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x @ x.new_tensor(self.slope)


class Quadratic(EnergyModel):
    """E(x) = ½·‖x − centre‖². It narrows a Gaussian: precision Σ⁻¹ + beta·I.

    Example:
        >>> Quadratic()(torch.tensor([[3.0, 1.0]]))
        tensor([5.])
    """

    def __init__(self, centre: Sequence[float] = QUADRATIC_CENTRE) -> None:
        super().__init__()
        self.centre = _pair("centre", centre)

    def describe(self) -> str:
        return f"quadratic(centre={list(self.centre)})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return 0.5 * (x - x.new_tensor(self.centre)).square().sum(dim=1)


def _pair(name: str, values: Sequence[float]) -> tuple[float, float]:
    try:
        first, second = (as_number(name, value) for value in values)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be two finite numbers, got {shown(values)}: write {name}=[1.0, 0.5]") from None
    return first, second


def gaussian_tilt(
    energy: Linear | Quadratic,
    beta: float,
    mean: Tensor = GAUSSIAN_MEAN,
    covariance: Tensor = GAUSSIAN_COVARIANCE,
) -> tuple[Tensor, Tensor]:
    """Mean and covariance of q ∝ N(mean, covariance)·exp(−beta·E), in float64.

    Linear: (μ − βΣa, Σ). Quadratic, with Λ = Σ⁻¹ + βI: (Λ⁻¹(Σ⁻¹μ + β·centre), Λ⁻¹); needs Λ positive definite.

    Raises:
        ValueError: for a beta so negative that q cannot be normalised.
    """
    mean, covariance = mean.double(), covariance.double()
    if isinstance(energy, Linear):
        return mean - beta * covariance @ mean.new_tensor(energy.slope), covariance
    precision = torch.linalg.inv(covariance)
    tilted = precision + beta * torch.eye(2, dtype=torch.float64)
    if torch.linalg.eigvalsh(tilted).min() <= 0:
        raise ValueError(f"beta={beta} makes exp(-beta·E) grow faster than the Gaussian falls: q has no normaliser")
    pull = precision @ mean + beta * mean.new_tensor(energy.centre)
    return torch.linalg.solve(tilted, pull), torch.linalg.inv(tilted)
