"""One model of every beta, against closed form: a linear energy moves a Gaussian, and leaves its width.

p = N(0, I), E = x[0]: q_beta = N(−beta·e_0, I).
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import egflow
from egflow import Flow
from egflow._account import ReportOptions
from egflow.network import MLP
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet", learning_rate=3e-3)
BRIEF = ReportOptions(n=1_000, has_density=False)
N, SAMPLES = 100_000, 4_000


def first(x: Tensor) -> Tensor:
    return x[:, 0]


def second(x: Tensor) -> Tensor:
    return x[:, 1]


@pytest.fixture(scope="module")
def data() -> Tensor:
    return torch.randn(N, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def base(data: Tensor) -> Flow:
    return egflow.fit(data, network=MLP((2,), width=32, depth=2), steps=200, batch_size=256, options=QUIET)


@pytest.fixture(scope="module")
def one(base: Flow, data: Tensor) -> Flow:
    return egflow.tilt(base, first, (-1.0, 2.0), data=data, steps=600, batch_size=256, options=QUIET, reporting=BRIEF)


@pytest.fixture(scope="module")
def two(base: Flow, data: Tensor) -> Flow:
    ranges = [(0.0, 1.5), (0.0, 1.0)]
    return egflow.tilt(
        base, [first, second], ranges, data=data, steps=600, batch_size=256, options=QUIET, reporting=BRIEF
    )


def tolerance(*beta: float) -> float:
    """4 standard errors of the samples' mean and of the weighted data's (n_eff = .9·N·exp(−|beta|²)), and training's.

    What 600 steps of this small network leave was at most .06 on three seeds; beta ignored would be off by 1.
    """
    n_eff = 0.9 * N * math.exp(-sum(b * b for b in beta))
    return 4 * math.sqrt(1 / SAMPLES + 1 / n_eff) + 0.06


@pytest.mark.parametrize("beta", [-1.0, 0.0, 0.7, 2.0])
def test_every_beta_of_a_gaussian(one: Flow, beta: float) -> None:
    x = one.sample(SAMPLES, beta=beta, seed=1)
    assert abs(float(x[:, 0].mean()) + beta) < tolerance(beta)
    assert abs(float(x[:, 1].mean())) < tolerance(beta)
    assert float((x.T.cov() - torch.eye(2)).abs().max()) < 2 * tolerance(beta)
    assert torch.equal(x, one.at(beta).sample(SAMPLES, seed=1))


@pytest.mark.parametrize("beta", [(0.0, 0.0), (1.5, 0.0), (0.0, 1.0), (1.2, 0.8)])
def test_every_pair_of_betas_of_a_gaussian(two: Flow, beta: tuple[float, float]) -> None:
    x = two.sample(SAMPLES, beta=beta, seed=1)
    assert float((x.mean(0) + torch.tensor(beta)).abs().max()) < tolerance(*beta)
    assert float((x.T.cov() - torch.eye(2)).abs().max()) < 2 * tolerance(*beta)


def test_the_density_is_that_of_the_beta(one: Flow) -> None:
    x = torch.tensor([[0.0, 0.0], [-1.0, 0.5]])
    exact = -0.5 * ((x[:, 0] + 1.0).square() + x[:, 1].square()) - math.log(2 * math.pi)
    # a mean off by .06 changes log q by .06·|x − mean| and less than .1 here; a width off by 5 % by .1
    torch.testing.assert_close(one.at(1.0).log_prob(x), exact, atol=0.2, rtol=0)


def test_the_report_has_a_block_for_each_beta(one: Flow) -> None:
    report = one.report
    assert report is not None and report.per_beta is not None
    assert list(report.beta) == [-1.0, 2.0]  # type: ignore[arg-type]
    betas = [block["beta"] for block in report.per_beta]
    assert betas[0] == -1.0 and betas[-1] == 2.0 and betas == sorted(betas)
    for block in report.per_beta:
        assert block["energy_mean"]["target"] == pytest.approx(-block["beta"], abs=0.3)


def test_a_saved_range_is_the_same(one: Flow, tmp_path: Path) -> None:
    one.save(tmp_path / "model")
    loaded = Flow.load(tmp_path / "model")
    assert loaded.beta_range == one.beta_range == ((-1.0, 2.0),)
    assert torch.equal(loaded.sample(5, beta=1.3, seed=2), one.sample(5, beta=1.3, seed=2))


@pytest.mark.parametrize("beta", [-1.01, 2.01, math.nan, math.inf])
def test_outside_the_range_is_an_error(one: Flow, beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        one.sample(3, beta=beta)


def test_without_beta_is_an_error(one: Flow, two: Flow) -> None:
    for use in (lambda: one.sample(3), lambda: one.log_prob(torch.zeros(1, 2)), lambda: two.sample(3, beta=0.5)):
        with pytest.raises(ValueError, match="beta"):
            use()


@pytest.mark.parametrize("beta", [(8.0, 0.0), (2.0, 2.0), (0.0, math.inf), (0.0, 1.0, 2.0), [(0.0, 1.0), (0.0, 1.0)]])
def test_an_empty_or_odd_range_is_refused(base: Flow, data: Tensor, beta: object) -> None:
    with pytest.raises(ValueError, match="beta"):
        egflow.tilt(base, first, beta, data=data, steps=1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"weights": "global"}, "weights must be 'resample'"),
        ({"weights": "softmax"}, "weights must be 'resample'"),
        ({"options": TrainingOptions(progress="quiet", coupling="ot")}, "beta"),
        ({"rounds": "auto"}, "rounds reach one beta"),
        ({"condition": torch.zeros(N, dtype=torch.long), "per_condition": True, "base": None}, "per_condition"),
    ],
)
def test_what_has_no_exact_draws_is_refused(base: Flow, data: Tensor, changed: dict[str, object], word: str) -> None:
    settings: dict[str, object] = {"base": base, "data": data, "steps": 1, **changed}
    with pytest.raises(ValueError, match=word):
        egflow.tilt(energy=first, beta=(0.0, 1.0), **settings)  # type: ignore[arg-type]


def test_all_forbidden_is_refused(base: Flow, data: Tensor) -> None:
    left, right = (
        (lambda x: torch.where(x[:, 0] < 0, torch.inf, 0.0)),
        (lambda x: torch.where(x[:, 0] < 0, 0.0, torch.inf)),
    )
    with pytest.raises(ValueError, match="forbidden"):
        egflow.tilt(base, [left, right], [(0.0, 1.0), (0.0, 1.0)], data=data, steps=1)
