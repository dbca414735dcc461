"""Samplers alone, on networks of exact conditionals: exact ones are held to chi-square, leaps must say so."""

from __future__ import annotations

import pytest
import torch
from token_tables import Table, frequencies, full_space, padded_space, place_of, random_masses, total_variation
from torch import Tensor

from egflow.flow import TokenFlow
from egflow.path import Vocabulary
from egflow.solver import CTMC, Ancestral, EntropyOrdered, TokenSolution, make_token_solver

SPACES = {
    "full": (full_space(3, 4), 3, None),
    "padding in the vocabulary": (padded_space(4, 3, 0), 4, 0),
    "padding outside": (padded_space(3, 3, -7), 3, -7),
}
EXACT = [
    ("sequential", "ancestral"),
    ("masked", "ctmc"),
    ("masked", "entropy"),
    ("masked", "ancestral"),
    ("uniform", "ctmc"),
]
N = 10_000


def table_flow(name: str, path: str, spread: float = 1.0) -> tuple[TokenFlow, Tensor, Tensor]:
    space, size, pad_id = SPACES[name]
    p = random_masses(len(space), 0, spread)
    network = Table(space, p, Vocabulary(size, pad_id), path)
    return TokenFlow(network, space.shape[1], vocab_size=size, pad_id=pad_id, path=path), space, p


def chi_square(x: Tensor, space: Tensor, p: Tensor) -> float:
    """Pearson's statistic as standard normal deviations above its mean; states below 5 expected are pooled."""
    expected, seen = p * len(x), frequencies(x, space) * len(x)
    small = expected < 5
    expected, seen = (torch.cat([v[~small], v[small].sum()[None]]) for v in (expected, seen))
    keep = expected > 0
    statistic, dof = float(((seen - expected)[keep].square() / expected[keep]).sum()), int(keep.sum()) - 1
    return (statistic - dof) / (2 * dof) ** 0.5


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(("path", "solver"), EXACT)
def test_exact_samplers_draw_the_distribution(name, path, solver):
    flow, space, p = table_flow(name, path)
    solution = flow.solve(N, solver=solver, seed=1)
    assert isinstance(solution, TokenSolution) and solution.exact and solution.word == ""
    assert chi_square(solution.y, space, p) < 4.5  # a chi-square's tail is heavier than normal: 1 in 10,000


@pytest.mark.parametrize("steps", [2, 8])
@pytest.mark.parametrize("path", ["masked", "uniform"])
def test_leaps_are_marked_and_err_less_with_more_of_them(path, steps):
    flow, space, p = table_flow("full", path)
    solution = flow.solve(N, solver=f"ctmc:{steps}", seed=1)
    assert not solution.exact and f"several tokens at each of {steps} steps" in solution.word
    if steps == 2:
        assert chi_square(solution.y, space, p) > 20
        more = flow.solve(N, solver="ctmc:32", seed=1)
        tv = [total_variation(frequencies(y, space), p) for y in (solution.y, more.y)]
        assert tv[1] < 0.6 * tv[0]


def test_temperature_and_several_at_once_are_marked():
    flow, space, p = table_flow("full", "masked")
    for solver, word in (
        (EntropyOrdered(at_once=2), "2 tokens at each step"),
        (CTMC(temperature=0.5), "temperature 0.5"),
        (Ancestral(temperature=2), "temperature 2"),
    ):
        solution = flow.solve(N, solver=solver)
        assert not solution.exact and solution.word == word
        assert chi_square(solution.y, space, p) > 10


def test_low_temperature_draws_the_likeliest_and_ordering_by_entropy_starts_with_what_is_sure():
    space = torch.tensor([[0, 0], [1, 0], [2, 0], [2, 1]])
    p = torch.tensor([0.4, 0.3, 0.25, 0.05], dtype=torch.float64)
    flow = TokenFlow(Table(space, p, Vocabulary(3), "masked"), 2, vocab_size=3, path="masked")
    # the second position is surer: cold, it is told first, 0, and then the first is 0
    assert bool((flow.sample(50, solver=EntropyOrdered(temperature=0.01)) == 0).all())
    assert bool((flow.sample(50, solver=Ancestral(temperature=0.01)) == 0).all())


def test_evaluations_are_counted_and_finished_rows_dropped():
    flow, _, _ = table_flow("padding outside", "sequential")
    solution = flow.solve(N, seed=2)
    tokens = (solution.y != flow.pad_id).sum(1)
    assert bool((solution.nfe == (tokens + 1).clamp(max=3)).all())
    for path in ("masked", "uniform"):
        nfe = table_flow("padding outside", path)[0].solve(200, seed=2).nfe
        assert int(nfe.min()) >= 1 and (path == "uniform" or int(nfe.max()) <= 3)


@pytest.mark.parametrize("solver", ["ctmc", "entropy", "ancestral"])
def test_infilling_is_the_conditional(solver):
    flow, space, p = table_flow("padding outside", "masked")
    fixed = torch.tensor([-1, 2, -1])
    given = space[:, 1] == 2
    y = flow.sample(N, solver=solver, fixed=fixed, seed=4)
    assert bool((y[:, 1] == 2).all())
    assert chi_square(y, space, torch.where(given, p, 0.0) / p[given].sum()) < 4.5


def test_a_fixed_end_and_rows_of_their_own():
    flow, space, p = table_flow("padding outside", "masked")
    y = flow.sample(N, fixed=torch.tensor([-1, -1, -7]), seed=4)
    given = space[:, 2] == -7
    assert chi_square(y, space, torch.where(given, p, 0.0) / p[given].sum()) < 4.5
    rows = torch.tensor([[0, -1, -1], [-1, -1, 1], [2, 2, 2]])
    y = flow.sample(3, fixed=rows)
    assert bool((y == rows)[rows != -1].all()) and bool((place_of(y, space) >= 0).all())


def test_a_prefix_on_the_sequential_path_is_exact():
    flow, space, p = table_flow("padding in the vocabulary", "sequential")
    given = space[:, 0] == 3
    y = flow.sample(N, fixed=torch.tensor([3, -1, -1]), seed=4)
    assert chi_square(y, space, torch.where(given, p, 0.0) / p[given].sum()) < 4.5
    ended = flow.sample(4, fixed=torch.tensor([1, 0, 0]))
    assert ended.tolist() == [[1, 0, 0]] * 4


def test_seeds_fix_samples():
    for path in ("sequential", "masked", "uniform"):
        flow, *_ = table_flow("full", path)
        assert torch.equal(flow.sample(50, seed=3), flow.sample(50, seed=3))
        assert not torch.equal(flow.sample(50, seed=3), flow.sample(50, seed=4))


def test_solvers_by_name():
    masked, sequential = table_flow("full", "masked")[0].path, table_flow("full", "sequential")[0].path
    assert make_token_solver(None, masked) == CTMC() and make_token_solver(None, sequential) == Ancestral()
    assert make_token_solver("ctmc:4", masked) == CTMC(steps=4)
    for solver, path, words in (
        ("entropi", masked, "did you mean 'entropy'"),
        ("ctmc", sequential, "does not sample path 'sequential': use ancestral"),
        ("entropy:4", masked, "a number of steps is for ctmc"),
    ):
        with pytest.raises(ValueError, match=words):
            make_token_solver(solver, path)
    with pytest.raises(TypeError, match="solver must be a name"):
        make_token_solver(CTMC, masked)
    for build, words in (
        (lambda: CTMC(steps=0), "steps must be a whole number"),
        (lambda: CTMC(temperature=0.0), "temperature must be a positive number"),
        (lambda: EntropyOrdered(at_once=1.5), "at_once must be a whole number"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=words):
            build()
