"""The rounds as an algorithm, on Gaussians: every figure has a closed form."""

import math
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from egflow.rounds import (
    Begin,
    Proposals,
    Rules,
    Tail,
    arranged,
    effective,
    fraction,
    lost_mode,
    next_beta,
    pool_log_w,
    run_rounds,
    split_parts,
)
from egflow.training import TrainingError

sys.path.insert(0, str(Path(__file__).parent))
from gaussian_rounds import GaussianSteps, Normal, standard

N = 5_000


def go(steps: GaussianSteps, rules: Rules, tail: Tail | None = None):
    first = steps.draws_of_p(N)
    return run_rounds(Begin(steps.p, first, first.x, calls=N), rules, steps, tail=tail)  # type: ignore[arg-type]


def test_eight_standard_deviations_out() -> None:
    """Mean −8 and covariance I; errors of a mean of n_eff draws of unit variance, four of them."""
    steps = GaussianSteps()
    found = go(steps, Rules(goal=8.0, proposals=N))
    assert found.word is None and found.beta == 8.0
    error = 4 / math.sqrt(found.records[-1]["n_eff"])
    assert torch.allclose(found.flow.mean, torch.tensor([-8.0, 0.0], dtype=torch.float64), atol=error)  # type: ignore[attr-defined]
    assert torch.allclose(found.flow.covariance, torch.eye(2, dtype=torch.float64), atol=math.sqrt(2) * error)  # type: ignore[attr-defined]
    # Σ of the rounds' own increments of log Z, each with an error of sqrt((1/ess − 1)/N) and less
    assert found.log_z == pytest.approx(32.0, abs=4 * math.sqrt(len(steps.refits) * (1 / 0.3 - 1) / N))


def test_betas_rise_to_the_goal_and_the_last_refit_is_at_it() -> None:
    steps = GaussianSteps()
    found = go(steps, Rules(goal=-6.0, proposals=N))
    betas = [beta for beta, _ in steps.refits]
    assert betas == sorted(betas, reverse=True) and betas[-1] == betas[-2] == -6.0
    assert [last for _, last in steps.refits] == [False] * (len(betas) - 1) + [True]
    assert [record["beta"] for record in found.records] == betas
    assert found.calls == N * len(betas)


def test_a_goal_the_data_reach_takes_one_round() -> None:
    steps = GaussianSteps()
    found = go(steps, Rules(goal=0.5, proposals=N))
    assert steps.refits == [(0.5, True)] and found.calls == N


def test_the_pace_is_the_target() -> None:
    """Between N(−a, 1) and N(−b, 1) ess_fraction is exp(−(b − a)²), so a step is sqrt(−log target)."""
    fresh = GaussianSteps().draws_of_p(200_000)
    step = next_beta(fresh, 0.0, 50.0, 0.3)
    assert step == pytest.approx(math.sqrt(-math.log(0.3)), rel=0.02)
    assert fraction(fresh, step) == pytest.approx(0.3, abs=0.002)
    assert next_beta(fresh, 0.0, 0.1, 0.3) == 0.1
    assert next_beta(fresh, 3.0, 50.0, 0.3) == 3.0  # not kept even there


def test_pool_mixes_by_effective_points() -> None:
    steps = GaussianSteps()
    parts = [steps.draws_of_p(N), steps.propose(Normal(*moved(-3.0)), N, 7)]
    log_w = pool_log_w(parts, 3.0)
    shares = torch.softmax(log_w, 0).split(N)
    own = [effective(part.log_w(3.0)) for part in parts]
    assert float(shares[0].sum()) == pytest.approx(own[0] / sum(own))
    assert effective(log_w) == pytest.approx(sum(own))


def moved(mean: float) -> tuple[Tensor, Tensor]:
    p = standard()
    return p.mean + torch.tensor([mean, 0.0], dtype=torch.float64), p.covariance


def test_held_out_rows_stay_held_out() -> None:
    """Rows of a set keep their side whatever sets are added, and the report's own split finds them."""
    from egflow.report import held_out_split

    steps = GaussianSteps()
    parts = [steps.draws_of_p(n, seed) for seed, n in enumerate((1_003, 517, 2_000))]
    train, held = split_parts(parts)
    assert not set(train.tolist()) & set(held.tolist()) and len(train) + len(held) == 3_520
    again = split_parts(parts[:2])
    assert torch.equal(again[1], held[: len(again[1])])
    order = arranged(train, held)
    sides = held_out_split(len(order))
    assert set(order[sides[1]].tolist()) <= set(held.tolist())
    assert set(order[sides[0]].tolist()) <= set(train.tolist())
    assert len(order) > 3_520 - 40


def test_a_lost_mode_stops_the_run_with_a_word() -> None:
    """A rigged refit: at the third round it drops the half of p on one side of the second axis, which has no energy."""
    wide = Normal(torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor([1.0, 25.0], dtype=torch.float64)))

    def spoil(flow: Normal, number: int) -> Normal:
        if number < 3:
            return flow
        one_side = flow.mean + torch.tensor([0.0, 5.0], dtype=torch.float64)
        return Normal(one_side, torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64)))

    steps = GaussianSteps(p=wide, spoil=spoil)
    found = go(steps, Rules(goal=6.0, proposals=N))
    assert found.word == "modes" and "cluster" in found.reason
    assert found.beta == steps.refits[1][0] and len(found.records) == 3  # the flow before it
    assert float(found.flow.mean[1]) == pytest.approx(0.0, abs=0.5)  # type: ignore[attr-defined]


def test_no_mode_is_called_lost_by_chance() -> None:
    """Sound fits over many seeds: 4 standard errors of 12 clusters, and half the share, are not reached."""
    for seed in range(40):
        x = torch.randn(3_000, 2, generator=torch.Generator().manual_seed(seed))
        y = torch.randn(5_000, 2, generator=torch.Generator().manual_seed(1_000 + seed))
        assert lost_mode(x, -0.5 * x[:, 0].double(), 0 * x[:, 0], y - torch.tensor([0.5, 0.0])) is None


def test_a_refit_that_does_not_keep_the_target_is_corrected_then_stopped() -> None:
    """Covariances half as large again as they should be leave √2/1.5 a dimension, .89, effective."""
    steps = GaussianSteps(spoil=lambda flow, number: Normal(flow.mean, 1.5 * flow.covariance))
    found = go(steps, Rules(goal=8.0, proposals=N, target_ess=0.93))
    assert found.word == "n_eff" and found.beta == steps.refits[0][0]
    assert [last for _, last in steps.refits] == [False, False, False, True]


def test_the_number_of_rounds() -> None:
    found = go(GaussianSteps(), Rules(goal=8.0, proposals=N, most=3))
    assert found.word == "rounds" and 0 < found.beta < 8 and len(found.records) == 3


@pytest.mark.parametrize("budget", [N, N + 99, N + 2_000, 2 * N])
def test_the_budget_is_kept(budget: int) -> None:
    found = go(GaussianSteps(), Rules(goal=8.0, proposals=N, max_calls=budget))
    assert found.calls <= budget
    assert found.word == "max_calls" and found.beta < 8
    assert found.calls > budget - 100


def test_a_round_without_a_finite_energy() -> None:
    def of_data_alone(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x[:, 0] if len(calls) == 1 else torch.full((len(x),), torch.inf, dtype=torch.float64)

    calls: list[int] = []
    with pytest.raises(TrainingError, match="round 2: none of the 5,000 proposals has a finite energy"):
        go(GaussianSteps(energy=of_data_alone), Rules(goal=8.0, proposals=N))


def halves_at(shift: float) -> tuple[Normal, Normal]:
    return Normal(*moved(shift)), Normal(*moved(-shift))


def tail_of(steps: GaussianSteps, limit: float, bias: float = 0.0) -> Tail:
    halves = [steps.draws_of_p(N, 50 + k) for k in range(2)]
    for half in halves:
        half.energies.values.add_(bias)
    return Tail((halves[0], halves[1]), limit)


def test_two_bases_that_agree_let_the_run_through_with_their_range() -> None:
    """Bases moved by ±.02 along the energy give means that differ by .04 at every beta."""
    steps = GaussianSteps(halves=halves_at(0.02))
    found = go(steps, Rules(goal=4.0, proposals=N), tail_of(steps, 0.1))
    assert found.word is None and found.base_error == pytest.approx(0.04, abs=0.01)


def test_bases_that_disagree_past_some_beta_stop_it_there() -> None:
    """Bases of precision 1 ± .05 have means −beta/(1 ± .05): the range passes .3 at beta 3."""
    covariances = [standard().covariance / torch.tensor([[1 + s, 1], [1, 1]]) for s in (0.05, -0.05)]
    steps = GaussianSteps(halves=(Normal(standard().mean, covariances[0]), Normal(standard().mean, covariances[1])))
    found = go(steps, Rules(goal=8.0, proposals=N), tail_of(steps, 0.3))
    assert found.word == "base_error" and "log_p" in found.reason
    assert found.beta == pytest.approx(0.3 / (1 / 0.95 - 1 / 1.05), rel=0.15)
    assert found.base_error is not None and found.base_error <= 0.3
    assert steps.refits[-1] == (found.beta, True)


def test_a_base_that_is_wrong_twice_the_same_way_is_held_against_the_data() -> None:
    """Both bases agree, but their energies are .25 above the data's: the gap is seen near beta 0 and carried on."""
    steps = GaussianSteps(halves=halves_at(0.0))
    sound = go(steps, Rules(goal=4.0, proposals=N), tail_of(steps, 0.2))
    assert sound.word is None and sound.base_error == pytest.approx(0.0, abs=1e-9)
    off = go(steps, Rules(goal=4.0, proposals=N), tail_of(steps, 0.2, bias=-0.25))
    assert off.word == "base_error" and off.beta < 0.5


def test_forbidden_and_massless_draws_carry_no_weight() -> None:
    steps = GaussianSteps(energy=lambda x: torch.where(x[:, 1] > 0, x[:, 0].double(), torch.inf))
    fresh = steps.draws_of_p(1_000)
    ratio = fresh.log_ratio.clone()
    ratio[:100] = -math.inf
    log_w = Proposals(fresh.x, fresh.energies, ratio).log_w(2.0)
    assert bool((log_w[:100] == -math.inf).all())
    assert torch.equal(log_w[100:] > -math.inf, fresh.x[100:, 1] > 0)
