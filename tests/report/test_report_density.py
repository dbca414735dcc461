"""Achieved beta from closed-form densities, and each reason for having none."""

import math

import pytest
import torch

from egflow.report import report
from egflow.report._density import no_density


def normal(mean, scale=1.0):
    def log_prob(x, condition=None):
        return -0.5 * ((x - mean) / scale).square().sum(1) - x.shape[1] * math.log(scale * math.sqrt(2 * math.pi))

    return log_prob


X = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0))
MADE = torch.randn(1000, 1, generator=torch.Generator().manual_seed(1)) - 1.0


def linear(x):
    return x[:, 0]


@pytest.mark.parametrize("achieved", [1.0, 0.6, -0.5])
def test_a_shifted_gaussian_has_its_beta(achieved):
    found = report(MADE, linear, 1.0, X, log_q=normal(-achieved), log_base=normal(0.0))
    assert found.achieved_beta == pytest.approx(achieved, abs=1e-4)
    assert found.tilt_r2 == pytest.approx(1.0, abs=1e-6)


def test_a_narrowed_gaussian_has_its_beta():
    # E = x², p = N(0,1): q = N(0, 1/(1 + 2 beta)); asked points follow exp(−beta E/2), normaliser is the intercept
    beta = 1.5
    made = MADE / math.sqrt(1 + 2 * beta)
    q = normal(0.0, 1 / math.sqrt(1 + 2 * beta))
    found = report(made, lambda x: x[:, 0].square(), beta, X, log_q=q, log_base=normal(0.0))
    assert found.achieved_beta == pytest.approx(beta, rel=1e-4)


def test_noise_in_the_density_lowers_r2():
    def noisy(x, condition):
        return normal(-1.0)(x) + torch.randn(len(x), generator=torch.Generator().manual_seed(2))

    found = report(MADE, linear, 1.0, X, log_q=noisy, log_base=normal(0.0))
    # variance of −E at the points is about 1, that of the noise 1: R² a half; slope 1 ± 1/√1,000
    assert found.tilt_r2 == pytest.approx(0.5, abs=0.1)
    assert found.achieved_beta == pytest.approx(1.0, abs=4 / math.sqrt(1000))


def test_the_points_lie_between_both_densities():
    seen = []

    def watch(x, condition):
        seen.append(x)
        return normal(-2.0)(x)

    report(MADE - 1, linear, 2.0, X, log_q=watch, log_base=normal(0.0))
    # 500 held-out points have mean 0 ± .045; those that were drawn, each counted once, lie toward the target at −2
    assert -1.1 < float(seen[0].mean()) < -0.25
    assert len(seen[0]) <= 1000 and len(seen[0].unique()) == len(seen[0])


def test_conditions_travel_with_the_points():
    condition = torch.arange(5000) % 3
    x = X + 10.0 * condition[:, None]

    def log_q(x, c):
        return normal(-1.0)(x - 10.0 * c[:, None])

    def log_base(x, c):
        return normal(0.0)(x - 10.0 * c[:, None])

    found = report(
        x[:900] - 1,
        lambda x, condition: x[:, 0] - 10.0 * condition,
        1.0,
        x,
        condition=condition,
        sample_condition=condition[:900],
        log_q=log_q,
        log_base=log_base,
    )
    assert found.achieved_beta == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("per_condition", [False, True])
def test_each_condition_has_an_intercept_of_its_own(per_condition):
    """E = x, x | c ~ N(c, 1): log Z(c) = −c beta + beta²/2, which one intercept for all would take for a slope."""
    condition = torch.arange(5000) % 3
    x = X + condition[:, None]

    def about(shift):
        return lambda x, c: normal(0.0)(x - c[:, None] - shift)

    given = {"condition": condition, "sample_condition": condition[:900], "per_condition": per_condition}
    found = report(x[:900] - 1, linear, 1.0, x, log_q=about(-1.0), log_base=about(0.0), **given)
    assert found.achieved_beta == pytest.approx(1.0, abs=1e-4)
    assert found.tilt_r2 == pytest.approx(1.0, abs=1e-6)
    if per_condition:  # the joint's beta would be .6: var(x) is 1 + 2/3
        assert found.matched_beta is None and "within each condition" in found.notes["matched_beta"]


def test_conditions_that_never_repeat_have_no_slope():
    condition = torch.linspace(0, 1, 5000)[:, None]
    given = {"condition": condition, "sample_condition": condition[:1000]}
    found = report(MADE, linear, 1.0, X, log_q=normal(-1.0), log_base=normal(0.0), **given)
    assert found.achieved_beta is None and "hardly a condition is repeated" in found.notes["achieved_beta"]


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"log_base": None}, "no base"),
        ({"log_q": None}, "no density of the generator"),
        ({"beta": 0.0}, "beta is 0"),
        ({"energy": lambda x: torch.ones(len(x))}, "constant"),
        ({"data": (X * 4).round() / 4}, "dequantise"),
        ({"data": X.clamp(-1.0, 1.0)}, "dequantise"),
    ],
)
def test_null_has_its_reason(change, reason):
    arguments = {"samples": MADE, "energy": linear, "beta": 1.0, "data": X}
    arguments |= {"log_q": normal(-1.0), "log_base": normal(0.0)} | change
    found = report(**arguments)
    assert found.achieved_beta is None and found.tilt_r2 is None
    assert reason in found.notes["achieved_beta"] and reason in found.notes["tilt_r2"]


def test_continuous_data_have_a_density():
    assert no_density(X) is None
    assert no_density(torch.rand(300, 64, generator=torch.Generator().manual_seed(0))) is None
    images = torch.randint(0, 256, (300, 64), generator=torch.Generator().manual_seed(0)) / 255
    assert no_density(images) is not None
    noisy = images + torch.rand(300, 64, generator=torch.Generator().manual_seed(1)) / 255
    assert no_density(noisy) is None
