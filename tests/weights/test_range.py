"""Draws over a range of beta, against enumeration."""

import math
from collections.abc import Sequence

import pytest
import torch
from scipy import stats
from torch import Generator, Tensor

from egflow.training import StepDraws
from egflow.weights import Drawn, _cells, beta_range_batches

INF = math.inf
N = 40


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def draw(
    energies: Tensor, log_s: Tensor, low: Sequence[float], high: Sequence[float], n: int, groups: int, seed: int = 0
) -> Drawn:
    """n independent draws: the positions are not stratified, so that counts are multinomial."""
    generator = Generator().manual_seed(seed)
    u = torch.rand(n, generator=generator, dtype=torch.float64)
    return beta_range_batches(energies, log_s, low, high, groups=groups)(u, generator)


def p_value(energies: Tensor, log_s: Tensor, index: Tensor, beta: Tensor) -> float:
    """Pearson's test of draws at one beta (k,) against exp(log_s − beta·E) over all rows."""
    exact = torch.softmax(torch.where(log_s > -INF, log_s - energies.nan_to_num(posinf=0.0) @ beta, -INF), 0)
    counts = torch.bincount(index, minlength=len(energies)).double()
    assert float(counts[exact == 0].sum()) == 0
    rare = exact * len(index) < 5  # Pearson's cells need five; the rare ones are one cell
    expected = torch.cat([exact[~rare], exact[rare].sum()[None]]) * len(index)
    seen = torch.cat([counts[~rare], counts[rare].sum()[None]])
    if expected[-1] < 5:  # too rare even together: at most a handful may be seen
        assert seen[-1] < 30
        expected, seen = expected[:-1], seen[:-1]
    return float(stats.chi2.sf(float(((seen - expected).square() / expected).sum()), max(len(seen) - 1, 1)))


ENERGIES = {
    "normal": normal(N, 1),
    "heavy tail": (3 * normal(N, 1)).exp(),
    "ties": (normal(N, 1) * 2).round(),
    "two": normal(N, 2) * torch.tensor([1.0, 3.0], dtype=torch.float64),
    "three": normal(N, 3) / 2,
}
RANGES = [(0.0, 4.0), (-3.0, 2.0), (-5.0, -1.0), (2.0, 2.5)]
WEIGHTS = {"even": torch.zeros(N, dtype=torch.float64), "weighted": 2 * normal(N, seed=5)}
WEIGHTS["weighted"][3:9] = -INF


@pytest.mark.parametrize("most", [4, 1024])  # few cells: the rejection has work to do
@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("case", ENERGIES)
def test_draws_are_exact(case: str, weight: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a group, at its own beta. 120 groups are tested in a case: below 1e-7 none should be."""
    monkeypatch.setattr(_cells, "_MOST", most)
    energies, log_s = ENERGIES[case].clone(), WEIGHTS[weight]
    energies[log_s == -INF] = INF
    k = energies.shape[1]
    for seed, (low, high) in enumerate(RANGES):
        if case == "heavy tail" and low < 0:
            low, high = low / 50, high / 50  # else one row takes all
        made = draw(energies, log_s, [low] * k, [high] * k, 20_000, 4, seed)
        assert made.weight is None and made.beta is not None
        assert len(made.beta.unique(dim=0)) >= 2  # at an end groups share one
        for beta in made.beta.unique(dim=0):
            assert ((beta >= low) & (beta <= high)).all()
            at = (made.beta == beta).all(1)
            assert p_value(energies, log_s, made.index[at], beta) > 1e-7


def test_the_test_can_fail() -> None:
    energies, log_s = ENERGIES["normal"], WEIGHTS["even"]
    made = draw(energies, log_s, [0.0], [4.0], 5_000, 1)
    assert made.beta is not None
    assert p_value(energies, log_s, made.index, made.beta[0] + 0.15) < 1e-7


def test_same_generator_same_draw() -> None:
    energies, log_s = normal(500, 1), torch.zeros(500)
    batches = beta_range_batches(energies, log_s, [0.0], [8.0])
    u = (torch.arange(512, dtype=torch.float64) + 0.3) / 512
    one, two, other = (batches(u, Generator().manual_seed(seed)) for seed in (7, 7, 8))
    assert torch.equal(one.index, two.index) and torch.equal(one.beta, two.beta)  # type: ignore[arg-type]
    assert not torch.equal(one.index, other.index)


@pytest.mark.parametrize("batch", [512, 100, 33, 5, 1])
def test_rows_are_split_evenly_over_stratified_betas(batch: int) -> None:
    """The g-th smallest beta of 32 lies between the g-th and the next of their law's quantiles."""
    low, high = torch.tensor([-1.0, 0.0], dtype=torch.float64), torch.tensor([3.0, 8.0], dtype=torch.float64)
    batches = beta_range_batches(normal(300, 2), torch.zeros(300), low, high)
    made = batches((torch.arange(batch, dtype=torch.float64) + 0.5) / batch, Generator().manual_seed(batch))
    assert made.beta is not None and made.beta.shape == (batch, 2) and made.beta.dtype == torch.float64
    groups = min(batch, 32)
    group = (torch.arange(batch) + 0.5).mul(groups / batch).long()
    assert group.bincount().max() - group.bincount().min() <= 1
    of_group = torch.stack([made.beta[group == g][0] for g in range(groups)])
    assert torch.equal(made.beta, of_group[group])
    v = ((of_group - low) / (high - low)).sort(dim=0).values
    quantile = 0.5 - 0.54 * torch.cos(math.pi * torch.arange(groups + 1, dtype=torch.float64) / groups)
    assert (v >= quantile[:-1, None].clamp(0, 1) - 1e-12).all() and (v <= quantile[1:, None].clamp(0, 1) + 1e-12).all()


def test_the_betas_of_two_energies_are_independent() -> None:
    batches = beta_range_batches(normal(50, 2), torch.zeros(50), [0.0, 0.0], [1.0, 1.0])
    u, rows = (torch.arange(32, dtype=torch.float64) + 0.5) / 32, []
    for step in range(200):
        beta = batches(u, Generator().manual_seed(step)).beta
        assert beta is not None
        rows.append(beta)
    together = torch.cat(rows)
    # permutations of 32: the correlation of a step has variance 1/31; 200 steps, 5 standard errors
    assert abs(float(torch.corrcoef(together.T)[0, 1])) < 5 / math.sqrt(200 * 31)


KEPT = [
    ("normal", 0, 8, 0.85),
    ("lognormal", 0, 8, 0.85),
    ("lognormal", 0, 1e4, 0.85),
    ("normal", -8, 8, 0.85),
    ("two", 0, 4, 0.7),
]


@pytest.mark.parametrize(("name", "low", "high", "least"), KEPT)
def test_most_are_kept_at_every_beta(name: str, low: float, high: float, least: float) -> None:
    """Kept on average: Σ s·exp(−beta·E) over Σ_c S_c·bound_c, at betas all over the range."""
    x = normal(20_000, 2 if name == "two" else 1)
    energies = (2 * x).exp() if name == "lognormal" else x
    energies = energies - energies.amin(0)
    ends = torch.full((x.shape[1],), float(low)).double(), torch.full((x.shape[1],), float(high)).double()
    cell, boxes = _cells.energy_cells(energies, torch.zeros(len(x), dtype=torch.float64), *ends)
    assert torch.equal(cell.unique(), torch.arange(len(boxes.log_mass))) and len(boxes.log_mass) <= 1024
    for u in torch.linspace(0, 1, 23, dtype=torch.float64):
        beta = (ends[0] + u * (ends[1] - ends[0]))[None]
        proposed = torch.logsumexp(boxes.log_mass - boxes.exponents(beta), 1)
        kept = torch.logsumexp(-beta @ energies.T, 1)
        assert least < float((kept - proposed).exp()) <= 1 + 1e-9


@pytest.mark.parametrize(
    ("energies", "low", "high"),
    [
        (torch.full((7, 1), 3.0), 0.0, 8.0),  # constant
        (torch.tensor([[2.0]]), -1.0, 8.0),  # a single row
        (torch.tensor([[0.0], [1.0], [5.0]]), 0.0, 1e12),  # a huge beta
        (torch.tensor([[-1e15], [0.0], [1e15]]), -1e3, 1e3),
        (torch.tensor([[0.0, 1.0], [1.0, 0.0]]), 0.0, 1e12),
    ],
)
def test_degenerate_energies(energies: Tensor, low: float, high: float) -> None:
    k = energies.shape[1]
    made = draw(energies.double(), torch.zeros(len(energies)), [low] * k, [high] * k, 2_000, 32)
    assert made.beta is not None
    expected = torch.softmax(-made.beta @ energies.double().T, 1).sum(0)
    seen = torch.bincount(made.index, minlength=len(energies))
    assert ((seen - expected).abs() <= 6 * expected.sqrt() + 1e-6).all()


@pytest.mark.parametrize(
    ("low", "high", "log_s", "word"),
    [
        ([8.0], [0.0], 0.0, "lower first"),
        ([2.0], [2.0], 0.0, "lower first"),
        ([0.0], [INF], 0.0, "finite"),
        ([math.nan], [1.0], 0.0, "finite"),
        ([0.0, 0.0], [1.0, 1.0], 0.0, "range for each of the 1 energies"),
        ([0.0], [1.0], -INF, "no sample is left"),
        ([0.0], [1.0], INF, "must be finite"),
    ],
)
def test_refusals(low: list[float], high: list[float], log_s: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        beta_range_batches(normal(4, 1), torch.full((4,), log_s), low, high)


def test_refuses_shapes_energies_and_groups() -> None:
    with pytest.raises(ValueError, match=r"energies must be \(N, k\)"):
        beta_range_batches(normal(4), torch.zeros(4), [0.0], [1.0])
    with pytest.raises(ValueError, match="must be finite"):
        beta_range_batches(torch.tensor([[INF], [1.0]]), torch.zeros(2), [0.0], [1.0])
    with pytest.raises(ValueError, match="groups"):
        beta_range_batches(normal(4, 1), torch.zeros(4), [0.0], [1.0], groups=0)


def test_groups_of_one_beta_draw_other_rows() -> None:
    """A training step's own positions are the same fractions in every group; constant E, so all groups are alike."""
    n = 100_000
    energies, log_s = torch.zeros(n, 1, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    draws = StepDraws.at(0, 1, 512, torch.Generator())
    index = beta_range_batches(energies, log_s, [0.0], [4.0])(draws.u, draws.generator).index
    # 512 of 100,000 at random: 1.3 repeats expected, Poisson
    assert index.unique().numel() >= 505
