"""Token networks: what an output may see, the cache, positions, beta, conditions, and errors that name the cure."""

import json
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from egflow.network import NETWORKS, Recurrent, TokenMLP, Transformer, default_token_network, with_beta
from egflow.network._transformer import attend, rotate, rotation

INPUTS, OUTPUTS, LENGTH, BATCH = 7, 5, 6, 4


def causal(**config: int) -> Transformer:
    return Transformer(INPUTS, OUTPUTS, LENGTH, width=16, depth=2, heads=2, causal=True, **config)


def both_ways(**config: int) -> Transformer:
    return Transformer(INPUTS, OUTPUTS, LENGTH, width=16, depth=2, heads=2, **config)


def timed(**config: int) -> Transformer:
    return both_ways(timed=True, **config)


def recurrent(**config: int) -> Recurrent:
    return Recurrent(INPUTS, OUTPUTS, LENGTH, width=16, **config)


def mlp(**config: int) -> TokenMLP:
    return TokenMLP(INPUTS, OUTPUTS, LENGTH, width=16, **config)


def timed_mlp(**config: int) -> TokenMLP:
    return mlp(timed=True, **config)


ALL = [causal, both_ways, timed, recurrent, mlp, timed_mlp]
CAUSAL = [causal, recurrent]


def stirred(net: nn.Module) -> nn.Module:
    """A network whose zero-initialised layers are not zero, so that its output says something."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net


def inputs(batch: int = BATCH, length: int = LENGTH) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(INPUTS, (batch, length), generator=generator), torch.rand(batch, generator=generator)


def walk(net: nn.Module, x: Tensor, **given: Tensor) -> Tensor:
    """The logits of `step`, position by position."""
    state, out = net.start(len(x), **given), []
    for token in x.T:
        logits, state = net.step(token, state)
        out.append(logits)
    return torch.stack(out, 1)


@pytest.mark.parametrize("make", ALL)
def test_logits_have_their_shape_and_start_small(make) -> None:
    """Of order 1, so that training starts near the uniform distribution; and one position may be given, or several."""
    (x, t), net = inputs(), make()
    for length in (LENGTH,) if isinstance(net, TokenMLP) else (1, 3, LENGTH):
        out = net(x[:, :length], t)
        assert out.shape == (BATCH, length, OUTPUTS)
        assert 0 < out.abs().max() < 5


@pytest.mark.parametrize("make", CAUSAL)
def test_outputs_do_not_change_with_later_inputs_and_do_with_earlier(make) -> None:
    net, (x, t) = stirred(make()), inputs()
    before = net(x, t)
    for position in range(LENGTH):
        changed = x.clone()
        changed[:, position] = (changed[:, position] + 1) % INPUTS
        moved = (net(changed, t) - before).abs().amax(2)
        assert (moved[:, :position] <= 1e-6).all(), position
        assert (moved[:, position:] > 1e-5).all(), position


@pytest.mark.parametrize("make", [both_ways, timed, mlp, timed_mlp])
def test_every_output_sees_every_input(make) -> None:
    net, (x, t) = stirred(make()), inputs()
    before = net(x, t)
    for position in range(LENGTH):
        changed = x.clone()
        changed[:, position] = (changed[:, position] + 1) % INPUTS
        assert ((net(changed, t) - before).abs().amax(2) > 1e-5).all(), position


@pytest.mark.parametrize("make", [both_ways, timed, mlp, timed_mlp])
def test_positions_differ_where_all_inputs_are_alike(make) -> None:
    """All masked: rotary positions alone would give the same logits everywhere."""
    out = stirred(make())(torch.full((1, LENGTH), INPUTS - 1), torch.zeros(1))[0]
    assert min((a - b).abs().max() for a, b in pairwise(out)) > 1e-3


@pytest.mark.parametrize("make", CAUSAL)
@pytest.mark.parametrize("config", [{}, {"num_classes": 3, "beta_dim": 2}, {"condition_dim": 2}])
def test_steps_agree_with_forward(make, config) -> None:
    """In float64 to 1e-12: the same function, in another order of the same sums; in float32 to its rounding."""
    net, (x, t) = stirred(make(**config)), inputs()
    given = {}
    if "num_classes" in config:
        given |= {"condition": torch.tensor([0, 1, 2, 1]), "beta": torch.rand(BATCH, 2)}
    if "condition_dim" in config:
        given |= {"condition": torch.randn(BATCH, 2)}
    with torch.no_grad():
        torch.testing.assert_close(walk(net, x, **given), net(x, t, **given), rtol=1e-5, atol=1e-5)
        net = net.double()
        given = {k: v.double() if v.is_floating_point() else v for k, v in given.items()}
        torch.testing.assert_close(walk(net, x, **given), net(x, t, **given), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("make", CAUSAL)
@torch.no_grad()
def test_selected_rows_go_on_as_they_would_have(make) -> None:
    net, (x, t) = stirred(make(num_classes=3, beta_dim=1)), inputs()
    condition, beta = torch.tensor([0, 1, 2, 1]), torch.rand(BATCH, 1)
    whole, rows = net(x, t, condition, beta), torch.tensor([3, 0])
    state = net.start(BATCH, condition, beta)
    for token in x[:, :3].T:
        _, state = net.step(token, state)
    state = net.select(state, rows)
    for position in range(3, LENGTH):
        logits, state = net.step(x[rows, position], state)
        torch.testing.assert_close(logits, whole[rows, position], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_selected_state_is_a_copy() -> None:
    """A transformer's step writes into its cache: a copy must not see it."""
    net, (x, t) = stirred(causal()), inputs()
    _, state = net.step(x[:, 0], net.start(BATCH))
    kept = net.select(state, torch.arange(BATCH))
    net.step((x[:, 1] + 1) % INPUTS, state)
    logits, kept = net.step(x[:, 1], kept)
    torch.testing.assert_close(logits, net(x, t)[:, 1], rtol=1e-5, atol=1e-5)


def test_products_of_rotated_vectors_depend_on_the_difference_of_positions() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 8, generator=generator, dtype=torch.float64)
    turn = rotation(torch.arange(12), 8)
    products = rotate(q.expand(12, 8), turn) @ rotate(k.expand(12, 8), turn).T
    for gap in range(-5, 6):
        diagonal = products.diagonal(gap)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-12, atol=1e-12)
    assert products[0].std() > 0.1
    torch.testing.assert_close(products[0, 0], (q * k).sum())


@pytest.mark.parametrize("look_back", [True, False])
def test_both_forms_of_attention_are_the_softmax_of_products(look_back: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, 5, 4, generator=generator)
    scores = q @ k.transpose(-1, -2) / 2
    if look_back:
        scores = scores.masked_fill(torch.ones(5, 5, dtype=torch.bool).triu(1), -torch.inf)
    exact = scores.softmax(-1) @ v
    torch.testing.assert_close(attend(q, k, v, look_back), exact, rtol=1e-5, atol=1e-5)
    # bfloat16 keeps 8 bits: inputs, scores, weights and output are each rounded at 2^-9 relative
    for training in (True, False):
        half = attend(*(x.bfloat16().requires_grad_(training) for x in (q, k, v)), look_back).float()
        torch.testing.assert_close(half, exact, rtol=0.03, atol=0.03)


@pytest.mark.parametrize("make", ALL)
def test_a_new_beta_input_changes_nothing_until_it_is_trained(make) -> None:
    net, (x, t) = stirred(make(num_classes=3)), inputs()
    condition, beta = torch.tensor([0, 1, 2, 1]), torch.rand(BATCH, 2)
    ranged = with_beta(net, 2)
    torch.testing.assert_close(ranged(x, t, condition, beta), net(x, t, condition), rtol=1e-6, atol=1e-6)
    ranged(x, t, condition, beta).square().sum().backward()
    gradient = ranged.context.beta.embed.weight.grad
    assert gradient is not None and gradient.abs().sum() > 0
    stirred(ranged.context.beta)
    moved = (ranged(x, t, condition, beta) - net(x, t, condition)).abs().amax(2)
    assert (moved > 1e-4).all()  # at every position, the last included


def test_a_recurrent_network_without_conditions_can_be_given_beta() -> None:
    net, (x, t) = stirred(recurrent()), inputs()
    torch.testing.assert_close(with_beta(net, 1)(x, t, None, torch.rand(BATCH, 1)), net(x, t), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", ALL)
def test_labels_and_vectors_change_every_output(make) -> None:
    x, t = inputs()
    by_class = stirred(make(num_classes=3))
    label = torch.zeros(BATCH, dtype=torch.long)
    assert ((by_class(x, t, label) - by_class(x, t, label + 1)).abs().amax(2) > 1e-4).all()
    by_vector = stirred(make(condition_dim=2))
    assert ((by_vector(x, t, torch.zeros(BATCH, 2)) - by_vector(x, t, torch.ones(BATCH, 2))).abs().amax(2) > 1e-4).all()


def test_time_changes_only_a_timed_network() -> None:
    x, t = inputs()
    for make in ALL:
        net = stirred(make())
        moved = (net(x, t) - net(x, 1 - t)).abs().amax(2)
        assert (moved > 1e-4).all() if make in (timed, timed_mlp) else (moved == 0).all()


@pytest.mark.parametrize("make", ALL)
def test_config_rebuilds_the_network(make) -> None:
    net, (x, t) = stirred(make(condition_dim=2, beta_dim=1)), inputs()
    kind = next(name for name, kind in NETWORKS.items() if type(net) is kind)
    again = NETWORKS[kind](**json.loads(json.dumps(net.config)))
    again.load_state_dict(net.state_dict())
    condition, beta = torch.randn(BATCH, 2), torch.rand(BATCH, 1)
    assert torch.equal(net(x, t, condition, beta), again(x, t, condition, beta))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("config", [{}, {"num_classes": 3, "beta_dim": 1}])
def test_bfloat16_autocast_is_the_same_function_roughly(make, config) -> None:
    """A few layers, each rounded at 2^-9: within a tenth of the largest logit; every parameter gets a gradient."""
    net, (x, t) = stirred(make(**config)), inputs()
    given = {"condition": torch.tensor([0, 1, 2, 1]), "beta": torch.rand(BATCH, 1)} if config else {}
    exact = net(x, t, **given).detach()
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x, t, **given)
    out.float().square().sum().backward()
    scale = float(exact.abs().max())
    torch.testing.assert_close(out.float(), exact, rtol=0, atol=0.1 * scale)
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    if make in CAUSAL:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(walk(net, x, **given).float(), exact, rtol=0, atol=0.1 * scale)


@pytest.mark.parametrize("path", ["sequential", "masked", "uniform"])
@pytest.mark.parametrize(("vocabulary", "length"), [(3, 4), (4, 6), (48, 64)])
def test_a_network_for_every_path(path: str, vocabulary: int, length: int) -> None:
    net = default_token_network(path, vocabulary + 1, vocabulary, length, torch.tensor([0, 2]), beta_dim=1)
    out = net(torch.zeros(2, length, dtype=torch.long), torch.zeros(2), torch.tensor([0, 2]), torch.zeros(2, 1))
    assert out.shape == (2, length, vocabulary)
    many = Transformer if length == 64 else TokenMLP
    assert isinstance(net, Recurrent if path == "sequential" else many)
    assert path == "sequential" or net.config["timed"] == (path == "uniform")


@pytest.mark.parametrize(("make", "left"), [(causal, 0.02), (both_ways, 0.02), (recurrent, 0.02), (mlp, 0.4)])
def test_it_learns(make, left: float) -> None:
    """Wanted: each token + 1. 150 steps bring the cross-entropy from log 5 = 1.609 near 0; the MLP, which must learn it
    at each position anew, below a quarter of it.
    """
    torch.manual_seed(0)
    net = make()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(150):
        x = torch.randint(OUTPUTS, (64, LENGTH))
        loss = nn.functional.cross_entropy(net(x, torch.zeros(64)).flatten(0, 1), ((x + 1) % OUTPUTS).flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] > 1.4 and losses[-1] < left


@pytest.mark.parametrize(
    ("act", "word"),
    [
        (lambda: Transformer(5, 5, 4, width=30, heads=4), "width=30 must be a multiple of 2 x heads = 8"),
        (lambda: Transformer(5, 5, 4, width=12, heads=4), "multiple of 2 x heads"),
        (lambda: Transformer(5, 0, 4), "outputs=0 must be at least 1"),
        (lambda: TokenMLP(5, 5, 4, depth=0), "depth=0 must be at least 1"),
        (lambda: mlp()(torch.zeros(2, LENGTH - 1, dtype=torch.long)), r"tokens \(batch, 6\)"),
        (lambda: timed_mlp()(torch.zeros(2, LENGTH, dtype=torch.long)), "pass t"),
        (lambda: Recurrent(5, 5, 0), "length=0 must be at least 1"),
        (lambda: Recurrent(5, 5, 4, num_classes=2, condition_dim=2), "one of condition_dim and num_classes"),
        (lambda: both_ways().start(3), "causal=True"),
        (lambda: causal(timed=True).start(3), "timed=False"),
        (lambda: recurrent()(torch.zeros(2, LENGTH + 1, dtype=torch.long)), r"tokens \(batch, 1 to 6\)"),
        (lambda: causal()(torch.zeros(2, LENGTH)), "float32"),
        (lambda: timed()(torch.zeros(2, LENGTH, dtype=torch.long)), "pass t"),
        (lambda: recurrent(num_classes=2).start(3), "pass condition="),
        (lambda: causal(beta_dim=1)(torch.zeros(2, LENGTH, dtype=torch.long)), "pass beta="),
        (lambda: walk(causal(), torch.zeros(2, LENGTH + 1, dtype=torch.long)), "length=6 tokens, and all were given"),
        (lambda: default_token_network("cond_ot", 5, 5, 4), "got 'cond_ot'"),
    ],
)
def test_mistakes_are_named(act, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        act()
