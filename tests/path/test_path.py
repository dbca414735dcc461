"""Paths: schedules, conversions, marginals; one contract for all."""

import pytest
import torch

from egflow.path import PATHS, Path, make_path

T = torch.tensor([1e-3, 0.1, 0.25, 0.5, 0.75, 0.9, 1 - 1e-3], dtype=torch.float64)
EVERY = pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=lambda path: path.name)
GENERATOR = torch.Generator().manual_seed(0)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


@EVERY
def test_ends(path: Path) -> None:
    alpha, _ = path.alpha(torch.tensor([0.0, path.t_end], dtype=torch.float64))
    sigma, _ = path.sigma(torch.tensor([0.0, path.t_end], dtype=torch.float64))
    assert float(alpha[0]) == pytest.approx(0, abs=0.007) and float(sigma[0]) == pytest.approx(1, abs=1e-4)
    assert float(alpha[1]) == pytest.approx(1, abs=1e-4) and float(sigma[1]) == pytest.approx(0, abs=0.0034)


@EVERY
def test_derivatives_by_finite_differences(path: Path) -> None:
    for function in (path.alpha, path.sigma):
        slope = (function(T + 1e-6)[0] - function(T - 1e-6)[0]) / 2e-6
        torch.testing.assert_close(function(T)[1], slope, rtol=1e-5, atol=1e-7)


@EVERY
def test_conversions_round_trip(path: Path) -> None:
    point = path.sample(numbers(7, 3), numbers(7, 3), T)
    truth = {"velocity": point.u_t, "noise": point.x_0, "x_1": point.x_1}
    truth["score_fn"] = -point.x_0 / path.sigma(T)[0][:, None]
    for have, value in truth.items():
        for want, wanted in truth.items():
            got = path.convert(value, point.x_t, T, have, want)  # type: ignore[arg-type]
            torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)


@EVERY
def test_marginal_velocity_and_score_of_a_gaussian(path: Path) -> None:
    """x_1 ~ N(m, s²): p_t = N(alpha m, alpha² s² + sigma²); score_fn by finite differences of its log-density."""
    m, s, x = 1.3, 0.4, numbers(7, 1)
    (a, da), (b, db) = path.alpha(T[:, None]), path.sigma(T[:, None])
    variance = (a * s) ** 2 + b**2

    def log_p(x: torch.Tensor) -> torch.Tensor:
        return -0.5 * (x - a * m).square() / variance

    score = (log_p(x + 1e-5) - log_p(x - 1e-5)) / 2e-5
    velocity = da * m + (a * da * s**2 + b * db) / variance * (x - a * m)
    torch.testing.assert_close(path.convert(velocity, x, T, "velocity", "score_fn"), score, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(path.convert(score, x, T, "score_fn", "velocity"), velocity, rtol=1e-5, atol=1e-5)


@EVERY
def test_samples_have_the_marginal_moments(path: Path) -> None:
    n, t = 200_000, torch.full((200_000,), 0.6, dtype=torch.float64)
    x_t = path.sample(numbers(n, 1), 1.3 + 0.4 * numbers(n, 1), t).x_t
    (a, _), (b, _) = path.alpha(t[:1]), path.sigma(t[:1])
    variance = float((0.4 * a) ** 2 + b**2)
    assert float(x_t.mean()) == pytest.approx(float(1.3 * a), abs=4 * (variance / n) ** 0.5)
    assert float(x_t.var()) == pytest.approx(variance, rel=4 * (2 / n) ** 0.5)


@EVERY
def test_time_is_per_row(path: Path) -> None:
    x_0, x_1 = numbers(7, 2, 3), numbers(7, 2, 3)
    whole = path.sample(x_0, x_1, T)
    for i in range(7):
        one = path.sample(x_0[i : i + 1], x_1[i : i + 1], T[i : i + 1])
        torch.testing.assert_close(whole.x_t[i : i + 1], one.x_t)


def test_names() -> None:
    assert make_path(None).name == "cond_ot"
    with pytest.raises(ValueError, match="path must be one of cond_ot, vp, cosine, got 'ot'"):
        make_path("ot")
    with pytest.raises(ValueError, match="a prediction is one of"):
        make_path("vp").convert(T, T, T, "score", "noise")  # type: ignore[arg-type]
