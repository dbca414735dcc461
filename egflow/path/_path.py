"""Gaussian probability paths between a source x_0 ~ N(0, I) at t = 0 and a data sample x_1 at t = 1.

    x_t = alpha_t x_1 + sigma_t x_0,        u_t(x_t | x_1, x_0) = alpha'_t x_1 + sigma'_t x_0

The velocity v, the source prediction x̂_0 ("noise"), the data prediction x̂_1 and the gradient of the log-density
score_fn = ∇ log p_t are linear in each other given x_t: with d_t = alpha_t sigma'_t − sigma_t alpha'_t,

    x̂_0 = (alpha_t v − alpha'_t x_t) / d_t,     x̂_1 = (sigma'_t x_t − sigma_t v) / d_t,     score_fn = −x̂_0 / sigma_t

(Lipman et al., arXiv 2412.06264, section 4.8; the energy-weighted paper arXiv 2503.04975 counts t the other way).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from egflow._kinds import check_kind, shown
from egflow.path._tokens import TOKEN_PATHS, TokenPath

Prediction = Literal["velocity", "noise", "x_1", "score_fn"]


def expand(t: Tensor, x: Tensor) -> Tensor:
    """t (batch,) shaped to multiply x (batch, *event)."""
    return t.reshape(-1, *(1,) * (x.ndim - 1))


@dataclass(frozen=True, slots=True)
class PathSample:
    """Points on conditional paths: x_t, x_0, x_1 and the conditional velocity u_t (batch, *event), t (batch,)."""

    x_t: Tensor
    t: Tensor
    x_0: Tensor
    x_1: Tensor
    u_t: Tensor


class Path(ABC):
    """A schedule (alpha_t, sigma_t) with its derivatives, and the algebra that follows from it.

    Attributes:
        name: as in ``path=``.
        source: the distribution of x_0, in words.
        t_end: where training and sampling stop; below 1 where the velocity is unbounded at t = 1.
        prediction: what a network on this path predicts: velocity, or noise where the velocity is unbounded.
    """

    name: str
    source: str = "standard normal"
    t_end: float = 1.0
    prediction: Prediction = "velocity"

    @abstractmethod
    def alpha(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and its derivative, each shaped as t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """sigma_t and its derivative, each shaped as t."""

    def sample(self, x_0: Tensor, x_1: Tensor, t: Tensor) -> PathSample:
        """The points at times t (batch,) between x_0 and x_1 (batch, *event)."""
        s = expand(t, x_1)
        (alpha, d_alpha), (sigma, d_sigma) = self.alpha(s), self.sigma(s)
        return PathSample(alpha * x_1 + sigma * x_0, t, x_0, x_1, d_alpha * x_1 + d_sigma * x_0)

    def convert(self, value: Tensor, x_t: Tensor, t: Tensor, have: Prediction, want: Prediction) -> Tensor:
        """Turn one prediction at (x_t, t) into another.

        Args:
            value: (batch, *event), the prediction named by ``have``.
            x_t: (batch, *event).
            t: (batch,) in (0, 1): score_fn needs sigma_t > 0, noise to data needs alpha_t > 0.
            have, want: "velocity", "noise" (x̂_0), "x_1" or "score_fn".

        Returns:
            (batch, *event), the prediction named by ``want``.

        Raises:
            ValueError: for an unknown prediction.

        Example:
            >>> path, t = CondOT(), torch.tensor([0.25])
            >>> point = path.sample(torch.zeros(1, 2), torch.ones(1, 2), t)
            >>> path.convert(point.u_t, point.x_t, t, "velocity", "x_1").tolist()
            [[1.0, 1.0]]
        """
        for name in (have, want):
            if name not in get_args(Prediction):
                raise ValueError(f"a prediction is one of {', '.join(get_args(Prediction))}, got {name!r}")
        if have == want:
            return value
        t = expand(t, x_t)
        (alpha, d_alpha), (sigma, d_sigma) = self.alpha(t), self.sigma(t)
        if have == "velocity":
            determinant = alpha * d_sigma - sigma * d_alpha
            x_0 = (alpha * value - d_alpha * x_t) / determinant
            x_1 = (d_sigma * x_t - sigma * value) / determinant
        elif have == "x_1":
            x_0, x_1 = (x_t - alpha * value) / sigma, value
        else:
            x_0 = value if have == "noise" else -sigma * value
            x_1 = (x_t - sigma * x_0) / alpha
        if want == "velocity":
            return d_alpha * x_1 + d_sigma * x_0
        return {"noise": x_0, "x_1": x_1, "score_fn": -x_0 / sigma}[want]


class CondOT(Path):
    """The straight path, alpha_t = t and sigma_t = 1 − t (Lipman et al. 2023; Liu et al. 2023). The default."""

    name = "cond_ot"

    def alpha(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """t, 1."""
        return t, torch.ones_like(t)

    def sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """1 − t, −1."""
        return 1 - t, -torch.ones_like(t)


class Cosine(Path):
    """The trigonometric path, alpha_t = sin(πt/2) and sigma_t = cos(πt/2) (Albergo & Vanden-Eijnden 2023)."""

    name = "cosine"

    def alpha(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """sin(πt/2) and its derivative."""
        angle = 0.5 * math.pi * t
        return angle.sin(), 0.5 * math.pi * angle.cos()

    def sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """cos(πt/2) and its derivative."""
        angle = 0.5 * math.pi * t
        return angle.cos(), -0.5 * math.pi * angle.sin()


class VP(Path):
    """The variance-preserving diffusion path with linear rate (Song et al. 2021), s = 1 − t:

        log alpha_t = −s² (b − a) / 4 − s a / 2,     sigma_t² = 1 − alpha_t²,     a = 0.1, b = 20

    alpha_0 = .0066, so a sample starts .7 % off its source; sigma' is unbounded at t = 1, so it ends at t = 1 − 1e-4
    (sigma .0033 in units of the data's standard deviation) and its networks predict noise.
    """

    name = "vp"
    t_end = 1.0 - 1e-4
    prediction = "noise"

    def alpha(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and its derivative."""
        s = 1 - t
        alpha = torch.exp(-0.25 * 19.9 * s.square() - 0.05 * s)
        return alpha, alpha * (0.5 * 19.9 * s + 0.05)

    def sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """sigma_t and its derivative −alpha alpha' / sigma."""
        s = 1 - t
        # expm1 keeps sigma exact near t = 1, where 1 − alpha² cancels
        sigma = torch.sqrt(-torch.expm1(-0.5 * 19.9 * s.square() - 0.1 * s))
        alpha, d_alpha = self.alpha(t)
        return sigma, -alpha * d_alpha / sigma


PATHS: dict[str, type[Path]] = {path.name: path for path in (CondOT, VP, Cosine)}


def make_path(path: str | Path | TokenPath | None) -> Path:
    """A path by its name, or as given; None is `CondOT`. Raises ValueError for an unknown name, or a path of tokens."""
    if isinstance(path, Path):
        return path
    name = "cond_ot" if path is None else path.name if isinstance(path, TokenPath) else path
    check_kind("path", name, str, f"one of {', '.join(PATHS)}")
    if name in TOKEN_PATHS:
        raise ValueError(f"path {name!r} is for tokens: give vocab_size= and a long tensor (N, length)")
    if name not in PATHS:
        raise ValueError(f"path must be one of {', '.join(PATHS)}, got {shown(path)}")
    return PATHS[name]()
