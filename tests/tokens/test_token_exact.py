"""fit and tilt on tokens against enumeration: every path and sampler at its default settings, at beta 1 and 3.

The yardstick is the floor of resampling: the total variation between q and draws from the weighted data, as many as are
effective. A perfect generator shows about .7 of it (it has the noise of its own draws, and not that of the data).
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from token_tables import full_space, padded_space, place_of, random_masses, total_variation
from torch import Tensor

import egflow
from egflow.flow import Flow
from egflow.network import Recurrent, TokenMLP
from egflow.path import Vocabulary

LIMIT = {"sequential": 1.5, "masked": 1.5, "uniform": 2.5}
SOLVERS = {"sequential": ["ancestral"], "masked": ["ctmc", "entropy", "ancestral"], "uniform": ["ctmc"]}


@dataclass(frozen=True)
class Problem:
    """An enumerated space with p, an energy, and N draws of p."""

    space: Tensor
    p: Tensor
    energy: Tensor
    vocabulary: Vocabulary
    n: int

    @property
    def data(self) -> Tensor:
        return self.space[self._drawn(self.p, self.n, 11)]

    def q(self, beta: float) -> Tensor:
        return torch.softmax(self.p.log() - beta * self.energy, 0)

    def energies(self, x: Tensor) -> Tensor:
        return self.energy[place_of(x.cpu(), self.space)]

    def floor(self, beta: float, repeats: int = 5) -> tuple[float, int]:
        """The mean over fresh data of the distance of n_eff draws of the weighted data, and n_eff."""
        found, n = [], 0
        for repeat in range(repeats):
            seen = torch.bincount(self._drawn(self.p, self.n, 100 + repeat), minlength=len(self.p)).double()
            w = (-beta * (self.energy - self.energy.min())).exp()
            n = round(float((seen @ w) ** 2 / (seen @ w.square())))
            drawn = torch.bincount(self._drawn(seen * w, n, 200 + repeat), minlength=len(self.p)).double()
            found.append(total_variation(drawn / n, self.q(beta)))
        return sum(found) / repeats, n

    def distance(self, x: Tensor, beta: float) -> float:
        place = place_of(x.cpu(), self.space)
        inside = place[place >= 0]
        seen = torch.bincount(inside, minlength=len(self.p)).double() / len(x)
        return total_variation(seen, self.q(beta)) + 0.5 * (1 - len(inside) / len(x))

    @staticmethod
    def _drawn(masses: Tensor, n: int, seed: int) -> Tensor:
        return torch.multinomial(masses, n, True, generator=torch.Generator().manual_seed(seed))


def random_energies(states: int) -> Tensor:
    return 0.4 * torch.randn(states, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def small(padded: bool) -> Problem:
    """About a hundred states, random masses and random energies."""
    space = padded_space(3, 4, pad_id=-1) if padded else full_space(3, 4)
    vocabulary = Vocabulary(3, -1 if padded else None)
    return Problem(space, random_masses(len(space), 0), random_energies(len(space)), vocabulary, 8_000)


def full(padded: bool) -> Problem:
    """4,096 sequences of a random Markov chain with a structured energy, or 3,906 padded ones with random masses."""
    if padded:
        space, vocabulary = padded_space(5, 5, pad_id=5), Vocabulary(5, 5)
        return Problem(space, random_masses(len(space), 0), random_energies(len(space)), vocabulary, 200_000)
    generator = torch.Generator().manual_seed(0)
    space = full_space(4, 6)
    first = torch.softmax(torch.randn(4, generator=generator, dtype=torch.float64), 0)
    then = torch.softmax(1.5 * torch.randn(4, 4, generator=generator, dtype=torch.float64), 1)
    p = first[space[:, 0]] * then[space[:, :-1], space[:, 1:]].prod(1)
    energy = (space == 1).double().sum(1) / 3 + (space[:, 0] == space[:, -1]).double()
    return Problem(space, p, energy, Vocabulary(4), 200_000)


def small_network(problem: Problem, path: str) -> torch.nn.Module:
    words, length = problem.vocabulary, problem.space.shape[1]
    torch.manual_seed(0)
    if path == "sequential":
        return Recurrent(words.inputs, words.outputs, length, width=32, depth=1)
    return TokenMLP(words.inputs, words.outputs, length, width=96, depth=2, timed=path == "uniform")


def options(rate: float) -> egflow.TrainingOptions:
    return egflow.TrainingOptions(progress="quiet", learning_rate=rate)


def fitted(problem: Problem, path: str, steps: int, rate: float, network: torch.nn.Module | None = None) -> Flow:
    words = problem.vocabulary
    ids = {"vocab_size": words.size, "pad_id": words.pad_id, "path": path}
    batch = 512 if network is None else 256
    return egflow.fit(problem.data, network=network, steps=steps, batch_size=batch, options=options(rate), **ids)


def check(problem: Problem, flow: Flow, beta: float, path: str) -> None:
    floor, n = problem.floor(beta)
    for solver in SOLVERS[path]:
        value = problem.distance(flow.sample(n, solver=solver, seed=3), beta)
        print(f"{path} {solver} beta {beta:g}: {value:.4f}, {value / floor:.2f} x the floor {floor:.4f} of {n}")
        assert value < LIMIT[path] * floor


QUICK = [("sequential", 300, True), ("masked", 1_600, True), ("uniform", 800, False)]
REST = [(path, steps, not padded) for path, steps, padded in QUICK]


@pytest.mark.parametrize(("path", "steps", "padded"), QUICK)
def test_small_spaces(path, steps, padded):
    problem = small(padded)
    base = fitted(problem, path, steps, 1e-2, small_network(problem, path))
    check(problem, base, 0.0, path)
    settings = {"steps": steps, "batch_size": 256, "options": options(5e-3)}
    check(problem, egflow.tilt(base, problem.energies, 3.0, data=problem.data, **settings), 3.0, path)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "steps", "padded"), REST)
def test_small_spaces_padded_or_not(path, steps, padded):
    test_small_spaces(path, steps, padded)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["sequential", "masked"])
def test_one_model_of_every_beta(path):
    """The limit of a single beta's model, at both ends and inside of the range."""
    problem = small(False)
    base = fitted(problem, path, 300, 1e-2, small_network(problem, path))
    steps = {"sequential": 600, "masked": 4_000}[path]
    flow = egflow.tilt(
        base, problem.energies, (0.0, 3.0), data=problem.data, steps=steps, batch_size=256, options=options(1e-2)
    )
    assert flow.beta_range == ((0.0, 3.0),)
    for beta in (0.0, 1.0, 3.0):
        check(problem, flow.at(beta), beta, path)
    assert torch.equal(flow.sample(50, beta=1.0), flow.at(1.0).sample(50))
    with pytest.raises(ValueError, match=r"outside beta in \[0, 3\]"):
        flow.sample(5, beta=4.0)


@pytest.mark.slow
@pytest.mark.parametrize("beta", [1.0, 3.0])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("path", ["sequential", "masked", "uniform"])
def test_four_thousand_states_at_default_settings(path, padded, beta, request):
    if path != "sequential" and padded:
        floors = {"masked": "1.7 to 2.0", "uniform": "past 2.5"}[path]
        reason = f"not met: {floors} floors (docs/benchmarks/index.md, Tokens)"
        request.applymarker(pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True))
    problem = full(padded)
    # 3,906 padded sequences of masses without any order are a table to learn by heart: 2,000 steps leave 2.4 floors
    base = fitted(problem, path, 5_000 if padded else 2_000, 1e-3)
    flow = egflow.tilt(base, problem.energies, beta, data=problem.data, steps=2_000, options=options(1e-3))
    check(problem, flow, beta, path)
