"""Contrastive energy prediction: its loss by hand, its optimum in closed form, what it costs and refuses."""

import math

import pytest
import torch
from gaussians import GaussianVelocity, gaussian_base, points
from torch import Tensor, nn

from egflow.guidance import cep, network_passes
from egflow.guidance._cep import ContrastiveVelocity, Potential, contrastive_loss
from egflow.path import make_path

MEAN, STD = torch.tensor([0.5, -1.0]), torch.tensor([0.8, 1.3])


def data(n: int) -> Tensor:
    return MEAN + STD * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def test_loss_by_hand() -> None:
    logits, energy = torch.tensor([[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    hand = 0.0
    for f, e in zip(logits.tolist(), energy.tolist(), strict=True):
        labels = [math.exp(-x) / sum(math.exp(-y) for y in e) for x in e]
        hand -= sum(p * (x - math.log(sum(math.exp(y) for y in f))) for p, x in zip(labels, f, strict=True)) / 2
    assert float(contrastive_loss(logits, -energy)) == pytest.approx(hand, rel=1e-5)


def test_a_group_of_forbidden_points_says_nothing() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    log_w = torch.tensor([[-torch.inf] * 3, [0.0, -torch.inf, -torch.inf]])
    contrastive_loss(logits, log_w).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    assert (logits.grad[0] == 0).all() and (logits.grad[1] != 0).all()


class ExactPotential(nn.Module):
    """log E[exp(−beta·‖x_1‖²/2) | x_t] for p = N(mean, std²), up to a function of t, by Gaussian algebra."""

    def __init__(self, path: str, beta: float) -> None:
        super().__init__()
        self.path, self.beta = make_path(path), beta

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        a, s = self.path.alpha(t)[0][:, None], self.path.sigma(t)[0][:, None]
        total = (a * STD).square() + s.square()
        mean, variance = MEAN + a * STD.square() / total * (z - a * MEAN), (s * STD).square() / total
        return -0.5 * (self.beta * mean.square() / (1 + self.beta * variance)).sum(1)


@pytest.mark.parametrize("path", ["cond_ot", "cosine", "vp"])
def test_the_exact_potential_gives_the_exact_velocity(path: str) -> None:
    beta = 1.5
    precision = STD**-2 + beta
    exact = GaussianVelocity(path, MEAN * STD**-2 / precision, precision**-0.5)
    network = ContrastiveVelocity(gaussian_base(MEAN, STD, path), ExactPotential(path, beta))  # type: ignore[arg-type]
    x, t = points(100, 2)
    torch.testing.assert_close(network(x, t), exact(x, t), rtol=1e-3, atol=1e-3)


class Quadratic(nn.Module):
    """Terms of a potential that is quadratic at each t: the family that holds the exact one of a Gaussian."""

    def __init__(self) -> None:
        super().__init__()
        self.of_time = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 4))

    def forward(self, y: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        linear, square = self.of_time(t[:, None]).chunk(2, 1)
        return linear * y + square * y.square()


def test_training_finds_the_tilted_gaussian() -> None:
    """E = ½‖x‖², beta 1: mean and spread of q, to .1 standard deviations; the base is 2 times .1 and more away."""
    precision = STD**-2 + 1.0
    mean, std = MEAN * STD**-2 / precision, precision**-0.5
    base = gaussian_base(MEAN, STD)
    torch.manual_seed(0)  # of the network given
    network, x = Quadratic(), data(20_000)
    guided = cep(base, lambda x: 0.5 * x.square().sum(1), 1.0, data=x, steps=2_000, groups=8, network=network)
    samples = guided.sample(5_000, solver="midpoint:25", seed=1)
    assert ((samples.mean(0) - mean).abs() / std < 0.1).all()
    assert ((samples.std(0) / std - 1).abs() < 0.1).all()
    assert ((base.sample(10_000, seed=1).std(0) / std - 1).abs() > 0.2).all()


def test_default_network_costs_and_seeds() -> None:
    def train() -> Tensor:
        guided = cep(
            gaussian_base(MEAN, STD), lambda x: x[:, 0], 1.0, data=data(200), steps=3, batch_size=16, groups=4, seed=2
        )
        solution = guided.solve(3, solver="euler:10")
        assert network_passes(guided, solution).tolist() == [30] * 3
        assert guided.train_seconds > 0
        return solution.y

    assert torch.equal(train(), train())


def test_an_untrained_potential_leaves_the_base_alone() -> None:
    from egflow.network import default_network

    base = gaussian_base(MEAN, STD)
    network = ContrastiveVelocity(base, Potential(default_network((2,), None), base.path))
    x, t = points(20, 2)
    torch.testing.assert_close(network(x, t), base.velocity(x, t))


def test_refusals() -> None:
    base, x = gaussian_base(MEAN, STD), data(100)
    with pytest.raises(ValueError, match="groups must divide"):
        cep(base, lambda x: x[:, 0], 1.0, data=x, batch_size=16, groups=3)
    with pytest.raises(ValueError, match="event shape"):
        cep(base, lambda x: x[:, 0], 1.0, data=torch.randn(50, 3))
    with pytest.raises(ValueError, match="condition must be given exactly where"):
        cep(base, lambda x: x[:, 0], 1.0, data=x, condition=torch.zeros(100, dtype=torch.long))
    base.beta_range = ((0.0, 1.0),)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"base\.at\(beta\)"):
        cep(base, lambda x: x[:, 0], 1.0, data=x)
