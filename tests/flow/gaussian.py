"""The exact network of a Gaussian: what training would find with infinite data."""

import torch
from torch import Tensor, nn

from egflow.flow import Flow
from egflow.path import make_path


class GaussianNetwork(nn.Module):
    """Velocity (or noise) of data N(mean, diag(std²)) on a path; ``condition`` shifts the mean."""

    def __init__(self, path: str, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.path = make_path(path)
        self.mean, self.std = nn.Parameter(mean.double()), nn.Parameter(std.double())

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        flat, t = x.flatten(1), t[:, None]
        (a, da), (b, db) = self.path.alpha(t), self.path.sigma(t)
        mean = self.mean if condition is None else self.mean + condition[:, None].to(x)
        variance = (a * self.std) ** 2 + b**2
        if self.path.prediction == "noise":
            return (b * (flat - a * mean) / variance).reshape(x.shape)
        gain = (a * da * self.std**2 + b * db) / variance
        return (da * mean + gain * (flat - a * mean)).reshape(x.shape)


def gaussian_flow(path: str, mean: Tensor, std: Tensor, event_shape: tuple[int, ...], **kwargs: Tensor) -> Flow:
    return Flow(GaussianNetwork(path, mean, std), event_shape, path=path, **kwargs)


MEAN, STD = torch.tensor([1.0, -2.0, 0.5, 0.0]), torch.tensor([0.3, 1.0, 0.7, 1.5])
