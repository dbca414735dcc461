"""fit, tilt, correct, end to end against closed forms; and what they refuse."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import egflow
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet")
MEAN, STD = torch.tensor([1.0, -0.5]), torch.tensor([1.0, 0.6])
N, STEPS = 40_000, 600


@pytest.fixture(scope="module")
def data() -> Tensor:
    return MEAN + STD * torch.randn(N, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def base(data: Tensor) -> egflow.Flow:
    return egflow.fit(data, steps=STEPS, options=QUIET)


def check_moments(samples: Tensor, mean: Tensor, std: Tensor, slack: float = 0.04) -> None:
    """Within 4 standard errors of m samples, and a slack (in standard deviations) for so short a training."""
    m = len(samples)
    assert ((samples.mean(0) - mean).abs() / std < 4 / math.sqrt(m) + slack).all(), samples.mean(0)
    assert ((samples.std(0) / std).log().abs() < 4 / math.sqrt(2 * m) + slack).all(), samples.std(0)


@pytest.mark.parametrize("method", ["cefm", "ced"])
def test_linear_energy_shifts_a_gaussian(data: Tensor, base: egflow.Flow, method: str) -> None:
    """E = a·x, p = N(m, s²): q = N(m − beta s² a, s²)."""
    slope, beta = torch.tensor([1.0, -0.5]), 0.7
    start = None if method == "ced" else base
    guided = egflow.tilt(start, lambda x: x @ slope, beta, data=data, method=method, steps=STEPS, options=QUIET)
    assert guided.path.name == ("vp" if method == "ced" else "cond_ot")
    check_moments(guided.sample(20_000, seed=1), MEAN - beta * STD**2 * slope, STD, 0.07 if method == "ced" else 0.04)
    if method == "cefm":
        assert guided.report is not None and guided.report.achieved_beta is not None
        assert guided.report.achieved_beta == pytest.approx(beta, rel=0.1)
        assert "within noise" in guided.report.verdict


def test_quadratic_energy_narrows_a_gaussian(data: Tensor, base: egflow.Flow) -> None:
    """E = ‖x‖²/2: precision 1/s² + beta, mean m/s² over it."""
    beta = 1.5
    guided = egflow.tilt(base, lambda x: x.square().sum(1) / 2, beta, data=data, steps=STEPS, options=QUIET)
    precision = 1 / STD**2 + beta
    check_moments(guided.sample(20_000, seed=1), MEAN / STD**2 / precision, precision.rsqrt())


def test_a_mixture_is_reweighted() -> None:
    """Two modes with energies 0 and 1: odds exp(beta) after the tilt."""
    sign = torch.where(torch.arange(20_000) % 2 == 0, 1.0, -1.0)[:, None]
    x = 2 * sign + 0.3 * torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    guided = egflow.tilt(None, lambda x: (x[:, 0] > 0).float(), 1.0, data=x, steps=1_200, options=QUIET)
    share = float((guided.sample(20_000, seed=2)[:, 0] > 0).float().mean())
    assert share == pytest.approx(1 / (1 + math.e), abs=4 * math.sqrt(0.2 / 20_000) + 0.02)


def test_conditional_gaussians_are_tilted_for_each_condition() -> None:
    """x | c ~ N(c, .5²), E = x: q(x | c) = N(c − beta/4, .5²), for labels and for vectors alike."""
    label = torch.arange(40_000) % 3
    x = label[:, None] + 0.5 * torch.randn(40_000, 1, generator=torch.Generator().manual_seed(2))
    for condition, given in ((label, 2), (label[:, None].float(), torch.tensor([2.0]))):
        discrete = condition is label
        guided = egflow.tilt(
            None, first, 2.0, data=x, condition=condition, per_condition=discrete, steps=1_200, options=QUIET
        )
        check_moments(guided.sample(10_000, given, seed=3), torch.tensor([1.5]), torch.tensor([0.5]), 0.08)


def test_forbidden_points_are_avoided_at_beta_zero(data: Tensor, base: egflow.Flow) -> None:
    wall = egflow.as_energy(lambda x: torch.where(x[:, 0] > 1, math.inf, 0.0))
    guided = egflow.tilt(base, wall, 0.0, data=data, steps=STEPS, options=QUIET)
    assert guided.report is not None
    assert guided.report.forbidden["generated"] < 0.03 and guided.report.forbidden["data"] == pytest.approx(
        0.5, abs=0.02
    )


def test_correction_moves_a_wrong_flow_to_the_target(base: egflow.Flow) -> None:
    """Samples of the base, resampled by exp(−beta E), follow the tilt although the flow was never tilted."""
    slope, beta = torch.tensor([1.0, 0.0]), 0.7
    energy = egflow.as_energy(lambda x: x @ slope)
    corrected = egflow.correct(base.sample(8_000, seed=4), base, base, energy, beta)
    n_eff = 8_000 * math.exp(-(beta**2))
    mean = MEAN - beta * STD**2 * slope
    assert ((corrected.mean(0) - mean).abs() / STD < 4 / math.sqrt(n_eff) + 0.03).all()


def test_sample_with_correction(data: Tensor, base: egflow.Flow) -> None:
    guided = egflow.tilt(base, lambda x: x[:, 0], 0.7, data=data, steps=1, options=QUIET)  # hardly tilted
    plain, better = (guided.sample(4_000, correct=c, seed=5).mean(0)[0] for c in (None, True))
    target = float(MEAN[0]) - 0.7
    assert abs(float(plain) - target) > 0.4
    assert abs(float(better) - target) < 4 / (4_000 * math.exp(-(0.7**2))) ** 0.5 + 0.03
    with pytest.raises(ValueError, match=r"beta must be 0\.7"):
        guided.sample(5, beta=1.0)


def test_without_data_p_is_the_base(base: egflow.Flow) -> None:
    guided = egflow.tilt(base, lambda x: x[:, 0], 0.5, steps=STEPS, options=QUIET)
    assert guided.report is not None
    assert guided.report.reference == "base" and "drawn from it" in guided.report.notes["data"]
    check_moments(guided.sample(10_000, seed=6), MEAN - 0.5 * STD**2 * torch.tensor([1.0, 0.0]), STD, 0.08)


def test_beta_auto_solves_for_the_fraction(data: Tensor, base: egflow.Flow) -> None:
    guided = egflow.tilt(base, lambda x: x[:, 0], "auto", data=data, target_ess=0.5, steps=5, options=QUIET)
    assert guided.report is not None and guided.report.ess_fraction == pytest.approx(0.5, rel=1e-3)
    # exp(−beta² s²) for a Gaussian
    assert guided.beta == pytest.approx(math.sqrt(math.log(2)), rel=0.05)


def test_the_same_seed_gives_the_same_flow(data: Tensor) -> None:
    first, again, other = (egflow.fit(data, steps=5, seed=s, options=QUIET).sample(4) for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_the_base_is_left_alone_and_the_global_generator_too(data: Tensor, base: egflow.Flow) -> None:
    before, state = base.sample(5), torch.get_rng_state()
    egflow.tilt(base, lambda x: x[:, 0], 1.0, data=data, steps=3, options=QUIET)
    assert torch.equal(base.sample(5), before) and torch.equal(torch.get_rng_state(), state)


def test_optimal_transport_coupling(data: Tensor) -> None:
    flow = egflow.fit(data, steps=200, batch_size=128, options=TrainingOptions(progress="quiet", coupling="ot"))
    check_moments(flow.sample(5_000, seed=7), MEAN, STD, 0.15)
    with pytest.raises(ValueError, match="differ in condition"):
        egflow.fit(data, torch.zeros(N).long(), steps=2, options=TrainingOptions(progress="quiet", coupling="ot"))


X = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("x", "kwargs", "word"),
    [
        (X.clone().index_fill_(0, torch.tensor([7]), math.nan), {}, r"x must be finite: 1 samples .* x\[7\]"),
        (X.long(), {}, "x must be a float tensor"),
        (X[:0], {}, "at least 20"),
        (X[:19], {}, "at least 20"),
        (X[:, 0], {}, r"pass x\[:, None\]"),
        ("abc", {}, "x must be a float tensor"),
        (X, {"condition": torch.zeros(49).long()}, "one row a sample"),
        (X, {"condition": -torch.ones(50).long()}, "labels"),
        (X, {"condition": torch.full((50, 1), math.nan)}, "condition must be finite"),
        (X, {"path": "straight"}, "path must be one of"),
        (X, {"sample_weight": torch.zeros(50)}, "sample_weight"),
        (X, {"sample_weight": torch.ones(3)}, "sample_weight"),
        (X, {"device": "cuda:77"}, "device=cuda:77"),
    ],
    ids=str,
)
def test_fit_refuses(x: Any, kwargs: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        egflow.fit(x, steps=1, options=QUIET, **kwargs)


def first(x: Tensor) -> Tensor:
    return x[:, 0]


@pytest.mark.parametrize(
    ("energy", "kwargs", "word"),
    [
        (first, {"beta": math.nan}, "beta must be finite"),
        (first, {"beta": math.inf}, "beta must be finite"),
        (first, {"beta": "much"}, "beta must be a number"),
        (first, {"beta": (8.0, 8.0)}, "range .* is empty"),
        (first, {"beta": (0.0, 8.0, 9.0)}, "beta must be a number or"),
        ([first, first], {"beta": (0.0, 8.0)}, "2 pairs"),
        (first, {"beta": (0.0, 8.0), "weights": "softmax"}, "weights must be 'resample'"),
        (first, {"target_ess": 0.3}, "target_ess solves for beta"),
        (first, {"method": "qipo"}, "method must be one of"),
        (first, {"method": "ced"}, "path vp"),
        (first, {"weights": "is"}, "weights must be one of"),
        (first, {"per_condition": True}, "needs condition"),
        (first, {"condition": torch.zeros(50).long()}, "where the base was trained"),
        (first, {"data": X[:, :1]}, "event shape"),
        (first, {"data": None, "sample_weight": torch.ones(20_000)}, "weights of data="),
        (first, {"steps": 0}, "steps must be"),
        (lambda x: x[:, :1], {}, r"\(50, 1\)"),
        (lambda x: x[:, 0].long(), {}, "float"),
        (lambda x: x[:, 0] * math.nan, {}, "NaN"),
        (lambda x: x[:, 0] - math.inf, {}, "inf"),
        (lambda x: torch.full((len(x),), math.inf), {}, "forbids all"),
        (lambda x: x[:3, 0], {}, r"\(3,\)"),
        (lambda x: 1 / 0, {}, "division by zero"),
    ],
)
def test_tilt_refuses(energy: Callable[[Tensor], Tensor], kwargs: dict[str, Any], word: str) -> None:
    small = egflow.fit(X, steps=1, options=QUIET)
    given: dict[str, Any] = {"beta": 1.0, "data": X, "steps": 1, "options": QUIET} | kwargs
    with pytest.raises(ValueError, match=word):
        egflow.tilt(small, energy, **given)


@pytest.mark.parametrize(
    ("given", "asked", "word"),
    [
        (torch.arange(50) % 3, torch.arange(50) % 4, "labels below 3, .* label 3"),
        (torch.arange(50) % 3, torch.zeros(50, 2), "labels below 3"),
        (torch.zeros(50, 3), torch.zeros(50, 2), r"floats of shape \(N, \*\(3,\)\)"),
        (torch.zeros(50, 3), torch.arange(50) % 3, "floats of shape"),
    ],
)
def test_conditions_that_the_base_does_not_know_are_refused(given: Tensor, asked: Tensor, word: str) -> None:
    small = egflow.fit(X, given, steps=1, options=QUIET)
    with pytest.raises(ValueError, match=word):
        egflow.tilt(small, first, 1.0, data=X, condition=asked, steps=1, options=QUIET)


def test_a_wrong_beta_is_refused_before_any_energy_is_run() -> None:
    small, calls = egflow.fit(X, steps=1, options=QUIET), 0

    def counted(x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return x[:, 0]

    with pytest.raises(ValueError, match="beta must be finite"):
        egflow.tilt(small, counted, math.nan, data=X, steps=1, options=QUIET)
    assert calls == 0


def test_data_that_ask_for_gradients_are_taken_as_data() -> None:
    x = X.clone().requires_grad_()
    guided = egflow.tilt(egflow.fit(x, steps=2, options=QUIET), first, 1.0, data=x, steps=2, options=QUIET)
    assert guided.report is not None and x.grad is None


def test_negative_beta_is_said() -> None:
    small = egflow.fit(X, steps=1, options=QUIET)
    guided = egflow.tilt(small, first, -1.0, data=X, steps=1, options=QUIET)
    assert guided.report is not None and "high energy is preferred" in guided.report.notes["beta"]


def test_from_scratch_needs_data() -> None:
    with pytest.raises(ValueError, match="needs data="):
        egflow.tilt(None, first, 1.0)
