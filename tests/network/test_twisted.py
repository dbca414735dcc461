"""The twisted network: the base at beta 0, the cache, what is trained, the closed form of its factor, and files."""

import json
import math
import sys
from pathlib import Path

import pytest
import torch
from test_token_networks import stirred, walk
from torch import Tensor, nn

from egflow import Flow
from egflow.flow import TokenFlow
from egflow.network import NETWORKS, Recurrent, Twisted

sys.path.insert(0, str(Path(__file__).parents[1] / "tokens"))
from token_tables import padded_space

INPUTS, OUTPUTS, LENGTH, BATCH, PAD = 5, 4, 5, 6, -1
LEVELS = [[-1.0], [0.5], [2.0]]
WALL = [*LEVELS, [None]]


def base() -> Recurrent:
    torch.manual_seed(0)
    net = Recurrent(INPUTS, OUTPUTS, LENGTH, width=12)
    stirred(net)
    return net.requires_grad_(False)  # the GRU has another kernel, and other rounding, where it is trained


def twisted(levels=LEVELS, low=(0.0,), high=(3.0,)) -> Twisted:
    net = Twisted(base().config, levels, low, high, width=10, rank=3)
    stirred(net)
    net.base.load_state_dict(base().state_dict())
    return net


def inputs(batch: int = BATCH) -> Tensor:
    return torch.randint(INPUTS, (batch, LENGTH), generator=torch.Generator().manual_seed(1))


def flow_of(net: nn.Module, ranges: tuple[tuple[float, float], ...] | None = None) -> TokenFlow:
    flow = TokenFlow(net, LENGTH, vocab_size=3, pad_id=PAD)
    flow.beta_range = ranges
    return flow


def share(beta: float, batch: int = BATCH) -> Tensor:
    """Beta of the range (0, 3), scaled."""
    return torch.full((batch, 1), beta / 3)


@torch.no_grad()
def test_at_beta_0_it_is_the_base() -> None:
    """Exactly: whatever the head says, log Σ_c P(c) is a difference of the same number with itself."""
    net, x = twisted(), inputs()
    assert torch.equal(net(x, None, None, share(0.0)), base()(x))
    assert torch.equal(walk(net, x, beta=share(0.0)), walk(base(), x))
    assert float((net(x, None, None, share(3.0)) - base()(x)).abs().max()) > 0.1
    both = twisted([[0.0, 1.0], [2.0, -1.0]], (-1.0, 0.0), (1.0, 2.0))
    assert torch.equal(both(x, None, None, torch.tensor([[0.5, 0.0]]).expand(BATCH, 2)), base()(x))


@torch.no_grad()
def test_with_a_forbidden_cell_beta_0_is_the_base_of_what_is_allowed() -> None:
    """log p(a) + log P(allowed | prefix, a), the head's own word for it."""
    net, x = twisted(WALL), inputs()
    h, opened = net.base.read(x)
    allowed = net.forecast(net.read(x, h)).softmax(-1)[..., :-1].sum(-1)
    assert allowed.shape == (BATCH, LENGTH, OUTPUTS) and float(allowed.std()) > 0.01
    expected = net.base.tell(h, x, opened) + allowed.log()
    torch.testing.assert_close(net(x, None, None, share(0.0)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("levels", [LEVELS, WALL])
@torch.no_grad()
def test_the_factor_is_the_mean_of_the_weight_over_cells(levels) -> None:
    """log Σ_c P(c | …)·exp(−beta·E_c), written out."""
    net, x, beta = twisted(levels), inputs(), 2.4
    h, _ = net.base.read(x)
    weight = torch.tensor([0.0 if row[0] is None else math.exp(-beta * row[0]) for row in levels])
    factor = (net.forecast(net.read(x, h)).softmax(-1) @ weight).log()
    torch.testing.assert_close(net(x, None, None, share(beta)), base()(x) + factor, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_energies_of_any_size_leave_it_finite() -> None:
    """beta·E of ±3,000, where exp would over- and underflow in float64 too."""
    net, x = twisted([[-1_000.0], [0.0], [1_000.0], [None]]), inputs()
    assert bool(net(x, None, None, share(3.0)).isfinite().all())


@torch.no_grad()
def test_each_row_has_its_own_beta_and_several_energies_their_own() -> None:
    net, x = twisted([[0.0, 1.0], [2.0, -1.0]], (-1.0, 0.0), (1.0, 2.0)), inputs()
    beta = torch.rand(BATCH, 2, generator=torch.Generator().manual_seed(2))
    whole = net(x, None, None, beta)
    one_by_one = torch.cat([net(x[i : i + 1], None, None, beta[i : i + 1]) for i in range(BATCH)])
    torch.testing.assert_close(whole, one_by_one, rtol=1e-5, atol=1e-5)
    expected = -((2 * beta[:, :1].double() - 1) @ torch.tensor([[0.0, 2.0]]).double())
    expected = expected - 2 * beta[:, 1:].double() @ torch.tensor([[1.0, -1.0]]).double()
    torch.testing.assert_close(net.log_w(beta), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("levels", [LEVELS, WALL])
@torch.no_grad()
def test_steps_agree_with_forward(levels) -> None:
    """In float64 but for the sum over positions and the twist, which are float32: to its rounding."""
    net, x = twisted(levels), inputs()
    whole = net(x, None, None, share(2.0))
    torch.testing.assert_close(walk(net, x, beta=share(2.0)), whole, rtol=1e-5, atol=1e-5)
    rows, state = torch.tensor([3, 0]), net.start(BATCH, None, share(2.0))
    for token in x[:, :2].T:
        _, state = net.step(token, state)
    state = net.select(state, rows)
    for position in range(2, LENGTH):
        logits, state = net.step(x[rows, position], state)
        torch.testing.assert_close(logits, whole[rows, position], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_outputs_do_not_change_with_later_inputs() -> None:
    net, x = twisted(), inputs()
    before = net(x, None, None, share(2.0))
    for position in range(LENGTH):
        changed = x.clone()
        changed[:, position] = (changed[:, position] + 1) % INPUTS
        moved = (net(changed, None, None, share(2.0)) - before).abs().amax(2)
        assert (moved[:, :position] <= 1e-6).all(), position
        assert (moved[:, position:] > 1e-5).all(), position


def test_a_forecast_of_one_token_is_that_of_all() -> None:
    net, x = twisted(), inputs()
    parts = net.read(x, net.base.read(x)[0])
    token = (x + 1) % OUTPUTS
    every = net.forecast(parts)
    torch.testing.assert_close(
        net.forecast(parts, token), every.gather(2, token[..., None, None].expand(-1, -1, 1, 3))[:, :, 0]
    )


def test_only_the_head_is_trained() -> None:
    net, x = twisted(WALL), inputs()
    net(x, None, None, share(2.0)).log_softmax(2).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.requires_grad != name.startswith("base."), name
        assert (parameter.grad is None) == name.startswith("base."), name
        assert parameter.grad is None or float(parameter.grad.abs().sum()) > 0, name


@torch.no_grad()
def test_brackets_of_the_base_balance_still() -> None:
    torch.manual_seed(0)
    bracket = Recurrent(INPUTS, OUTPUTS, LENGTH, width=12, nest=(0, 1))
    net = Twisted(bracket.config, WALL, (0.0,), (3.0,), width=10)
    stirred(net)
    x = inputs()
    whole, of_base = net(x, None, None, share(2.0)), net.base(x)
    assert torch.equal(whole.isinf(), of_base.isinf()) and bool(of_base.isinf().any())
    torch.testing.assert_close(walk(net, x, beta=share(2.0)), whole, rtol=1e-5, atol=1e-5)


def test_config_rebuilds_the_network() -> None:
    net, x = twisted(WALL), inputs()
    again = NETWORKS["twisted"](**json.loads(json.dumps(net.config)))
    again.load_state_dict(net.state_dict())
    assert torch.equal(net(x, None, None, share(1.0)), again(x, None, None, share(1.0)))


@pytest.mark.parametrize("levels", [LEVELS, WALL])
def test_one_beta_is_saved_and_loaded(levels, tmp_path) -> None:
    """Where low is high the network takes no beta: it is that of the range at that beta."""
    one = twisted(levels, (1.5,), (1.5,))
    one.load_state_dict(twisted(levels).state_dict())
    x = inputs()
    torch.testing.assert_close(one(x), twisted(levels)(x, None, None, share(1.5)), rtol=1e-5, atol=1e-5)
    flow = flow_of(one)
    flow.save(tmp_path / "model")
    loaded = Flow.load(tmp_path / "model")
    space = padded_space(3, LENGTH, PAD)
    assert torch.equal(loaded.log_prob(space), flow.log_prob(space))
    assert torch.equal(loaded.sample(200), flow.sample(200))
    assert float(loaded.log_prob(space).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_a_range_is_saved_and_loaded_whole_and_at_one_beta(tmp_path) -> None:
    flow = flow_of(twisted(WALL), ((0.0, 3.0),))
    flow.save(tmp_path / "range")
    flow.at(2.0).save(tmp_path / "one")
    space = padded_space(3, LENGTH, PAD)
    expected = flow.log_prob(space, beta=2.0)
    whole, one = Flow.load(tmp_path / "range"), Flow.load(tmp_path / "one")
    assert whole.beta_range == ((0.0, 3.0),) and one.beta == 2.0
    for loaded in (whole.at(2.0), one):
        assert torch.equal(loaded.log_prob(space), expected)
        assert torch.equal(loaded.sample(100), flow.sample(100, beta=2.0))
    assert float((flow.log_prob(space, beta=0.5) - expected).abs().max()) > 0.1
    assert torch.equal(flow_of(twisted(), ((0.0, 3.0),)).log_prob(space, beta=0.0), flow_of(base()).log_prob(space))


@pytest.mark.parametrize(
    ("levels", "low", "high"),
    [([[0.0], [1.0]], (0.0, 0.0), (1.0, 1.0)), ([[0.0]], (0.0,), (1.0, 1.0))],
)
def test_levels_that_do_not_fit_are_refused(levels, low, high) -> None:
    with pytest.raises(ValueError, match="levels"):
        Twisted(base().config, levels, low, high)
