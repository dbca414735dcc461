"""Gaussian bases whose networks are exact, and the velocity of a Gaussian target, for closed forms."""

import torch
from torch import Tensor, nn

from egflow.flow import Flow
from egflow.path import make_path


class GaussianVelocity(nn.Module):
    """The velocity on a path for data N(mean, diag(std²)), in closed form; a condition shifts the mean."""

    def __init__(self, path: str, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.path, self.mean, self.std = make_path(path), nn.Parameter(mean, False), nn.Parameter(std, False)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        t = t[:, None]
        (a, da), (b, db) = self.path.alpha(t), self.path.sigma(t)
        mean = self.mean if condition is None else self.mean + condition[:, None].to(x)
        gain = (a * da * self.std**2 + b * db) / ((a * self.std) ** 2 + b**2)
        return da * mean + gain * (x - a * mean)


def gaussian_base(mean: Tensor, std: Tensor, path: str = "cond_ot", **preprocessing: Tensor) -> Flow:
    """A flow of N(mean, diag(std²)) in preprocessed coordinates."""
    network = GaussianVelocity(path, mean, std)
    return Flow(network, (len(mean),), path=path, prediction="velocity", **preprocessing)


def points(n: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Places (n, dim) and times (n,) in (.05, .95)."""
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(n, dim, generator=generator), 0.05 + 0.9 * torch.rand(n, generator=generator)
