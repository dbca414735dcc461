"""`suite=libraries` with torchcfm, which brings paths and couplings; samples by torchdyn's NeuralODE, as its tutorials.

torchdyn's own continuous normalising flow gives the likelihood, with its exact trace (`autograd_trace`).
"""

from __future__ import annotations

import torch
from _libraries_job import Network, log_normal, loop, serve
from torch import Tensor, nn
from torchcfm import ConditionalFlowMatcher, ExactOptimalTransportConditionalFlowMatcher  # pyright: ignore[reportMissingImports] - in its own environment
from torchdyn.core import NeuralODE  # pyright: ignore[reportMissingImports] - in its own environment
from torchdyn.models import CNF  # pyright: ignore[reportMissingImports] - in its own environment


class Field(nn.Module):
    """The network as torchdyn calls a field: it hands the time to every module that has an attribute `t`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.t = network, torch.zeros(())

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Tensor:
        return self.network(x, self.t.expand(len(x)))


def train(network: nn.Module, x: Tensor, steps: int, batch: int, ot: bool) -> float:
    matcher = (ExactOptimalTransportConditionalFlowMatcher if ot else ConditionalFlowMatcher)(sigma=0.0)
    return loop(network, x, steps, batch, matcher.sample_location_and_conditional_flow)


def sampler(name: str):
    @torch.no_grad()
    def sample(network: Network, z: Tensor, setting: float) -> Tensor:
        node = NeuralODE(Field(network), solver=name, sensitivity="adjoint", atol=setting, rtol=setting)
        return node.trajectory(z, torch.linspace(0, 1, 2))[-1]

    return sample


def density(name: str):
    @torch.no_grad()
    def likelihood(network: Network, z: Tensor, setting: float) -> Tensor:
        node = NeuralODE(CNF(Field(network)), solver=name, sensitivity="adjoint", atol=setting, rtol=setting)
        start = torch.cat([torch.zeros(len(z), 1), z], 1)
        end = node.trajectory(start, torch.tensor([1.0, 0.0]))[-1]
        return log_normal(end[:, 1:]) - end[:, 0]

    return likelihood


if __name__ == "__main__":
    names = ("dopri5", "tsit5")  # the tutorials' choice, and NeuralODE's default
    serve(train, {name: sampler(name) for name in names}, {name: density(name) for name in names})
