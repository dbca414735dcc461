"""`suite=libraries`, written by hand: the straight path, Runge–Kutta of order 4 with equal steps, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import ot
import torch
from _libraries_job import Network, log_normal, loop, serve
from torch import Tensor, nn


def straight(x_0: Tensor, x_1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    t = torch.rand(len(x_1))
    return t, t[:, None] * x_1 + (1 - t[:, None]) * x_0, x_1 - x_0


def paired(x_0: Tensor, x_1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same with exact minibatch optimal transport, by the network simplex of POT, which both libraries use."""
    mass = ot.unif(len(x_0))
    plan = ot.emd(mass, mass, torch.cdist(x_0, x_1).square().numpy())
    return straight(x_0[torch.from_numpy(plan.argmax(0))], x_1)


def train(network: nn.Module, x: Tensor, steps: int, batch: int, ot: bool) -> float:
    return loop(network, x, steps, batch, paired if ot else straight)


def rk4(field: Callable[[Tensor, float], Tensor], y: Tensor, t_0: float, t_1: float, steps: int) -> Tensor:
    h = (t_1 - t_0) / steps
    for step in range(steps):
        t = t_0 + step * h
        k1 = field(y, t)
        k2 = field(y + h / 2 * k1, t + h / 2)
        k3 = field(y + h / 2 * k2, t + h / 2)
        k4 = field(y + h * k3, t + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


@torch.no_grad()
def sample(network: Network, z: Tensor, setting: float) -> Tensor:
    return rk4(lambda y, t: network(y, torch.full((len(y),), t)), z, 0.0, 1.0, int(setting))


def likelihood(network: Network, z: Tensor, setting: float) -> Tensor:
    def field(y: Tensor, t: float) -> Tensor:
        x = y[:, :2].detach().requires_grad_()
        v = network(x, torch.full((len(y),), t))
        a = torch.autograd.grad(v[:, 0].sum(), x, retain_graph=True)[0][:, 0]
        b = torch.autograd.grad(v[:, 1].sum(), x)[0][:, 1]
        return torch.cat([v.detach(), (a + b)[:, None]], 1)

    end = rk4(field, torch.cat([z, torch.zeros(len(z), 1)], 1), 1.0, 0.0, int(setting))
    return log_normal(end[:, :2]) + end[:, 2]


if __name__ == "__main__":
    serve(train, {"rk4": sample}, {"rk4": likelihood})
