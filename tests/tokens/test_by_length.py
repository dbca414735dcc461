"""What is left out because it holds nothing, and what is told on the way: neither may change a number."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from test_token_samplers import table_flow
from torch import Tensor, nn

from egflow import _correct, as_energy
from egflow._correct import DISTINCT, MOST_TIMES, TIMES, draw_corrected
from egflow.flow import TokenFlow
from egflow.network import Recurrent
from egflow.objective import cross_entropy
from egflow.path import Masked, Sequential, TokenPoint, Vocabulary
from egflow.solver import Ancestral
from egflow.training import Population, StepDraws, TokenMatching
from egflow.training._token_problem import by_length
from egflow.weights import Resample

sys.path.insert(0, str(Path(__file__).parents[1] / "network"))
from test_token_networks import stirred

LENGTH, PAD = 9, -7
WORDS = Vocabulary(3, PAD)


def rows(n: int, longest: int = LENGTH, seed: int = 0) -> Tensor:
    """Ids inside: 0 to ``longest`` tokens of 3, then END."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, (n, LENGTH), generator=generator)
    return x.masked_fill(torch.arange(LENGTH) >= torch.randint(longest + 1, (n, 1), generator=generator), 3)


def flow(width: int = 16, **config: int) -> TokenFlow:
    torch.manual_seed(0)
    net = Recurrent(5, 4, LENGTH, width=width, **config)
    return TokenFlow(stirred(net) if width == 16 else net, LENGTH, vocab_size=3, pad_id=PAD)


def whole_point(x: Tensor) -> TokenPoint:
    """The sequential path's point with all its columns."""
    x_t = torch.cat([torch.full((len(x), 1), WORDS.own), x[:, :-1]], 1)
    return TokenPoint(x_t, torch.zeros(len(x)), x, (x_t != WORDS.end).float() / LENGTH)


def sampled(x: Tensor) -> TokenPoint:
    return Sequential().sample(x, torch.zeros(len(x)), lambda *_: torch.zeros(0), WORDS)


@pytest.mark.parametrize("longest", [0, 1, 5, 8, 9])
def test_columns_that_hold_nothing_are_left_out(longest: int) -> None:
    """One column behind the longest row, for its END; shares are of the whole length, and the loss the same."""
    x = rows(200, longest)
    point, whole = sampled(x), whole_point(x)
    columns = min(longest + 1, LENGTH)
    assert point.x_t.shape == (200, columns)
    assert torch.equal(point.share, whole.share[:, :columns]) and bool((whole.share[:, columns:] == 0).all())
    net = flow().network
    with torch.no_grad():
        loss, expected = (cross_entropy(WORDS.log_softmax(net(one.x_t, one.t)), one) for one in (point, whole))
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)


def test_a_row_without_padding_keeps_its_columns() -> None:
    point = Sequential().sample(torch.zeros(4, LENGTH).long(), torch.zeros(4), lambda *_: torch.zeros(0), Vocabulary(3))
    assert point.x_t.shape == (4, LENGTH) and bool((point.share == 1 / LENGTH).all())


@torch.no_grad()
def test_log_prob_does_not_depend_on_the_rows_beside() -> None:
    """Sorted by length, in columns of the longest of a chunk: each row as by itself, in its place."""
    model = flow()
    x = WORDS.decode(rows(500))
    together = model.log_prob(x)
    alone = torch.cat([model.log_prob(x[i : i + 1]) for i in range(0, 500, 10)])
    torch.testing.assert_close(together[::10], alone, rtol=0, atol=1e-5)
    told = model.network(whole_point(rows(500)).x_t).log_softmax(2).gather(2, rows(500)[..., None])[..., 0]
    by_hand = torch.where(whole_point(rows(500)).share > 0, told, 0.0).sum(1).double()
    torch.testing.assert_close(together, by_hand, rtol=0, atol=1e-5)


@pytest.mark.parametrize("n", [1, 127, 128, 300])
def test_groups_hold_every_row_once_and_only_what_it_needs(n: int) -> None:
    point = sampled(rows(n))
    groups = list(by_length(point, Sequential()))
    assert torch.cat([index for index, _ in groups]).sort().values.tolist() == list(range(n))
    assert len(groups) == (n // 64 if n >= 128 else 1)
    for index, part in groups:
        columns = part.x_t.shape[1]
        assert torch.equal(part.x_t, point.x_t[index, :columns]) and torch.equal(part.x_1, point.x_1[index, :columns])
        assert float(point.share[index, columns:].sum()) == 0
        if len(groups) > 1:
            assert bool((part.share[:, -1] > 0).any())
    masked = list(by_length(point, Masked()))
    assert len(masked) == 1 and torch.equal(masked[0][1].x_t, point.x_t)


@pytest.mark.parametrize("ranged", [False, True])
def test_losses_are_those_of_the_plain_computation(ranged: bool) -> None:
    """With labels, beta and weights, which must go with their rows; and so are their gradients."""
    n = 300
    net = flow(num_classes=3, beta_dim=int(ranged)).network
    log_w = torch.zeros(n).double()
    population = Population(rows(n), torch.arange(n) % 3, Resample().prepare(log_w, log_w))
    problem = TokenMatching(Sequential(), WORDS, population)
    batch = problem.batch(StepDraws.at(0, 0, n, torch.Generator()), population)
    generator = torch.Generator().manual_seed(3)
    beta = torch.rand(n, 1, generator=generator) if ranged else None
    batch = type(batch)(batch.point, batch.condition, beta, torch.rand(n, generator=generator))
    losses = problem.losses(net, batch)
    point = batch.point
    logits = net(point.x_t, point.t, batch.condition, beta)
    expected = batch.weight * cross_entropy(WORDS.log_softmax(logits), point)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=1e-6)
    wanted = torch.autograd.grad(expected.sum(), net.parameters())
    for one, other in zip(torch.autograd.grad(losses.sum(), net.parameters()), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("config", [{}, {"num_classes": 2}])
def test_what_is_told_on_the_way_is_the_likelihood(config) -> None:
    """float32 networks: 9 log-probabilities, each to about 1e-6 whatever the order of sums."""
    model = flow(**config)
    model.condition_shape, model.num_classes = ((), 2) if config else (None, None)
    condition = torch.arange(3_000) % 2 if config else None
    solution = model.solve(3_000, condition, seed=1)
    assert solution.log_q is not None and solution.log_q.dtype == torch.float64
    assert int((solution.y == PAD).any(1).sum()) > 500
    torch.testing.assert_close(solution.log_q, model.log_prob(solution.y, condition), rtol=0, atol=1e-4)


def test_what_is_fixed_is_not_told() -> None:
    """log q of the rest given the prefix: log q(x) less the prefix's own, the same for all."""
    model, prefix = flow(), [2, 0, 1]
    fixed = torch.tensor([*prefix, *[-1] * (LENGTH - 3)])
    solution = model.solve(1_000, fixed=fixed, seed=1)
    z = torch.tensor([[WORDS.own, *prefix[:2]]])
    with torch.no_grad():
        of_prefix = model.network(z).log_softmax(2)[0].gather(1, torch.tensor(prefix)[:, None]).sum().double()
    torch.testing.assert_close(solution.log_q, model.log_prob(solution.y) - of_prefix, rtol=0, atol=1e-4)


def test_tempered_samples_are_not_told() -> None:
    """What they were drawn with is not the flow's likelihood."""
    assert flow().solve(10, solver=Ancestral(temperature=0.5)).log_q is None


def test_a_wide_network_tells_what_it_draws_with() -> None:
    """In bfloat16 where the CPU multiplies in it: .01 nats a row from the likelihood, and the mean over rows less.

    As of 9 tokens, each rounded at 2^-9 relative of logits of order 1.
    """
    model = flow(width=384)
    solution = model.solve(500, seed=1)
    assert solution.log_q is not None
    off = solution.log_q - model.log_prob(solution.y)
    assert float(off.abs().max()) < 0.15
    assert model._in_bfloat16 == bool(torch.cpu._is_avx512_bf16_supported())
    assert not flow()._in_bfloat16


class Counted:
    """An energy that counts the rows it is asked of."""

    def __init__(self, slope: float) -> None:
        self.slope, self.asked = slope, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.slope * (x == 1).double().sum(1)


def drawn_in_parts(slope: float, n: int = 500) -> tuple[Tensor, list[int], Counted, TokenFlow]:
    model, parts, energy = flow(), [], Counted(slope)

    def draw(k: int, part: int) -> tuple[Tensor, Tensor, None]:
        parts.append(k)
        made = model.solve(k, seed=100 + part)
        assert made.log_q is not None
        return made.y, made.log_q, None

    return draw_corrected(draw, n, model, model, energy, 1.0), parts, energy, model


@pytest.mark.parametrize("slope", [0.0, -0.5, -1.0])
def test_draws_are_taken_until_rows_hardly_repeat(slope: float, monkeypatch) -> None:
    """4 n at a time, each asked of the energy once; the share of distinct draws rises, to where it may stop."""
    shares, plain = [], _correct._resampled

    def watched(log_w: Tensor, energies: Tensor, u: Tensor) -> Tensor:
        index = plain(log_w, energies, u)
        shares.append(len(index.unique()) / len(u))
        return index

    monkeypatch.setattr(_correct, "_resampled", watched)
    y, parts, energy, _ = drawn_in_parts(slope)
    assert y.shape == (500, LENGTH) and parts == [TIMES * 500] * len(shares)
    assert energy.asked == sum(parts) <= MOST_TIMES * 500
    assert all(share < DISTINCT for share in shares[:-1])
    assert shares[-1] >= DISTINCT or sum(parts) == MOST_TIMES * 500
    assert (len(parts) == 1) == (slope == 0.0)
    assert len(parts) == 1 or shares[-1] > shares[0]


@pytest.mark.filterwarnings("ignore:the correction leaves:UserWarning")
def test_no_more_are_drawn_than_the_most() -> None:
    """A tilt that leaves an effective row of thousands."""
    y, parts, energy, _ = drawn_in_parts(-12.0, n=100)
    assert len(y) == 100 and sum(parts) == energy.asked == MOST_TIMES * 100


def test_sample_calls_the_energy_for_what_it_draws() -> None:
    base, *_ = table_flow("full", "sequential")
    tilted, *_ = table_flow("full", "sequential")
    energy = Counted(0.0)
    tilted.base, tilted.energy, tilted.beta = base, as_energy(energy), 1.0
    assert len(tilted.sample(50)) == 50 and energy.asked == TIMES * 50
    assert math.isclose(DISTINCT, 0.98) and isinstance(tilted.network, nn.Module)
