"""method="twist" against enumeration: 121 states of a base whose p is known exactly, and q with it.

Distances are of log_prob over all states, without the noise of samples. The yardstick is the floor: the distance from q
of the draws the head is trained on, weighted, as a method that resamples them could at best reproduce them.
"""

from __future__ import annotations

import math
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_token_samplers import chi_square
from token_tables import frequencies, full_space, padded_space, place_of, total_variation
from torch import Tensor

import egflow
from egflow import Flow, TrainingOptions
from egflow._account import ReportOptions
from egflow._twist import CELLS, energy_cells
from egflow.flow import TokenFlow
from egflow.network import Recurrent, Transformer, Twisted
from egflow.report import held_out_split
from egflow.training import HiddenStates, Population, StepDraws, TwistMatching
from egflow.weights import Resample

sys.path.insert(0, str(Path(__file__).parents[1] / "network"))
from test_token_networks import stirred

PAD, LENGTH, DRAWS, N = -1, 4, 4_000, 4_000
SPACE = padded_space(3, LENGTH, PAD)
QUIET = TrainingOptions(progress="quiet", learning_rate=1e-2)
LIMIT = 0.8  # of the floor; measured: .2 to .65


def base(pad_id: int | None = PAD) -> TokenFlow:
    """A random flow; half of its mass is on rows that fill the length."""
    torch.manual_seed(0)
    net = Recurrent(4 + (pad_id is not None), 3 + (pad_id is not None), LENGTH, width=16, depth=1)
    stirred(net)
    if pad_id is not None:
        with torch.no_grad():
            net.head.bias[3] -= 1.5
    return TokenFlow(net, LENGTH, vocab_size=3, pad_id=pad_id)


def count(x: Tensor) -> Tensor:
    """Nine values."""
    return (x == 1).double().sum(1) + 0.5 * (x == 2).double().sum(1)


def wall(x: Tensor) -> Tensor:
    return torch.where(x[:, 0] == 2, math.inf, count(x))


def ones(x: Tensor) -> Tensor:
    return (x == 1).double().sum(1)


def twos(x: Tensor) -> Tensor:
    return (x == 2).double().sum(1)


def exact(*terms: tuple[float, Tensor]) -> Tensor:
    """q over the space."""
    log_q = base().log_prob(SPACE)
    for beta, energy in terms:
        log_q = torch.where(
            energy.isfinite(), log_q - beta * energy.where(energy.isfinite(), energy.new_zeros(())), -math.inf
        )
    return torch.softmax(log_q, 0)


def floor(q: Tensor, p: Tensor) -> float:
    """The mean distance from q of weighted draws of p, as many as are trained on."""
    found = []
    for seed in range(10):
        drawn = torch.multinomial(p, DRAWS * 9 // 10, True, generator=torch.Generator().manual_seed(seed))
        weight = torch.bincount(drawn, minlength=len(p)) * (q / p)
        found.append(total_variation(weight / weight.sum(), q))
    return sum(found) / len(found)


def check(flow: TokenFlow, q: Tensor, space: Tensor = SPACE) -> None:
    assert flow.base is not None
    value, least = total_variation(flow.log_prob(space).exp(), q), floor(q, flow.base.log_prob(space).exp())
    print(f"{value:.4f}, {value / least:.2f} of the floor {least:.4f}")
    assert value < LIMIT * least


@pytest.fixture(autouse=True)
def small_and_unreported(monkeypatch, request) -> None:
    """A head of the problem's size, and no report, which takes longer than the training."""
    monkeypatch.setattr("egflow._twist.Twisted", partial(Twisted, width=32, rank=4))
    if "reported" not in request.fixturenames:
        monkeypatch.setattr("egflow._tilt.account", lambda *_, facts, **__: SimpleNamespace(**facts))


def tilt(start: Flow | None, energy, beta, **more) -> TokenFlow:
    settings = {"steps": 300, "batch_size": 96, "options": QUIET, "draws": DRAWS} | more
    flow = egflow.tilt(start, energy, beta, **settings)
    assert isinstance(flow, TokenFlow)
    return flow


def test_one_beta() -> None:
    start = base()
    before = start.log_prob(SPACE)
    flow = tilt(start, count, 2.0)
    q = exact((2.0, count(SPACE)))
    assert isinstance(flow.network, Twisted) and flow.beta == 2.0 and flow.beta_range is None
    assert total_variation(before.exp(), q) > 0.5  # so that there is something to learn
    check(flow, q)
    assert torch.equal(start.log_prob(SPACE), before) and type(start.network) is Recurrent
    for mine, its in zip(start.network.parameters(), flow.network.base.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_every_beta_of_a_range() -> None:
    """At 0 to float32's rounding, elsewhere as one beta's own, from one training."""
    flow = tilt(base(), count, (0.0, 3.0))
    assert flow.beta_range == ((0.0, 3.0),) and flow.beta is None
    torch.testing.assert_close(flow.log_prob(SPACE, beta=0.0), base().log_prob(SPACE), rtol=0, atol=1e-5)
    for beta in (1.0, 2.0, 3.0):
        check(flow.at(beta), exact((beta, count(SPACE))))
        assert float(flow.log_prob(SPACE, beta=beta).exp().sum()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(flow.sample(50, beta=1.5), flow.at(1.5).sample(50))
    with pytest.raises(ValueError, match=r"outside beta in \[0, 3\]"):
        flow.sample(5, beta=4.0)


def test_forbidden_rows() -> None:
    """A cell of their own; the head leaves them little, the correction nothing."""
    flow = tilt(base(), wall, 1.0)
    assert flow.network.levels[-1].isinf().all() and flow.network.levels[:-1].isfinite().all()
    q = exact((1.0, wall(SPACE)))
    check(flow, q)
    forbidden = SPACE[:, 0] == 2
    assert float(base().log_prob(SPACE).exp()[forbidden].sum()) > 0.1
    assert float(flow.log_prob(SPACE).exp()[forbidden].sum()) < 0.005
    assert bool((flow.sample(N)[:, 0] != 2).all())


def test_two_energies() -> None:
    flow = tilt(base(), [ones, twos], [(0.0, 2.0), (-1.0, 1.0)], steps=400)
    for betas in ((2.0, -1.0), (1.0, 0.5)):
        check(flow.at(betas), exact((betas[0], ones(SPACE)), (betas[1], twos(SPACE))))
    torch.testing.assert_close(flow.log_prob(SPACE, beta=(0.0, 0.0)), base().log_prob(SPACE), rtol=0, atol=1e-5)


def test_rows_without_padding() -> None:
    """A vocabulary without END: every row is full."""
    start, space = base(None), full_space(3, LENGTH)
    flow = tilt(start, count, 2.0)
    p = start.log_prob(space)
    q = torch.softmax(p - 2.0 * count(space), 0)
    assert total_variation(p.exp(), q) > 0.3
    check(flow, q, space)


def test_corrected_samples_follow_q_where_the_head_has_hardly_learnt() -> None:
    """10 steps: raw samples are far off; corrected ones pass a chi-square test of as many independent draws.

    Resampled along the sorted energies, they scatter less than such; of 4 N draws at n_eff > .5, hardly a row repeats.
    """
    flow = tilt(base(), count, 1.0, steps=10)
    q = exact((1.0, count(SPACE)))
    assert chi_square(flow.sample(N, correct=False, seed=1), SPACE, q) > 20
    assert abs(chi_square(flow.sample(N, seed=1), SPACE, q)) < 4.5
    assert (
        total_variation(frequencies(flow.sample(N, seed=1), SPACE), q)
        < 1.2 * 0.5 * (2 * q / (math.pi * N)).sqrt().sum()
    )


def test_an_interrupted_training_goes_on_to_the_same_flow(tmp_path, monkeypatch, sigint) -> None:
    losses, calls = TwistMatching.losses, 0

    def run(folder: Path, stop: int | None, resume: bool) -> Tensor:
        def counted(self: TwistMatching, network, batch) -> Tensor:
            nonlocal calls
            calls += 1
            if calls == stop:
                signal.raise_signal(signal.SIGINT)
            return losses(self, network, batch)

        monkeypatch.setattr(TwistMatching, "losses", counted)
        options = replace(QUIET, folder=folder, resume=resume, checkpoint_every=10)
        return tilt(base(), count, 2.0, steps=20, draws=400, options=options).log_prob(SPACE)

    whole = run(tmp_path / "whole", None, False)
    calls = 0
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", 13, False)
    assert torch.equal(run(tmp_path / "cut", None, True), whole)
    assert float((whole - base().log_prob(SPACE)).abs().max()) > 0.1


@pytest.mark.filterwarnings("ignore:.*effective points:UserWarning")
def test_the_report_says_what_p_is(reported, tmp_path) -> None:
    flow = tilt(base(), count, 1.0, steps=20, draws=600, reporting=ReportOptions(n=200))
    report = flow.report
    assert report is not None and (report.method, report.reference, report.n_data) == ("twist", "base", 600)
    assert report.notes["data"] == "p means the base flow: 600 samples drawn from it to train on, as many to report on"
    assert report.correction is not None and report.correction["ess_fraction"] > 0.3
    flow.save(tmp_path / "model")
    loaded = Flow.load(tmp_path / "model")
    assert torch.equal(loaded.log_prob(SPACE), flow.log_prob(SPACE))
    assert torch.equal(loaded.sample(50, energy=egflow.as_energy(count)), flow.sample(50))


@pytest.fixture
def reported() -> None:
    """Asked for by a test that makes its report."""


def points() -> Flow:
    return Flow(torch.nn.Linear(2, 2), (2,))


def masked() -> TokenFlow:
    return TokenFlow(Transformer(5, 4, LENGTH, width=16, heads=2), LENGTH, vocab_size=3, pad_id=PAD, path="masked")


def attentive() -> TokenFlow:
    return TokenFlow(Transformer(5, 4, LENGTH, width=16, heads=2, causal=True), LENGTH, vocab_size=3, pad_id=PAD)


def conditional() -> TokenFlow:
    flow = TokenFlow(Recurrent(5, 4, LENGTH, width=16, num_classes=2), LENGTH, vocab_size=3, pad_id=PAD)
    flow.condition_shape, flow.num_classes = (), 2
    return flow


@pytest.mark.parametrize(
    ("start", "changed", "word"),
    [
        (points, {}, "on path 'sequential' without conditions.* use method='cefm'"),
        (masked, {}, "on path 'sequential' without conditions.* use method='cefm'"),
        (conditional, {"data": SPACE}, "on path 'sequential' without conditions.* use method='cefm'"),
        (lambda: None, {"data": SPACE}, "on path 'sequential' without conditions"),
        (attentive, {}, r"around egflow\.network\.Recurrent, got Transformer: use method='cefm'"),
        (base, {"weights": "global"}, "takes no rounds=, weights= or per_condition=: leave them out"),
        (base, {"rounds": "auto"}, "takes no rounds=, weights= or per_condition=: leave them out"),
        (base, {"per_condition": True}, "takes no rounds=, weights= or per_condition=: leave them out"),
        (base, {"method": "twisted"}, "method must be one of cefm, ced, twist, trajectory_balance, got 'twisted'"),
    ],
)
def test_refusals(start, changed, word) -> None:
    with pytest.raises(ValueError, match=word):
        tilt(start(), count, 1.0, **({"method": "twist"} | changed))


def test_a_base_that_is_a_twist_is_no_base_of_another() -> None:
    """It is tilted by its weights, as any flow; to a range of beta it has no input for one."""
    first = tilt(base(), count, 1.0, steps=5, draws=100)
    second = tilt(first, twos, 1.0, steps=5, draws=100)
    assert second.report.method == "cefm" and second.base is first
    with pytest.raises(ValueError, match=r"takes no further range of beta: tilt its base by both energies"):
        tilt(first, twos, (0.0, 1.0), steps=5, draws=100)


@pytest.mark.parametrize(
    ("start", "changed", "method"),
    [
        (base, {}, "twist"),
        (base, {"beta": (0.0, 1.0)}, "twist"),
        (base, {"data": SPACE}, "cefm"),
        (base, {"weights": "global"}, "cefm"),
        (base, {"data": SPACE, "method": "twist"}, "twist"),
        (base, {"method": "cefm"}, "cefm"),
        (masked, {}, "cefm"),
        (attentive, {}, "cefm"),
    ],
)
def test_which_method_is_taken_where_none_is_named(start, changed, method) -> None:
    flow = tilt(start(), count, changed.pop("beta", 1.0), **({"steps": 2, "draws": 60} | changed))
    assert flow.report.method == method and isinstance(flow.network, Twisted) == (method == "twist")


def matching(n: int = 300) -> tuple[Twisted, TwistMatching]:
    """A head on the base's samples, with cells that are counts of token 1."""
    start = base()
    net = Twisted(start.network.config, [[float(k)] for k in range(5)], [0.0], [1.0], width=16, rank=3)
    stirred(net)
    z = start.vocabulary.encode(start.sample(n))
    parts = [
        Population(z[rows], (z[rows] == 1).sum(1), Resample().prepare(*[torch.zeros(len(rows)).double()] * 2))
        for rows in held_out_split(n)
    ]
    return net, TwistMatching(
        start.vocabulary, *parts, tuple(HiddenStates.of(net, part.x, start.vocabulary) for part in parts)
    )


@torch.no_grad()
def test_hidden_states_are_those_of_the_base() -> None:
    """Read once in bfloat16, 2^-9 relative a layer; rows of like length together, and each at its own place."""
    net, problem = matching()
    for part, hidden in zip((problem.train, problem.held_out), problem.hidden, strict=True):
        x_t = torch.cat([torch.full((len(part.x), 1), 4), part.x[:, :-1]], 1)
        expected, whole = net.base.read(x_t)[0], x_t != 3
        got = hidden.at(torch.arange(len(x_t)), LENGTH)
        assert len(hidden.states) == int(whole.sum())
        torch.testing.assert_close(got[whole], expected[whole], rtol=0.03, atol=0.03)


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_with_the_cell() -> None:
    """Of every prefix and the next token, by plain loops; the same however the batch is grouped or cut."""
    net, problem = matching()
    batch = problem.batch(StepDraws.at(0, 0, 300, torch.Generator()), problem.train)
    losses = problem.losses(net, batch)
    assert set(problem.train.x[batch.rows].tolist()[0]) <= {0, 1, 2, 3}
    for row in range(0, 300, 25):
        x = problem.train.x[batch.rows[row]]
        x_t = torch.cat([torch.tensor([4]), x[:-1]])[None]
        told = net.forecast(net.read(x_t, problem.hidden[0].at(batch.rows[row, None], LENGTH))).log_softmax(-1)[0]
        size = min(int((x != 3).sum()) + 1, LENGTH)
        expected = -sum(float(told[i, x[i], (x == 1).sum()]) for i in range(size)) / LENGTH
        assert float(losses[row]) == pytest.approx(expected, rel=1e-4)
    parts = torch.cat([problem.losses(net, part) for part in batch.split(4)])
    torch.testing.assert_close(parts, losses, rtol=1e-5, atol=1e-6)
    held_out = problem.batch(StepDraws.at(0, 0, 40, torch.Generator()), problem.held_out)
    assert held_out.hidden is problem.hidden[1] and bool(problem.losses(net, held_out).isfinite().all())


def cells(energies: Tensor, forbidden: Tensor | None = None, log_s: Tensor | None = None, ranges=((0.0, 3.0),)):
    n = len(energies)
    forbidden = torch.zeros(n, dtype=torch.bool) if forbidden is None else forbidden
    log_s = torch.zeros(n).double() if log_s is None else log_s
    return energy_cells(energies.double(), forbidden, log_s, ranges, 0)


@pytest.mark.parametrize("k", [1, 2])
def test_cells_are_a_partition_and_levels_their_means(k: int) -> None:
    energies = torch.randn(5_000, k, generator=torch.Generator().manual_seed(0)).double()
    cell, levels = cells(energies, ranges=((0.0, 3.0),) * k)
    assert cell.shape == (5_000,) and len(levels) <= CELLS
    assert cell.unique().tolist() == list(range(len(levels))) and len(levels) > CELLS / 2
    for c, level in enumerate(levels):
        torch.testing.assert_close(torch.tensor(level, dtype=torch.float64), energies[cell == c].mean(0))


def test_cells_are_fine_where_the_tilts_have_their_mass() -> None:
    """Of N(0, 1) at beta 3: the tilt's mass is below −2, where p has 2 %; a third of the cells or more are there."""
    energies = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
    low = [level[0] < -2 for level in cells(energies)[1]]
    high = [level[0] > 2 for level in cells(energies, ranges=((-3.0, 0.0),))[1]]
    assert sum(low) >= len(low) / 3 and sum(high) >= len(high) / 3


def test_forbidden_rows_have_the_last_cell() -> None:
    energies = torch.tensor([[1.0], [0.0], [2.0], [0.0], [1.0]]).repeat(40, 1)
    forbidden = torch.tensor([False, True, False, True, False]).repeat(40)
    cell, levels = cells(energies, forbidden)  # a forbidden row's value counts for nothing
    assert levels == [[1.0], [2.0], [None]]
    assert cell.tolist() == [0, 2, 1, 2, 0] * 40


def test_an_energy_of_few_values_has_a_cell_for_each() -> None:
    two = torch.tensor([[0.0], [5.0]]).repeat(50, 1)
    assert cells(two)[1] == [[0.0], [5.0]] and cells(two)[0].tolist() == [0, 1] * 50
    rare = torch.cat([torch.zeros(999, 1), torch.ones(1, 1)])  # a thousandth of p, and less of its tilt
    assert cells(rare)[1] == [[0.0], [1.0]]
    assert cells(torch.arange(float(CELLS))[:, None])[1] == [[float(k)] for k in range(CELLS)]
    constant = torch.full((50, 1), 3.0)
    assert cells(constant)[1] == [[3.0]] and bool((cells(constant)[0] == 0).all())
    one_allowed = torch.arange(5) != 2
    cell, levels = cells(torch.arange(5.0)[:, None], one_allowed)
    assert levels == [[2.0], [None]] and cell.tolist() == [1, 1, 0, 1, 1]


def test_an_energy_that_does_not_vary_or_lies_far_from_0_leaves_the_others_their_cells() -> None:
    both = torch.tensor([[0.0, 1.0], [5.0, 1.0]]).repeat(50, 1)
    assert cells(both, ranges=((0.0, 1.0),) * 2)[1] == [[0.0, 1.0], [5.0, 1.0]]
    far = 1e9 + torch.arange(2_000).double()[:, None]
    cell, levels = cells(far, ranges=((0.0, 0.0),))
    assert len(levels) == CELLS / 2 and bool((cell.diff() >= 0).all())  # in order, none mixed


def test_sample_weights_count_in_the_cells() -> None:
    """Rows of weight 0 draw no centre."""
    energies = torch.arange(100.0)[:, None]
    log_s = torch.where(torch.arange(100) < 50, 0.0, -math.inf).double()
    levels = cells(energies, log_s=log_s, ranges=((0.0, 0.0),))[1]
    assert levels[-1][0] > 60 and [level[0] for level in levels[:-1]] == sorted(level[0] for level in levels[:-1])
    assert all(level[0] < 50 for level in levels[:-1])


def test_place_of_all() -> None:
    assert place_of(SPACE, SPACE).tolist() == list(range(121))
