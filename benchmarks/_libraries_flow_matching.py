"""`suite=libraries` with flow_matching (licence CC BY-NC: for this measurement alone, never a dependency)."""

from __future__ import annotations

import torch
from _libraries_job import Network, log_normal, loop, serve
from flow_matching.path import CondOTProbPath  # pyright: ignore[reportMissingImports] - in its own environment
from flow_matching.solver import ODESolver  # pyright: ignore[reportMissingImports] - in its own environment
from flow_matching.utils import ModelWrapper  # pyright: ignore[reportMissingImports] - in its own environment
from torch import Tensor, nn


class Field(ModelWrapper):
    """The network as its solver calls a model: t is one number."""

    def forward(self, x: Tensor, t: Tensor, **extras: object) -> Tensor:
        return self.model(x, t.expand(len(x)))


def train(network: nn.Module, x: Tensor, steps: int, batch: int, ot: bool) -> float:
    if ot:
        raise ValueError("flow_matching has no coupling by optimal transport")
    path = CondOTProbPath()

    def draw(x_0: Tensor, x_1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        drawn = path.sample(t=torch.rand(len(x_1)), x_0=x_0, x_1=x_1)
        return drawn.t, drawn.x_t, drawn.dx_t

    return loop(network, x, steps, batch, draw)


def options(name: str, setting: float) -> dict[str, float | None]:
    if name == "dopri5":
        return {"step_size": None, "atol": setting, "rtol": setting}
    return {"step_size": 1 / setting}


def sampler(name: str):
    def sample(network: Network, z: Tensor, setting: float) -> Tensor:
        return ODESolver(Field(network)).sample(z, method=name, **options(name, setting))

    return sample


def density(name: str):
    def likelihood(network: Network, z: Tensor, setting: float) -> Tensor:
        solver, chosen = ODESolver(Field(network)), options(name, setting)
        return solver.compute_likelihood(z, log_normal, method=name, exact_divergence=True, **chosen)[1]

    return likelihood


if __name__ == "__main__":
    names = ("dopri5", "midpoint", "euler")  # euler is the default of its methods, midpoint that of its examples
    serve(train, {name: sampler(name) for name in names}, {name: density(name) for name in names})
