"""The edges of floating point: against closed forms, or exact fractions; and a whole small tilt of each.

beta·E up to 1e4, energies of 1e±30, points that repeat, energies that are constant, a single allowed point, and beta 0
with forbidden points.
"""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import pytest
import torch
from torch import Generator, Tensor

import egflow
from egflow.energy import EnergyValues
from egflow.report._energies import weighted_ks, weighted_mean, weighted_w1
from egflow.training import TrainingError, TrainingOptions
from egflow.weights import (
    Global,
    Resample,
    Softmax,
    beta_range_batches,
    ess_fraction,
    log_weights,
    log_z,
    max_weight,
    n_eff,
    normalise,
    per_condition_weights,
    resample,
    solve_beta,
)

INF = math.inf
QUIET = TrainingOptions(progress="quiet")
U = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000


def values(*energies: float) -> EnergyValues:
    return EnergyValues.from_tensor(torch.tensor(energies, dtype=torch.float64))


def exact(log_w: list[float]) -> list[float]:
    """Shares of the weights, from differences of the exponents that are exact fractions."""
    top = max(Fraction(one) for one in log_w if one > -INF)
    w = [0.0 if one == -INF else math.exp(float(Fraction(one) - top)) for one in log_w]
    return [one / math.fsum(w) for one in w]


# --- log-weights at beta·E up to 1e4


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_two_points_far_out(shift: float) -> None:
    """E = 1e4 ± .5 at beta 1, 1e4 times what exp can hold: share 1/(1 + e), and the closed forms of two points."""
    log_w = log_weights(values(shift, shift + 1.0, INF), 1.0)
    share = 1 / (1 + math.exp(-1.0))
    assert normalise(log_w).tolist() == pytest.approx([share, 1 - share, 0.0], rel=1e-12)
    assert n_eff(log_w) == pytest.approx(1 / (share**2 + (1 - share) ** 2), rel=1e-12)
    assert max_weight(log_w) == pytest.approx(share, rel=1e-12)
    # Z = (e^{−shift} + e^{−shift−1} + 0) / 3; its relative error by the delta method is sqrt(Σ (w/w̄ − 1)²) / 3
    value, error = log_z(log_w)
    assert value == pytest.approx(-shift + math.log1p(math.exp(-1.0)) - math.log(3), rel=1e-12, abs=1e-12)
    ratio = [3 * share, 3 * (1 - share), 0.0]
    assert error == pytest.approx(math.sqrt(sum((one - 1) ** 2 for one in ratio)) / 3, rel=1e-9)


def test_ten_thousand_nats_of_spread() -> None:
    """E = 0, 1, …, 10,000 at beta 1: a geometric series, n_eff = (1 + q)/(1 − q) with q = 1/e."""
    log_w = log_weights(EnergyValues.from_tensor(torch.arange(10_001, dtype=torch.float64)), 1.0)
    q = math.exp(-1.0)
    assert n_eff(log_w) == pytest.approx((1 + q) / (1 - q), rel=1e-12)
    assert log_z(log_w)[0] == pytest.approx(-math.log1p(-q) - math.log(10_001), rel=1e-12)
    assert float(normalise(log_w).sum()) == pytest.approx(1.0, rel=1e-12)
    picked = resample(log_w, U)
    expected = 1000 * normalise(log_w)[:8]
    assert ((torch.bincount(picked, minlength=10_001)[:8] - expected).abs() <= 1).all()  # systematic: within one


# --- energies of 1e±30


@pytest.mark.parametrize("unit", [1e30, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_unit_of_energy_is_betas_inverse(unit: float, dtype: torch.dtype) -> None:
    """E·unit at beta/unit are the weights of E at beta."""
    plain = torch.randn(500, generator=Generator().manual_seed(0), dtype=torch.float64)
    scaled = EnergyValues.from_tensor((plain * unit).to(dtype))
    back = EnergyValues.from_tensor(scaled.values / unit)
    tolerance = 1e-10
    assert n_eff(log_weights(scaled, 2.0 / unit)) == pytest.approx(n_eff(log_weights(back, 2.0)), rel=tolerance)
    assert log_z(log_weights(scaled, 2.0 / unit)) == pytest.approx(log_z(log_weights(back, 2.0)), rel=1e-9)
    assert solve_beta(scaled, 0.3) * unit == pytest.approx(solve_beta(back, 0.3), rel=1e-5)
    assert ess_fraction(log_weights(scaled, solve_beta(scaled, 0.3))) == pytest.approx(0.3, rel=1e-4)


def test_huge_energies_at_a_plain_beta_leave_the_lowest() -> None:
    log_w = log_weights(values(1e30, 1e30, 3e30, -1e-30), 1.0)
    assert normalise(log_w).tolist() == [0.0, 0.0, 0.0, 1.0] and n_eff(log_w) == 1.0
    assert log_z(log_w)[0] == pytest.approx(-math.log(4))


def test_tiny_energies_at_a_plain_beta_change_nothing() -> None:
    log_w = log_weights(values(1e-30, -1e-30, 3e-30, 0.0), 1.0)
    assert n_eff(log_w) == pytest.approx(4.0, rel=1e-15) and log_z(log_w)[0] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("beta", [1e300, -1e300, 1e308])
def test_beta_times_energy_beyond_float64_is_told(beta: float) -> None:
    with pytest.raises(ValueError, match=r"beta=.* times an energy of 1e\+30 is beyond float64"):
        log_weights(values(0.0, 1e30), beta)


@pytest.mark.parametrize("spread", [1e308, 1e-320])
def test_no_beta_is_solved_for_beyond_float64(spread: float) -> None:
    """A spread that overflows, or whose inverse does, once bisected for ever."""
    with pytest.raises(ValueError, match=r"the energies differ by .*, beyond float64"):
        solve_beta(values(-spread / 2 if spread > 1 else 0.0, spread / 2 if spread > 1 else spread, 0.0), 0.5)


# --- points that repeat


def test_copies_count_as_one_another() -> None:
    """Each of k points n times: n_eff and the ESS fraction of the k, n times and once; beta the same."""
    energies = torch.randn(50, generator=Generator().manual_seed(1), dtype=torch.float64)
    once, often = EnergyValues.from_tensor(energies), EnergyValues.from_tensor(energies.repeat(20))
    assert n_eff(log_weights(often, 1.5)) == pytest.approx(20 * n_eff(log_weights(once, 1.5)), rel=1e-12)
    assert ess_fraction(log_weights(often, 1.5)) == pytest.approx(ess_fraction(log_weights(once, 1.5)), rel=1e-12)
    assert log_z(log_weights(often, 1.5))[0] == pytest.approx(log_z(log_weights(once, 1.5))[0], rel=1e-12)
    assert solve_beta(often, 0.4) == pytest.approx(solve_beta(once, 0.4), rel=1e-6)


def test_ties_are_one_place_of_a_distribution() -> None:
    """KS and W1 of copies against what they are copies of are 0; of {0} against {0, 1} they are 1/2."""
    x = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    assert weighted_ks(x, torch.tensor([1.0, 0.0], dtype=torch.float64)) == 0.0
    assert weighted_w1(x, torch.tensor([1.0, 0.0], dtype=torch.float64)) == 0.0
    zero = torch.zeros(3, dtype=torch.float64)
    assert weighted_ks(zero, x) == pytest.approx(0.5) and weighted_w1(zero, x) == pytest.approx(0.5)


# --- constant energies


@pytest.mark.parametrize("constant", [0.0, -3.0, 1e30, -1e-30])
@pytest.mark.parametrize("beta", [0.0, 1.0, -4.0, 1e4])
def test_a_constant_energy_weighs_all_alike(constant: float, beta: float) -> None:
    log_w = log_weights(values(*[constant] * 7), beta)
    assert n_eff(log_w) == pytest.approx(7.0, rel=1e-14) and max_weight(log_w) == pytest.approx(1 / 7, rel=1e-14)
    value, error = log_z(log_w)
    assert value == pytest.approx(-beta * constant, rel=1e-14, abs=1e-14) and error == pytest.approx(0.0, abs=1e-7)
    with pytest.raises(ValueError, match="all finite energies are equal"):
        solve_beta(values(*[constant] * 7), 0.5)
    x = torch.full((7,), constant, dtype=torch.float64)
    assert weighted_ks(x, x[:3]) == 0.0 and weighted_w1(x, x[:3]) == 0.0
    assert weighted_mean(x, normalise(log_w))[0] == pytest.approx(constant, rel=1e-14)


# --- a single allowed point


@pytest.mark.parametrize("draw", [Resample(), Resample(defensive=0.5), Global(), Softmax()], ids=str)
def test_one_allowed_point_of_many(draw: Resample | Global | Softmax) -> None:
    """Whatever the energy's size, it has all the weight, and every draw that counts is of it."""
    energies = values(INF, INF, -2e3, INF, INF)
    log_w, log_s = log_weights(energies, 5.0), log_weights(energies, 0.0)
    assert normalise(log_w).tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]
    assert n_eff(log_w) == 1.0 and ess_fraction(log_w) == 0.2 and max_weight(log_w) == 1.0
    assert log_z(log_w)[0] == pytest.approx(1e4 - math.log(5), rel=1e-12)
    drawn = draw.prepare(log_w, log_s)(U, Generator())
    assert drawn.index.unique().tolist() == [2]
    assert drawn.weight is None or drawn.weight.tolist() == pytest.approx([1.0] * len(U))
    with pytest.raises(ValueError, match="all finite energies are equal"):
        solve_beta(energies, 0.5)


def test_one_allowed_point_of_a_range() -> None:
    log_s = torch.full((6,), -INF, dtype=torch.float64)
    log_s[4] = 0.0
    batches = beta_range_batches(torch.randn(6, 1, dtype=torch.float64), log_s, [0.0], [1e4])
    assert batches(U, Generator().manual_seed(0)).index.unique().tolist() == [4]


def test_one_allowed_point_of_each_condition() -> None:
    log_w = log_weights(values(INF, 1e4, -1e4, INF), 1.0)
    share = normalise(per_condition_weights(log_w, torch.tensor([0, 0, 1, 1])))
    assert share.tolist() == pytest.approx([0.0, 0.5, 0.5, 0.0], rel=1e-12)


# --- beta 0 with forbidden points


def test_beta_zero_is_p_where_it_is_allowed() -> None:
    energies = values(1e30, INF, -1e30, INF, 0.0)
    log_w = log_weights(energies, 0.0)
    assert normalise(log_w).tolist() == pytest.approx([1 / 3, 0.0, 1 / 3, 0.0, 1 / 3])
    assert n_eff(log_w) == pytest.approx(3.0) and ess_fraction(log_w) == pytest.approx(0.6)
    value, error = log_z(log_w)
    assert value == pytest.approx(math.log(0.6)) and error == pytest.approx(math.sqrt(0.4 / (0.6 * 5)))  # a binomial's
    assert set(resample(log_w, U).tolist()) == {0, 2, 4}


def test_no_allowed_point_is_one_clear_error() -> None:
    with pytest.raises(ValueError, match="no sample is left"):
        log_weights(values(INF, INF), 0.0)


# --- draws and softmax at the edges


@pytest.mark.parametrize(
    "energies", [(0.0, 1e4, 2.0, INF), (1e30, 1e30, 1e30), (-1e4, -1e4 + 0.5, 3.0), (0.0, 1e-30, INF), (7.0,)], ids=str
)
@pytest.mark.parametrize("draw", [Resample(), Resample(defensive=0.3), Global()], ids=str)
def test_draws_times_weights_are_the_shares(energies: tuple[float, ...], draw: Resample | Global) -> None:
    n = 100_000
    shown = values(*energies)
    log_w = log_weights(shown, 1.0)
    drawn = draw.prepare(log_w, log_weights(shown, 0.0))((torch.arange(n).double() + 0.5) / n, Generator())
    weight = torch.ones(n, dtype=torch.float64) if drawn.weight is None else drawn.weight
    assert bool(weight.isfinite().all())
    counted = torch.zeros(len(energies), dtype=torch.float64).index_add_(0, drawn.index, weight) / n
    expected = exact([-e for e in energies])
    assert counted.tolist() == pytest.approx(expected, abs=20 / n)


def test_softmax_of_a_batch_far_out() -> None:
    energies = values(1e4, 1e4 + 1, -1e4, INF)
    drawn = Softmax().prepare(log_weights(energies, 1.0), torch.zeros(4, dtype=torch.float64))(U[::250], Generator())
    assert drawn.weight is not None and bool(drawn.weight.isfinite().all())
    of = [-float(energies.energy[i]) for i in drawn.index]
    assert drawn.weight.tolist() == pytest.approx([4 * one for one in exact(of)], rel=1e-12)


@pytest.mark.parametrize("unit", [1e30, 1e-30])
def test_a_range_of_beta_in_any_unit(unit: float) -> None:
    """Draws over betas [0, 4/unit] of energies 0 and unit: the mean share of the lower is that of the betas drawn."""
    energies = torch.tensor([[0.0], [unit]], dtype=torch.float64)
    batches = beta_range_batches(energies, torch.zeros(2, dtype=torch.float64), [0.0], [4.0 / unit])
    index, beta = [], []
    for seed in range(20):
        drawn = batches(U, Generator().manual_seed(seed))
        assert drawn.beta is not None
        index.append(drawn.index)
        beta.append(drawn.beta[:, 0])
    lower = (torch.cat(index) == 0).double().mean()
    expected = (1 / (1 + (-torch.cat(beta) * unit).exp())).mean()
    assert float(lower) == pytest.approx(float(expected), abs=5 * 0.5 / math.sqrt(20_000))


# --- a whole tilt, and its report


X = torch.randn(200, 2, generator=Generator().manual_seed(5))
KEEP = torch.zeros(200, dtype=torch.bool)


def one_allowed(x: Tensor) -> Tensor:
    return torch.where((x == X[17]).all(1), 2.0, INF).double()


CASES = {
    "beta·E of 1e4": (lambda x: 1e4 * x[:, 0].double(), 1.0, X),
    "energies of 1e30": (lambda x: 1e30 * x[:, 0].double(), 1e-30, X),
    "energies of 1e30 at beta 1": (lambda x: 1e30 * x[:, 0].double(), 1.0, X),
    "energies of 1e-30": (lambda x: 1e-30 * x[:, 0].double(), 1e30, X),
    "duplicates": (lambda x: x[:, 0].double(), 1.0, X[:5].repeat(40, 1)),
    "one point throughout": (lambda x: x[:, 0].double(), 1.0, X[:1].repeat(200, 1)),
    "a constant energy": (lambda x: torch.full((len(x),), -7.0, dtype=torch.float64), 3.0, X),
    "half of it forbidden": (lambda x: torch.where(x[:, 0] > 0, INF, 0.0).double(), 1.0, X),
    "beta 0 with forbidden": (lambda x: torch.where(x[:, 0] > 0, INF, 1e30).double(), 0.0, X),
    "a range of beta far out": (lambda x: 1e4 * x[:, 0].double(), (0.0, 1.0), X),
    "one allowed": (one_allowed, 1.0, X),
}


@pytest.fixture(scope="module")
def bases() -> dict[int, egflow.Flow]:
    return {id(x): egflow.fit(x, steps=3, batch_size=16, options=QUIET) for _, _, x in CASES.values()}


@pytest.mark.parametrize(
    ("case", "weights"),
    [
        (case, weights)
        for case, (_, beta, _) in CASES.items()
        for weights in (["resample"] if isinstance(beta, tuple) else ["resample", "global", "softmax"])
    ],
)
def test_a_whole_tilt(bases: dict[int, egflow.Flow], case: str, weights: str) -> None:
    """It ends with finite samples, weights and figures, or with one clear error."""
    energy, beta, x = CASES[case]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # few effective points are warned of
            flow = egflow.tilt(
                bases[id(x)], energy, beta, data=x, weights=weights, steps=3, batch_size=16, options=QUIET
            )
            samples = flow.sample(20, beta=1.0 if isinstance(beta, tuple) else None)
    except ValueError as error:
        assert case == "one allowed" and "held out" in str(error), error  # its one point may be in the held-out part
        return
    except TrainingError as error:
        pytest.fail(f"{case}: {error}")
    assert bool(samples.isfinite().all())
    for parameter in flow.network.parameters():
        assert bool(parameter.isfinite().all())
    assert flow.report is not None
    content = flow.report.to_dict()
    assert "not a finite number" not in str(content["notes"]), content["notes"]
    if not isinstance(beta, tuple):
        log_w = log_weights(EnergyValues.from_tensor(energy(x)), beta)
        assert content["n_eff"] == pytest.approx(n_eff(log_w)) and content["log_z"] == pytest.approx(log_z(log_w)[0])
        assert content["max_weight"] == pytest.approx(max_weight(log_w))


@pytest.mark.parametrize("unit", [1e30, 1e-30])
def test_a_report_in_any_unit_of_energy(unit: float) -> None:
    """The same samples under unit·E at beta/unit: energies scale, everything else is what it was."""
    x = torch.randn(3000, 2, generator=Generator().manual_seed(6))
    made = {}
    for scale in (1.0, unit):
        made[scale] = egflow.report(x[:400] - 0.5, lambda x, k=scale: k * x[:, 0].double(), 0.5 / scale, x).to_dict()
    plain, scaled = made[1.0], made[unit]
    for key in ("n_eff", "ess_fraction", "max_weight", "log_z", "log_z_stderr", "energy_ks", "distance_train"):
        assert scaled[key] == pytest.approx(plain[key], rel=1e-6), key
    for key in ("value", "floor", "n", "expected", "limit"):
        assert scaled["distance"][key] == pytest.approx(plain["distance"][key], rel=1e-6), key
    assert scaled["findings"] == plain["findings"]
    assert scaled["energy_w1"] == pytest.approx(unit * plain["energy_w1"], rel=1e-6)
    assert scaled["matched_beta"] == pytest.approx(plain["matched_beta"] / unit, rel=1e-3)
    for key, value in plain["energy_mean"].items():
        assert scaled["energy_mean"][key] == pytest.approx(unit * value, rel=1e-6), key


@pytest.mark.parametrize(("beta", "unit"), [(0.7, 1.0), (0.7e-30, 1e30), (0.7e30, 1e-30)])
def test_achieved_beta_of_a_gaussian_is_exact(beta: float, unit: float) -> None:
    """p = N(0, 1), E = unit·x: log q − log p = −beta·unit·x + const, so the slope on −E is beta itself."""
    x = torch.randn(4000, 1, generator=Generator().manual_seed(7))
    shift = beta * unit
    made = egflow.report(
        x[:500] - shift,
        lambda x: unit * x[:, 0].double(),
        beta,
        x,
        log_q=lambda x, c: -0.5 * (x[:, 0].double() + shift) ** 2,
        log_base=lambda x, c: -0.5 * x[:, 0].double() ** 2,
    )
    assert made.achieved_beta == pytest.approx(beta, rel=1e-6) and made.tilt_r2 == pytest.approx(1.0, rel=1e-9)
