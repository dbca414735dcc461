"""The floor: what a perfect generator shows, whatever the number of effective points."""

import numpy as np
import pytest
import torch

from egflow.report import halved_distance
from egflow.report._distance import MOST_POINTS, thin


def gaussian(n, dim, beta, generator, m):
    """p = N(0, 1), E = x[0]: the target is N(−beta, 1) along the first axis."""
    x = torch.randn(n, dim, generator=generator)
    made = torch.randn(m, dim, generator=generator)
    made[:, 0] -= beta
    return x, torch.softmax(-beta * x[:, 0].double(), 0), made


@pytest.mark.parametrize("n, dim, beta", [(300, 2, 0.5), (2000, 2, 1.0), (2000, 1, 1.0), (500, 30, 1.0)])
def test_a_perfect_generator_shows_its_floor(n, dim, beta):
    ratios, expected = [], []
    for seed in range(10):
        found = halved_distance(*_parts(gaussian(n, dim, beta, torch.Generator().manual_seed(seed), 2000)))
        ratios.append(found.value / found.floor)
        expected.append(found.value / found.expected)
    assert 0.8 < np.median(ratios) < 1.3
    assert 0.8 < np.median(expected) < 1.25


def _parts(drawn):
    x, share, made = drawn
    return x, share, made


def test_n_is_the_effective_number_of_a_half():
    x, share, made = gaussian(4000, 2, 1.0, torch.Generator().manual_seed(0), 4000)
    found = halved_distance(x, share, made)
    whole = 1 / float(share.square().sum())
    assert found.n == pytest.approx(whole / 2, rel=0.1)
    assert found.block()["n"] == found.n


def test_few_samples_get_a_floor_of_as_few_points():
    x, share, made = gaussian(8000, 2, 0.5, torch.Generator().manual_seed(0), 4000)
    full, short = halved_distance(x, share, made), halved_distance(x, share, made[:40])
    assert short.few_samples and not full.few_samples and short.n == 40
    assert short.floor > 3 * full.floor  # noise goes as 1/√n: from about 3,000 to 40 points
    assert short.value / short.floor == pytest.approx(1.0, abs=0.5)


def test_more_than_ten_thousand_are_thinned():
    share = torch.full((100_000,), 1e-5, dtype=torch.float64)
    assert len(thin(share)) == 2 * MOST_POINTS
    share[50:] = 0
    assert len(thin(share)) == 50  # points without weight cost nothing


def test_the_distance_is_deterministic():
    drawn = gaussian(500, 3, 1.0, torch.Generator().manual_seed(0), 300)
    torch.manual_seed(1)
    first = halved_distance(*drawn)
    torch.manual_seed(2)
    assert halved_distance(*drawn) == first


def test_one_effective_point_has_no_distance():
    share = torch.zeros(50, dtype=torch.float64)
    share[3] = 1
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert halved_distance(x, share, x) is None
