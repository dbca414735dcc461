"""Weights against brute force."""

import math

import pytest
import torch

from egflow.energy import EnergyValues
from egflow.weights import (
    Global,
    Resample,
    Softmax,
    ess_fraction,
    log_weights,
    log_z,
    make_draw,
    max_weight,
    n_eff,
    normalise,
    per_condition_weights,
    solve_beta,
)

INF = math.inf


def values(*energies: float) -> EnergyValues:
    return EnergyValues.from_tensor(torch.tensor(energies, dtype=torch.float64))


def test_against_brute_force() -> None:
    energies, s = [0.0, 0.5, 2.0, INF], [1.0, 2.0, 0.0, 3.0]
    w = [weight * math.exp(-1.5 * e) for e, weight in zip(energies, s, strict=True)]
    log_w = log_weights(values(*energies), 1.5, torch.tensor(s))
    assert normalise(log_w).tolist() == pytest.approx([v / sum(w) for v in w])
    assert n_eff(log_w) == pytest.approx(sum(w) ** 2 / sum(v * v for v in w))
    assert ess_fraction(log_w) == pytest.approx(n_eff(log_w) / 4)
    assert max_weight(log_w) == pytest.approx(max(w) / sum(w))
    assert log_z(log_w, torch.tensor(s))[0] == pytest.approx(math.log(sum(w) / sum(s)))


def test_forbidden_has_no_weight_even_at_beta_zero() -> None:
    assert normalise(log_weights(values(3.0, INF, 5.0), 0.0)).tolist() == [0.5, 0.0, 0.5]


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e4, 1e30])
def test_large_exponents_do_not_overflow(scale: float) -> None:
    log_w = log_weights(values(0.0, scale, -scale), 1.0)
    assert math.isfinite(log_z(log_w)[0]) and 1.0 <= n_eff(log_w) <= 3.0 + 1e-9


def test_log_z_of_a_gaussian_within_its_error() -> None:
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value, error = log_z(log_weights(EnergyValues.from_tensor(x), 0.7))
    # x ~ N(0, 1): log E[exp(−0.7 x)] = 0.245, and the error is sqrt((e^{.49} − 1)/N) by the delta method
    assert error == pytest.approx(math.sqrt(math.expm1(0.49) / 200_000), rel=0.05)
    assert abs(value - 0.245) < 4 * error


@pytest.mark.parametrize("target", [0.9, 0.3, 0.01])
def test_solve_beta(target: float) -> None:
    x = torch.randn(50_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    energies = EnergyValues.from_tensor(x)
    assert ess_fraction(log_weights(energies, solve_beta(energies, target))) == pytest.approx(target, rel=1e-4)


def test_solve_beta_of_a_gaussian_is_closed_form() -> None:
    x = torch.randn(400_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    # ESS/N = exp(−beta²) for E = x ~ N(0, 1)
    assert solve_beta(EnergyValues.from_tensor(x), 0.5) == pytest.approx(math.sqrt(math.log(2)), rel=0.02)


@pytest.mark.parametrize(
    ("energies", "target", "word"),
    [
        ((1.0, 1.0, 1.0), 0.5, "all finite energies are equal"),
        ((0.0, 0.0, 1.0, 2.0), 0.3, "tie at the lowest"),
        ((0.0, INF, INF, INF), 0.5, "all finite energies are equal"),
        ((0.0, 1.0, INF, INF), 0.6, "at beta 0"),
        ((0.0, 1.0), 1.5, "between 0 and 1"),
    ],
)
def test_solve_beta_refuses(energies: tuple[float, ...], target: float, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        solve_beta(values(*energies), target)


@pytest.mark.parametrize("beta", [math.nan, INF, -INF, True, "3"])
def test_bad_beta(beta: object) -> None:
    with pytest.raises(ValueError, match="beta"):
        log_weights(values(0.0, 1.0), beta)  # type: ignore[arg-type]


@pytest.mark.parametrize("weight", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, math.nan], [[1.0], [1.0]]], ids=str)
def test_bad_sample_weight(weight: list[float]) -> None:
    with pytest.raises(ValueError, match="sample_weight"):
        log_weights(values(0.0, 1.0), 1.0, torch.tensor(weight))


def test_weight_on_forbidden_points_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="no sample is left"):
        log_weights(values(0.0, INF), 1.0, torch.tensor([0.0, 1.0]))


def test_per_condition_keeps_the_marginal() -> None:
    condition = torch.tensor([0, 0, 1, 1, 1, 7])
    weight = torch.tensor([1.0, 2.0, 1.0, 1.0, 3.0, 2.0])
    log_w = log_weights(values(0.0, 1.0, 2.0, 3.0, INF, 9.0), 1.0, weight)
    share = normalise(per_condition_weights(log_w, condition, weight))
    for label, mass in ((0, 3.0), (1, 5.0), (7, 2.0)):
        assert float(share[condition == label].sum()) == pytest.approx(mass / 10)
    inside = share[condition == 0]
    assert float(inside[1] / inside[0]) == pytest.approx(2 * math.exp(-1.0))


def test_per_condition_refuses_an_empty_label() -> None:
    with pytest.raises(ValueError, match="some condition"):
        per_condition_weights(log_weights(values(0.0, INF), 1.0), torch.tensor([0, 1]))


GENERATOR = torch.Generator()  # unused by these draws
LOG_W = log_weights(values(0.0, 1.0, INF, 0.3, 2.0), 1.7, torch.tensor([1.0, 1.0, 5.0, 0.5, 2.0]))
LOG_S = torch.tensor([1.0, 1.0, 0.0, 0.5, 2.0], dtype=torch.float64).log()


@pytest.mark.parametrize("draw", [Resample(), Resample(defensive=0.3), Global()], ids=str)
def test_draws_are_unbiased(draw: Resample | Global) -> None:
    """Counting every position of a fine systematic grid, draws times loss weight are the shares."""
    n = 200_000
    drawn = draw.prepare(LOG_W, LOG_S)((torch.arange(n, dtype=torch.float64) + 0.5) / n, GENERATOR)
    index, weight = drawn.index, drawn.weight
    counted = torch.zeros(5, dtype=torch.float64)
    counted.index_add_(0, index, torch.ones(n, dtype=torch.float64) if weight is None else weight)
    torch.testing.assert_close(counted / n, normalise(LOG_W), atol=5 / n * 5, rtol=0)


def test_softmax_is_the_papers_form() -> None:
    drawn = Softmax().prepare(LOG_W, LOG_S)(torch.linspace(0, 0.999, 7, dtype=torch.float64), GENERATOR)
    index, weight = drawn.index, drawn.weight
    exponent = -1.7 * torch.tensor([0.0, 1.0, INF, 0.3, 2.0], dtype=torch.float64)
    assert weight is not None
    torch.testing.assert_close(weight, 7 * torch.softmax(exponent[index], 0))


def test_softmax_of_forbidden_alone_is_zero() -> None:
    log_w = torch.tensor([-INF, 0.0], dtype=torch.float64)
    batches = Softmax().prepare(log_w, torch.zeros(2, dtype=torch.float64))
    weight = batches(torch.zeros(4, dtype=torch.float64), GENERATOR).weight
    assert weight is not None and weight.tolist() == [0.0] * 4


def test_a_point_without_weight_is_never_drawn() -> None:
    batches = Resample().prepare(torch.tensor([-INF, 0.0, -INF], dtype=torch.float64), torch.zeros(3))
    index = batches(torch.tensor([0.0, 0.5, 1.0 - 1e-16], dtype=torch.float64), GENERATOR).index
    assert index.tolist() == [1, 1, 1]


def test_defensive_share_bounds_the_weight() -> None:
    batches = Resample(defensive=0.25).prepare(LOG_W, LOG_S)
    weight = batches(torch.linspace(0, 0.999, 500, dtype=torch.float64), GENERATOR).weight
    assert weight is not None and float(weight.max()) <= 1 / 0.75


def test_names() -> None:
    assert make_draw("resample") == Resample()
    with pytest.raises(ValueError, match="weights must be one of resample, global, softmax"):
        make_draw("resampl")
    with pytest.raises(ValueError, match="defensive"):
        Resample(defensive=1.0)
