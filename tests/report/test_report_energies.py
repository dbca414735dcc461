"""One-dimensional statistics against scipy, brute force and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from egflow.report import matched_beta, weighted_ks, weighted_mean, weighted_w1
from egflow.report._energies import ks_noise


@pytest.mark.parametrize("seed", range(4))
def test_ks_and_w1_against_scipy(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=200).round(1), rng.normal(0.3, 1.2, size=130).round(1)
    assert weighted_ks(torch.tensor(x), torch.tensor(y)) == pytest.approx(stats.ks_2samp(x, y).statistic, abs=1e-12)
    wx, wy = rng.exponential(size=200), rng.exponential(size=130)
    got = weighted_w1(*map(torch.tensor, (x, y, wx, wy)))
    assert got == pytest.approx(stats.wasserstein_distance(x, y, wx, wy), rel=1e-9)


def test_weights_in_ks_are_repeats():
    x, y = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert weighted_ks(x, y, torch.tensor([1.0, 0.0, 3.0])) == weighted_ks(torch.tensor([0.0, 2.0, 2.0, 2.0]), y)


def test_the_standard_error_of_the_target_covers():
    # E = x, p = N(0,1): the target at beta 1 is N(−1, 1); 400 runs, each z within 3 nearly always
    generator = torch.Generator().manual_seed(0)
    e = torch.randn(400, 3000, generator=generator, dtype=torch.float64)
    z = []
    for row in e:
        mean, error = weighted_mean(row, torch.softmax(-row, 0))
        z.append((mean + 1) / error)
    # a standard normal's deviation estimated from 400 values is 1 ± .035; heavy weights make it larger, not smaller
    assert 0.9 < np.std(z) < 1.2
    assert np.mean(np.abs(z) > 3) < 0.02


def test_chance_stays_under_the_noise_of_ks():
    generator = torch.Generator().manual_seed(1)
    over = 0
    for _ in range(200):
        e = torch.randn(1500, generator=generator, dtype=torch.float64)
        made = torch.randn(1000, generator=generator, dtype=torch.float64) - 1
        share = torch.softmax(-e, 0)
        over += weighted_ks(e, made, share) > ks_noise(e, share, 1000)
    assert over <= 2  # about .2 expected


def test_matched_beta_of_a_gaussian():
    # reweighted mean is −beta, the slope of it −1
    e = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = matched_beta(e, torch.zeros_like(e), -0.7, 0.01)
    assert found is not None
    beta, error = found
    # the error of the mean energy at this beta is sqrt(1 + beta²) exp(beta²/2) / sqrt(N), that of the request .01
    expected = math.hypot(math.sqrt((1 + 0.49) * math.exp(0.49) / 200_000), 0.01)
    assert abs(beta - 0.7) < 4 * expected
    assert error == pytest.approx(expected, rel=0.05)


def test_no_beta_reaches_beyond_the_data():
    e = torch.linspace(0, 1, 100, dtype=torch.float64)
    assert matched_beta(e, torch.zeros_like(e), -0.1, 0.01) is None
    assert matched_beta(e, torch.zeros_like(e), 1.0, 0.01) is None
    assert matched_beta(torch.ones(50, dtype=torch.float64), torch.zeros(50), 1.0, 0.01) is None
