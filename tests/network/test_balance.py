"""Tokens that must balance: the rule against a parser, the cache, and a distribution over a language that sums to 1."""

import sys
from pathlib import Path

import pytest
import torch
from test_token_networks import stirred, walk

from egflow import Flow
from egflow.flow import TokenFlow
from egflow.network import AtBeta, Recurrent, with_beta

sys.path.insert(0, str(Path(__file__).parents[1] / "tokens"))
from token_tables import padded_space

OPENING, CLOSING, RING, ATOM, END, BEGIN = range(6)
LENGTH, PAD = 6, -1
NEST, TWICE = (OPENING, CLOSING), (RING,)


def balanced(**config: int) -> Recurrent:
    torch.manual_seed(0)
    net = Recurrent(6, 5, config.pop("length", LENGTH), width=16, nest=NEST, twice=TWICE, **config)
    stirred(net)
    return net


def flow_of(net: torch.nn.Module, length: int = LENGTH) -> TokenFlow:
    return TokenFlow(net, length, vocab_size=4, pad_id=PAD)


def is_possible(row: list[int]) -> bool:
    """A parser of its own: no pair closes that is not open or has just been, and nothing is open where a row ends."""
    depth, ring, before = 0, False, BEGIN
    for token in row:
        if token == PAD:
            return depth == 0 and not ring
        if token == CLOSING and (depth == 0 or before == OPENING):
            return False
        depth += (token == OPENING) - (token == CLOSING)
        ring ^= token == RING
        before = token
    return True  # it fills the length, so no END was asked for: it may be cut in the middle


@pytest.mark.parametrize("config", [{}, {"num_classes": 3, "beta_dim": 2}])
@torch.no_grad()
def test_steps_agree_with_forward(config) -> None:
    """To float64's rounding, −inf where it is; any tokens, those that break the rule included, and BEGIN within."""
    net = balanced(**config).double()
    x = torch.randint(6, (300, LENGTH), generator=torch.Generator().manual_seed(1))
    given = {"condition": torch.arange(300) % 3, "beta": torch.rand(300, 2).double()} if config else {}
    whole = net(x, None, **given)
    assert 0.05 < float(whole.isinf().double().mean()) < 0.4
    torch.testing.assert_close(walk(net, x, **given), whole, rtol=1e-12, atol=1e-12)
    rows = torch.tensor([7, 3])
    state = net.start(300, *given.values())
    for token in x[:, :3].T:
        _, state = net.step(token, state)
    logits, _ = net.step(x[rows, 3], net.select(state, rows))
    torch.testing.assert_close(logits, whole[rows, 3], rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_what_is_open_is_an_input() -> None:
    """With the features at their first value, 0, the same letters count; stirred, they move the logits."""
    net = balanced()
    x = torch.tensor([[BEGIN, OPENING, ATOM, RING, ATOM, ATOM]])
    moved = net(x)
    net.balance.depth.weight.zero_()  # type: ignore[union-attr]
    net.balance.open.weight.zero_()  # type: ignore[union-attr]
    still = net(x)
    finite = still.isfinite()
    assert torch.equal(finite, moved.isfinite())
    assert float((still - moved)[:, 0][finite[:, 0]].abs().max()) > 1e-3  # depth 0 has a feature of its own
    plain = Recurrent(6, 5, LENGTH, width=16)
    plain.load_state_dict(net.state_dict(), strict=False)
    torch.testing.assert_close(plain(x)[finite], still[finite])


def test_the_rule_holds_deeper_than_the_features_reach() -> None:
    """Nine deep, where features stop at 7: END stays impossible until the ninth pair is closed."""
    net = balanced(length=24)
    x = torch.tensor([[BEGIN, *[OPENING] * 9, ATOM, *[CLOSING] * 9]])
    with torch.no_grad():
        logits = net(x)[0]
        torch.testing.assert_close(walk(net, x)[0], logits, rtol=1e-4, atol=1e-4)
    assert logits[1:-1, END].isinf().all() and logits[[0, -1], END].isfinite().all()
    assert logits[1:10, CLOSING].isinf().all() and logits[10:19, CLOSING].isfinite().all()
    assert logits[19, CLOSING].isinf()


def test_a_distribution_over_the_language() -> None:
    """All 5,461 rows of up to 6 tokens: those of the language have probability, add up to 1, and the rest have none.

    float32 logits: each of up to 7 log-probabilities to about 1e-6, so the sum to 1e-5.
    """
    space = padded_space(4, LENGTH, PAD)
    possible = torch.tensor([is_possible(row) for row in space.tolist()])
    log_p = flow_of(balanced()).log_prob(space)
    assert torch.equal(log_p > -torch.inf, possible)
    assert bool((log_p[~possible] == -torch.inf).all()) and 0.05 < float(possible.double().mean()) < 0.6
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("make", [balanced, lambda: Recurrent(6, 5, LENGTH, width=16, nest=NEST, twice=TWICE)])
def test_nothing_unbalanced_is_sampled(make) -> None:
    """Stirred or new, which knows nothing; a tenth or more would break the rule without it."""
    torch.manual_seed(1)
    net = make()
    y = flow_of(net).sample(5_000, seed=3)
    assert all(is_possible(row) for row in y.tolist())
    assert int((y[:, -1] == PAD).sum()) > 500  # that ended
    net.balance = None
    assert sum(not is_possible(row) for row in flow_of(net).sample(5_000, seed=3).tolist()) > 500


def test_training_gives_every_parameter_a_gradient() -> None:
    net = balanced()
    x = torch.tensor([[BEGIN, RING, OPENING, ATOM, CLOSING, RING]])
    told = net(x).log_softmax(2).gather(2, torch.tensor([[RING, OPENING, ATOM, CLOSING, RING, END]])[..., None])
    (-told.sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_it_is_saved_and_loaded(tmp_path) -> None:
    flow = flow_of(balanced())
    flow.save(tmp_path / "model")
    loaded = Flow.load(tmp_path / "model")
    assert loaded.network.config["nest"] == list(NEST) and loaded.network.config["twice"] == list(TWICE)
    assert torch.equal(loaded.sample(100), flow.sample(100))
    space = padded_space(4, 3, PAD)
    space = torch.cat([space, torch.full((len(space), LENGTH - 3), PAD)], 1)
    assert torch.equal(loaded.log_prob(space), flow.log_prob(space))


@torch.no_grad()
def test_a_beta_input_leaves_it_as_it_is() -> None:
    net = balanced()
    ranged = with_beta(net, 1)
    x = torch.randint(6, (50, LENGTH), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ranged(x, None, None, torch.rand(50, 1)), net(x), rtol=1e-6, atol=1e-6)
    y = flow_of(AtBeta(ranged, torch.tensor([0.5]))).sample(1_000)
    assert all(is_possible(row) for row in y.tolist())


@pytest.mark.parametrize(
    ("config", "word"),
    [({"nest": (), "twice": (2,)}, "twice= needs nest="), ({"nest": (0,)}, r"nest must be two ids, got \(0,\)")],
)
def test_mistakes_are_named(config, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        Recurrent(6, 5, LENGTH, **config)
