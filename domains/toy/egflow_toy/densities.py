"""The classic two-dimensional densities, each drawn in one vectorised go.

Shapes and scales are those of the toy data of FFJORD (arXiv 1810.01367), as CEP (contrastive energy prediction, arXiv
2304.12824) uses them for energy guidance, so that figures compare. `gaussian` is ours: all about it is closed form.
Points are float32 of shape (n, 2), and are a function of (n, seed).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Generator, Tensor

from egflow._kinds import shown
from egflow_toy._log_density import (
    checkerboard_log_prob,
    moons_log_prob,
    rings_log_prob,
    spirals_log_prob,
    swissroll_log_prob,
)

Draw = Callable[[int, Generator], Tensor]

_DIAGONAL = 1 / math.sqrt(2)
MIXTURE_CENTRES = (4 / 1.414) * torch.tensor(
    [
        (1.0, 0.0),
        (-1.0, 0.0),
        (0.0, 1.0),
        (0.0, -1.0),
        (_DIAGONAL, _DIAGONAL),
        (_DIAGONAL, -_DIAGONAL),
        (-_DIAGONAL, _DIAGONAL),
        (-_DIAGONAL, -_DIAGONAL),
    ]
)
"""(8, 2) centres of 8gaussians, in the order that its energy counts them."""
MIXTURE_STD = 0.5 / 1.414
RING_RADII = (0.75, 1.5, 2.25, 3.0)
RING_STD = 0.08
GAUSSIAN_MEAN = torch.tensor([1.0, -0.5])
GAUSSIAN_COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 1.5]])


@dataclass(frozen=True, slots=True)
class Density:
    """A density to draw from.

    Attributes:
        name: what ``data=`` says.
        draw: (n, generator) -> (n, 2) points.
        log_prob: (batch, 2) -> (batch,) natural log of the density, exact or by quadrature to float64's precision; None
            for the pinwheel, whose twist has no inverse.
    """

    name: str
    draw: Draw
    log_prob: Callable[[Tensor], Tensor] | None = None

    def sample(self, n: int, seed: int = 0) -> Tensor:
        """Draw (n, 2) float32 points, a function of n and the seed.

        Example:
            >>> density("rings").sample(3, seed=1).shape
            torch.Size([3, 2])
        """
        return self.draw(n, torch.Generator().manual_seed(seed)).float()


def density(name: str) -> Density:
    """The density of that name. Raises ValueError that names the nearest one."""
    if not isinstance(name, str):
        raise ValueError(f"data={shown(name)} is no name of a toy density; there are: {', '.join(DENSITIES)}")
    if name in DENSITIES:
        return DENSITIES[name]
    near = get_close_matches(name, DENSITIES, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"data={name} is not a toy density.{hint} There are: {', '.join(DENSITIES)}.")


def _normal(n: int, generator: Generator) -> Tensor:
    return torch.randn(n, 2, generator=generator)


def _uniform(n: int, generator: Generator) -> Tensor:
    return torch.rand(n, generator=generator)


def _mixture(n: int, generator: Generator) -> Tensor:
    component = torch.randint(8, (n,), generator=generator)
    return MIXTURE_CENTRES[component] + MIXTURE_STD * _normal(n, generator)


def mixture_log_prob(x: Tensor) -> Tensor:
    """log density of 8gaussians at (batch, 2) points: log(1/8 · Σ_k N(x; centre_k, std²·I))."""
    centres = MIXTURE_CENTRES.to(x)
    squared = (x[:, None] - centres).square().sum(-1)
    log_normal = -squared / (2 * MIXTURE_STD**2) - math.log(2 * math.pi * MIXTURE_STD**2)
    return torch.logsumexp(log_normal, dim=1) - math.log(8)


def _swissroll(n: int, generator: Generator) -> Tensor:
    angle = 1.5 * math.pi * (1 + 2 * _uniform(n, generator))
    roll = torch.stack([angle * angle.cos(), angle * angle.sin()], dim=1)
    return (roll + _normal(n, generator)) / 5


def _rings(n: int, generator: Generator) -> Tensor:
    radius = torch.tensor(RING_RADII)[torch.randint(4, (n,), generator=generator)]
    angle = 2 * math.pi * _uniform(n, generator)
    circle = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    return circle + RING_STD * _normal(n, generator)


def _moons(n: int, generator: Generator) -> Tensor:
    lower = torch.randint(2, (n,), generator=generator).bool()
    angle = math.pi * _uniform(n, generator)
    x = torch.where(lower, 1 - angle.cos(), angle.cos())
    y = torch.where(lower, 0.5 - angle.sin(), angle.sin())
    noisy = torch.stack([x, y], dim=1) + 0.1 * _normal(n, generator)
    return 2 * noisy + torch.tensor([-1.0, -0.2])


def _spirals(n: int, generator: Generator) -> Tensor:
    arc = 3 * math.pi * _uniform(n, generator).sqrt()
    x = -arc.cos() * arc + 0.5 * _uniform(n, generator)
    y = arc.sin() * arc + 0.5 * _uniform(n, generator)
    arm = 1 - 2 * torch.randint(2, (n, 1), generator=generator)
    return arm * torch.stack([x, y], dim=1) / 3 + 0.1 * _normal(n, generator)


def _checkerboard(n: int, generator: Generator) -> Tensor:
    x = 4 * _uniform(n, generator) - 2
    y = _uniform(n, generator) - 2 * torch.randint(2, (n,), generator=generator) + x.floor() % 2
    return 2 * torch.stack([x, y], dim=1)


def _pinwheel(n: int, generator: Generator) -> Tensor:
    radial, tangential = (_normal(n, generator) * torch.tensor([0.3, 0.1]) + torch.tensor([1.0, 0.0])).unbind(1)
    blade = torch.randint(5, (n,), generator=generator)
    angle = 2 * math.pi / 5 * blade + 0.25 * radial.exp()
    x = radial * angle.cos() + tangential * angle.sin()
    y = -radial * angle.sin() + tangential * angle.cos()
    return 2 * torch.stack([x, y], dim=1)


def _gaussian(n: int, generator: Generator) -> Tensor:
    return GAUSSIAN_MEAN + _normal(n, generator) @ torch.linalg.cholesky(GAUSSIAN_COVARIANCE).T


def gaussian_log_prob(x: Tensor, mean: Tensor = GAUSSIAN_MEAN, covariance: Tensor = GAUSSIAN_COVARIANCE) -> Tensor:
    """log N(x; mean, covariance) at (batch, 2) points, natural log, shape (batch,)."""
    factor = torch.linalg.cholesky(covariance.to(x))
    white = torch.linalg.solve_triangular(factor, (x - mean.to(x)).T, upper=False)
    return -0.5 * white.square().sum(0) - factor.diagonal().log().sum() - math.log(2 * math.pi)


DENSITIES: dict[str, Density] = {
    known.name: known
    for known in (
        Density("8gaussians", _mixture, mixture_log_prob),
        Density("swissroll", _swissroll, swissroll_log_prob),
        Density("rings", _rings, lambda x: rings_log_prob(x, RING_RADII, RING_STD)),
        Density("moons", _moons, moons_log_prob),
        Density("2spirals", _spirals, spirals_log_prob),
        Density("checkerboard", _checkerboard, checkerboard_log_prob),
        Density("pinwheel", _pinwheel),
        Density("gaussian", _gaussian, gaussian_log_prob),
    )
}
