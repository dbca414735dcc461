"""Batched networks against single ones, and the densities and noise of the actors."""

import pytest
import torch
from egflow_offline_rl.networks import (
    DeterministicActor,
    Ensemble,
    GaussianActor,
    OneStepActor,
    TwinQ,
    Value,
)
from rl_naive import Net
from torch.nn import functional as F


@pytest.mark.parametrize("name, activation", [("relu", F.relu), ("mish", F.mish), ("silu", F.silu)])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_every_member_is_a_plain_mlp(name, activation, layer_norm) -> None:
    torch.manual_seed(0)
    ensemble = Ensemble([5, 16, 8, 3], members=3, activation=name, layer_norm=layer_norm).double()
    for parameter in (*ensemble.gains, *ensemble.shifts):
        torch.nn.init.normal_(parameter)
    x = torch.randn(7, 5, dtype=torch.float64)
    for member in range(3):
        expected = Net(ensemble, member, activation, trained=False)(x)
        torch.testing.assert_close(ensemble(x)[member], expected)
        torch.testing.assert_close(ensemble.one(x, member), expected)
    own = torch.randn(3, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(ensemble(own)[2], ensemble.one(own[2], 2))


def test_members_start_as_linear_layers_do_each_with_its_own_draws() -> None:
    torch.manual_seed(0)
    ensemble = Ensemble([64, 256, 1], members=2)
    for inputs, weight, bias in zip((64, 256), ensemble.weights, ensemble.biases, strict=True):
        for member in range(2):
            assert weight[member].abs().max() <= inputs**-0.5
            assert bias[member].abs().max() <= inputs**-0.5
        assert not torch.equal(weight[0], weight[1])
    assert abs(float(ensemble.weights[0].detach().std()) * 64**0.5 - 3**-0.5) < 0.01  # of a uniform in ±1/√64


def test_the_gelu_is_the_one_of_jax() -> None:
    ensemble = Ensemble([1, 1, 1], activation="gelu")
    with torch.no_grad():
        for tensor, value in ((ensemble.weights, 1.0), (ensemble.biases, 0.0)):
            for parameter in tensor:
                parameter.fill_(value)
    x = torch.tensor([[1.5]])
    inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    torch.testing.assert_close(ensemble.one(x), 0.5 * x * (1 + inner.tanh()))


def test_configs_rebuild_the_networks() -> None:
    networks = [
        TwinQ(4, 2, 8, 3, 5, "mish", True),
        Value(4, 8, 1, "silu"),
        DeterministicActor(4, 2, 8, 1),
        GaussianActor(4, 2, 8, 3),
        OneStepActor(4, 2, 8, 2),
    ]
    for network in networks:
        again = type(network)(**network.config)
        again.load_state_dict(network.state_dict())


def test_shapes_and_the_first_critic() -> None:
    torch.manual_seed(0)
    q, s, a = TwinQ(4, 2, 8), torch.randn(5, 4), torch.randn(5, 2)
    assert q(s, a).shape == (2, 5)
    torch.testing.assert_close(q.first(s, a), q(s, a)[0])
    assert Value(4, 8)(s).shape == (5,)
    assert bool((DeterministicActor(4, 2, 8)(s).abs() < 1).all())


def test_the_gaussian_actors_density_and_its_bounds() -> None:
    torch.manual_seed(0)
    actor, s, a = GaussianActor(4, 2, 8).double(), torch.randn(5, 4).double(), torch.randn(5, 2).double()
    with torch.no_grad():
        actor.log_std.copy_(torch.tensor([-0.5, 3.0]))  # the second is beyond the bound of 2
    normal = torch.distributions.Normal(actor(s), torch.tensor([-0.5, 2.0]).double().exp())
    torch.testing.assert_close(actor.log_prob(s, a), normal.log_prob(a).sum(1))
    assert torch.equal(actor(s, seed=1), actor(s, seed=2))  # evaluated by its mean


def test_the_one_step_actor_draws_from_its_seed_alone() -> None:
    torch.manual_seed(0)
    actor, s = OneStepActor(4, 2, 8, 2), torch.randn(5, 4)
    state = torch.get_rng_state()
    assert torch.equal(actor(s, seed=3), actor(s, seed=3))
    assert not torch.equal(actor(s, seed=3), actor(s, seed=4))
    assert torch.equal(torch.get_rng_state(), state)


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="activation must be one of relu"):
        Ensemble([2, 2], activation="elu")
    with pytest.raises(ValueError, match="members"):
        Ensemble([2, 2], members=0)
