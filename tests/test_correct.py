"""Correction by likelihoods, against Gaussians in closed form; and what it refuses."""

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import egflow
from egflow.weights import n_eff, normalise

sys.path.insert(0, str(Path(__file__).parent / "flow"))
from gaussian import gaussian_flow

M = 8_000
MEAN, STD = torch.tensor([1.0, -0.5], dtype=torch.float64), torch.tensor([1.0, 0.6], dtype=torch.float64)
SLOPE, BETA = torch.tensor([1.0, -0.5], dtype=torch.float64), 0.7
TARGET = MEAN - BETA * STD**2 * SLOPE  # N(m, s²)·exp(−beta a·x) is N(m − beta s² a, s²)
WRONG_MEAN, WRONG_STD = TARGET + torch.tensor([0.4, -0.2]), STD * torch.tensor([1.2, 0.9])


def normal(mean: Tensor, std: Tensor) -> egflow.Flow:
    return gaussian_flow("cond_ot", mean, std, (2,))


def linear(x: Tensor) -> Tensor:
    return x.double() @ SLOPE


def log_normal(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return torch.distributions.Normal(mean, std).log_prob(x.double()).sum(1)


BASE, WRONG = normal(MEAN, STD), normal(WRONG_MEAN, WRONG_STD)
SAMPLES = WRONG.sample(M, seed=1)


@pytest.fixture(scope="module")
def log_w() -> Tensor:
    return egflow.correction_log_weights(SAMPLES, WRONG, BASE, linear, BETA)[0]


def test_weights_are_those_of_the_closed_form(log_w: Tensor) -> None:
    """log base − beta E − log q, each of two log-densities to the solver's 1e-5 a step: within 1e-3."""
    exact = log_normal(SAMPLES, MEAN, STD) - BETA * linear(SAMPLES) - log_normal(SAMPLES, WRONG_MEAN, WRONG_STD)
    torch.testing.assert_close(log_w, exact, rtol=0, atol=1e-3)


def test_n_eff_is_that_of_the_closed_form(log_w: Tensor) -> None:
    """share = 1 / E_q[(target/q)²] = Π_i s √(2r² − s²) / r² · exp(−(m − m_q)² / (2r² − s²)), q = N(m_q, r²).

    The estimate's standard error, by the delta method on E[w²]/E[w]², from 2,000 draws' fourth moments: below 2 %;
    four of them are allowed.
    """
    room = 2 * WRONG_STD**2 - STD**2
    share = (STD * room.sqrt() / WRONG_STD**2 * (-((TARGET - WRONG_MEAN) ** 2) / room).exp()).prod()
    ratio = (log_w - torch.logsumexp(log_w, 0) + math.log(M)).exp()  # mean 1
    error = float((ratio.square() - 2 * ratio).std()) / math.sqrt(M) * float(share)  # relative
    assert error < 0.02
    assert n_eff(log_w) / M == pytest.approx(float(share), rel=4 * error)


def test_corrected_moments_are_the_targets(log_w: Tensor) -> None:
    """Within 4 standard errors of the self-normalised estimate, √Σ w²(f − E f)², and of 2·M resampled rows' rounding.

    The uncorrected samples are more than 10 such errors off, so that the test can fail.
    """
    corrected = egflow.correct(SAMPLES, WRONG, BASE, linear, BETA, n=2 * M)
    share = normalise(log_w)[:, None]
    for power, exact in ((1, torch.zeros(2)), (2, STD**2)):
        error = (share * ((SAMPLES - TARGET) ** power - exact)).square().sum(0).sqrt()
        rounding = ((SAMPLES - TARGET) ** power).abs().amax(0) / (2 * M)  # of systematic positions
        off = ((corrected - TARGET) ** power).mean(0) - exact
        assert (off.abs() < 4 * error + rounding).all(), (power, off, error)
        assert (((SAMPLES - TARGET) ** power).mean(0) - exact).abs().max() > 10 * error.max()


def test_the_returned_energies_are_the_weighted_ones(log_w: Tensor) -> None:
    """Positions along the sorted energies: quantile functions that differ by 1/n in u, so means by at most range/n.

    Draws along an arbitrary order would scatter by std/√n, some five times that bound.
    """
    n, energy = 2_000, linear(SAMPLES)
    corrected = egflow.correct(SAMPLES, WRONG, BASE, linear, BETA, n=n)
    off = float(linear(corrected).mean() - normalise(log_w) @ energy)
    assert abs(off) <= float(energy.max() - energy.min()) / n


def test_a_perfect_flow_needs_no_correction() -> None:
    perfect = normal(TARGET, STD)
    samples = perfect.sample(500, seed=2)
    log_w, values = egflow.correction_log_weights(samples, perfect, BASE, linear, BETA)
    assert n_eff(log_w) > 499.9
    torch.testing.assert_close(values.values, linear(samples))
    corrected = egflow.correct(samples, perfect, BASE, linear, BETA)
    # equal weights: systematic resampling returns every row, but for a row or two at the edges, in another order
    assert len(torch.unique(corrected, dim=0)) > 495 and not torch.equal(corrected, samples)


def test_log_q_at_hand_is_used_as_it_is(log_w: Tensor) -> None:
    log_q = log_normal(SAMPLES, WRONG_MEAN, WRONG_STD)
    given, _ = egflow.correction_log_weights(SAMPLES, WRONG, BASE, linear, BETA, log_q=log_q)
    torch.testing.assert_close(given, log_w, rtol=0, atol=1e-3)
    shifted, _ = egflow.correction_log_weights(SAMPLES, WRONG, BASE, linear, BETA, log_q=log_q + 1)
    torch.testing.assert_close(shifted, given - 1)


def test_several_energies_are_their_weighted_sum(log_w: Tensor) -> None:
    """E = a·x in two parts, each with its beta."""
    parts = [lambda x, i=i: x[:, i].double() for i in range(2)]
    betas = tuple((BETA * SLOPE).tolist())
    both, _ = egflow.correction_log_weights(SAMPLES, WRONG, BASE, parts, betas)
    torch.testing.assert_close(both, log_w)


def test_forbidden_samples_are_never_returned() -> None:
    wall = egflow.as_energy(lambda x: torch.where(x[:, 0] > 0.3, math.inf, 0.0))
    log_w, _ = egflow.correction_log_weights(SAMPLES, WRONG, BASE, wall, 0.0)
    assert torch.equal(log_w == -math.inf, SAMPLES[:, 0] > 0.3)
    corrected = egflow.correct(SAMPLES, WRONG, BASE, wall, 0.0, n=1_000)
    assert float(corrected[:, 0].max()) <= 0.3


def test_few_effective_points_are_said() -> None:
    """q 2.4 deviations off in one dimension: a share exp(−2.4²) = .3 % of 2,000 in the mean, for 400 asked."""
    far = normal(TARGET + torch.tensor([2.4, 0.0]), STD)
    samples = far.sample(2_000, seed=3)
    left = n_eff(egflow.correction_log_weights(samples, far, BASE, linear, BETA)[0])
    assert left < 100
    with pytest.warns(UserWarning, match=f"leaves {left:.0f} effective points of 2000 samples for the 400"):
        egflow.correct(samples, far, BASE, linear, BETA, n=400)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        egflow.correct(samples, far, BASE, linear, BETA, n=int(4 * left))  # 4 copies of a row: at the limit


def test_the_seed_fixes_the_resampling() -> None:
    some = SAMPLES[:200]
    first, again, other = (egflow.correct(some, WRONG, BASE, linear, BETA, seed=s) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


class Frozen(nn.Module):
    """A network whose output is cut off from its input, as one that runs in NumPy."""

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return -x.detach()


class Sampler:
    """Has samples and no likelihood."""

    event_shape = (2,)


SOME = SAMPLES[:20]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"flow": Sampler()}, "flow, a Sampler, has no log_prob"),
        ({"base": Sampler()}, "base, a Sampler, has no log_prob"),
        ({"flow": egflow.Flow(Frozen(), (2,))}, "not differentiable in x, so this flow has no likelihood"),
        ({"base": gaussian_flow("cond_ot", MEAN.repeat(2), STD.repeat(2), (4,))}, "of one event shape"),
        ({"samples": SOME[:, :1]}, r"samples must have shape \(m, \*\(2,\)\), drawn from flow; got \(20, 1\)"),
        ({"samples": SOME[:0]}, "samples is empty"),
        ({"samples": "abc"}, "got str"),
        ({"beta": math.nan}, "beta must be finite"),
        ({"beta": (1.0, 2.0)}, "one number for one energy"),
        ({"energy": [linear], "beta": (1.0, 2.0)}, "one number for each of 1 energies"),
        ({"energy": lambda x: torch.full((len(x),), math.inf)}, "every sample is forbidden"),
        ({"energy": lambda x: x}, "shape"),
        ({"condition": torch.arange(20)}, "share one condition"),
        ({"log_q": torch.zeros(3)}, r"log_q must have shape \(20,\)"),
        ({"log_q": torch.full((20,), math.nan)}, "log_q is NaN"),
        ({"log_q": torch.full((20,), -math.inf)}, "drawn from flow itself"),
        ({"n": 0}, "n must be"),
    ],
    ids=lambda part: part if isinstance(part, str) else "-".join(part),
)
def test_correct_refuses(changed: dict[str, Any], word: str) -> None:
    given = {"samples": SOME, "flow": WRONG, "base": BASE, "energy": linear, "beta": BETA} | changed
    with pytest.raises(ValueError, match=word):
        egflow.correct(**given)
