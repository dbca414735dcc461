"""Single networks with F.linear on an ensemble's weights, and plain Adam: what the learners are checked against."""

import torch
from egflow_offline_rl.networks import Ensemble
from egflow_offline_rl.replay import Replay
from torch.nn import functional as F

from egflow.flow import Flow
from egflow.network import MLP

OBS, ACT, WIDTH, DEPTH, BATCH = 4, 2, 12, 2, 48


class Net:
    """One member, with leaves of its own."""

    def __init__(self, ensemble: Ensemble, member: int = 0, activation=F.relu, trained: bool = True) -> None:
        self.activation = activation
        self.weights = [w[member].detach().T.clone() for w in ensemble.weights]
        self.biases = [b[member, 0].detach().clone() for b in ensemble.biases]
        self.gains = [g[member, 0].detach().clone() for g in ensemble.gains]
        self.shifts = [s[member, 0].detach().clone() for s in ensemble.shifts]
        if trained:
            for leaf in self.leaves():
                leaf.requires_grad_()

    def leaves(self) -> list[torch.Tensor]:
        return [*self.weights, *self.biases, *self.gains, *self.shifts]

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        h = torch.cat(inputs, 1)
        for layer, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = F.linear(h, w, b)
            if layer == len(self.weights) - 1:
                return h
            h = self.activation(h)
            if self.gains:
                h = F.layer_norm(h, (h.shape[1],), self.gains[layer], self.shifts[layer], eps=1e-6)
        raise AssertionError

    def near(self, ensemble: Ensemble, member: int = 0) -> bool:
        """Whether an ensemble's member has these weights."""
        other = Net(ensemble, member, trained=False)
        return all(
            torch.allclose(a.detach(), b, rtol=0, atol=1e-9) for a, b in zip(self.leaves(), other.leaves(), strict=True)
        )

    def follow(self, net: "Net", tau: float) -> None:
        for mine, its in zip(self.leaves(), net.leaves(), strict=True):
            mine.copy_((1 - tau) * mine + tau * its.detach())


class Descent:
    """Adam on some nets: gradients by `torch.autograd.grad`, nothing else touched."""

    def __init__(self, *nets: Net, rate: float = 3e-4) -> None:
        self.leaves = [leaf for net in nets for leaf in net.leaves()]
        self.adam = torch.optim.Adam(self.leaves, lr=rate)

    def step(self, loss: torch.Tensor, rate: float | None = None) -> None:
        for leaf, gradient in zip(self.leaves, torch.autograd.grad(loss, self.leaves), strict=True):
            leaf.grad = gradient
        if rate is not None:
            self.adam.param_groups[0]["lr"] = rate
        self.adam.step()


def scale_last(ensemble: Ensemble, factor: float) -> None:
    """Larger outputs, so that clips bind and twins differ."""
    with torch.no_grad():
        ensemble.weights[-1].mul_(factor)


def random_rows(n: int = 300, dtype: torch.dtype = torch.float64) -> Replay:
    """Rows of which a third end for good."""
    g = torch.Generator().manual_seed(5)
    return Replay(
        torch.randn(n, OBS, generator=g, dtype=dtype),
        torch.rand(n, ACT, generator=g, dtype=dtype) * 2 - 1,
        torch.randn(n, generator=g, dtype=dtype),
        torch.randn(n, OBS, generator=g, dtype=dtype),
        (torch.rand(n, generator=g) < 0.3).to(dtype),
    )


def random_behaviour(dtype: torch.dtype = torch.float64) -> Flow:
    """A conditional flow that moves, with preprocessing of its own."""
    network = MLP((ACT,), WIDTH, 1, condition_dim=OBS).to(dtype)
    torch.nn.init.normal_(network.outlet.weight, std=0.3)
    flow = Flow(network, (ACT,), shift=torch.tensor([0.1, -0.2]), scale=torch.tensor([0.5, 0.8]))
    flow.condition_shape = (OBS,)
    return flow


def bandit(n: int = 4_000) -> Replay:
    """One step: actions at ±½ (σ .1) by a coin, reward −(a − ½ sign s)²; the data's mean reward is −.51."""
    g = torch.Generator().manual_seed(0)
    side = torch.randint(0, 2, (n, 1), generator=g) * 2.0 - 1
    s = torch.rand(n, 1, generator=g) * 2 - 1
    actions = 0.5 * side + 0.1 * torch.randn(n, 1, generator=g)
    return Replay(s, actions, bandit_reward(s, actions), s, torch.ones(n))


def bandit_reward(s: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """(n, 1), (n, 1) -> (n,)."""
    return -(actions - 0.5 * s.sign()).square().squeeze(1)


def bandit_behaviour() -> Flow:
    """The exact flow of the bandit's actions: v = E[x_1 − x_0 | x_t] of a mixture of two normals."""

    def velocity(z: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        t, means, std = t[:, None], torch.tensor([-0.5, 0.5]), 0.1
        variance = (1 - t) ** 2 + (t * std) ** 2
        gap = z - t * means
        share = torch.softmax(-gap.square() / (2 * variance), 1)
        return (share * (means + (t * std**2 - (1 - t)) / variance * gap)).sum(1, keepdim=True)

    flow = Flow(velocity, (1,))
    flow.condition_shape = (1,)
    return flow
