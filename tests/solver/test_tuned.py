"""Tuned: least squares finds what there is to find, the error it claims is true, and it survives JSON."""

import json

import pytest
import torch
from fields import calls_of, gaussian, linear, linear_end, mixture

from egflow.solver import Adams, SolverError, TorchDiffEq, Tuned, fit_tuned


def starts(n, seed):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rmse(a, b):
    return (a - b).square().mean().sqrt().item()


@pytest.fixture(scope="module")
def tuned():
    return fit_tuned(mixture, starts(1_000, 1), 0.0, 1.0, 12)


def test_error_is_true_on_fresh_samples_and_smaller_than_that_of_general_methods(tuned):
    solver, claimed = tuned
    y0 = starts(2_000, 2)
    exact = TorchDiffEq("dopri5").solve(mixture, y0, 0.0, 1.0, rtol=1e-9, atol=1e-9).y
    error = rmse(solver.solve(mixture, y0, 0.0, 1.0).y, exact)
    # The error's square is dominated by the few paths that pass a fork: 200 of them tell it to a factor of 2 or 3.
    assert claimed / 3 < error < claimed * 3
    assert error < 0.7 * rmse(TorchDiffEq("rk4", steps=3).solve(mixture, y0, 0.0, 1.0).y, exact)
    assert error < 0.9 * rmse(TorchDiffEq("explicit_adams", steps=12).solve(mixture, y0, 0.0, 1.0).y, exact)


def test_it_makes_the_calls_it_says(tuned):
    solver, _ = tuned
    fn, counts = calls_of(mixture, 7)
    solution = solver.solve(fn, starts(7, 3).float(), 0.0, 1.0)
    assert solver.nfe == 12 and solution.nfe.tolist() == counts.tolist() == [12] * 7
    assert solution.y.dtype == torch.float32 and solution.rejected.sum() == 0


def test_a_flow_that_is_linear_in_its_start_is_solved_exactly():
    """x(t) is the same affine map of x_0 for every sample: with y_0 and f_0, f_1 in hand least squares finds it."""
    velocity, end = gaussian(mean=0.0)
    solver, error = fit_tuned(velocity, starts(60, 4), 0.0, 1.0, 2)
    assert error < 1e-5
    y0 = starts(30, 5)
    torch.testing.assert_close(solver.solve(velocity, y0, 0.0, 1.0).y, end(y0) - 0.0, rtol=0, atol=1e-4)


def test_backwards_any_shape_and_dtype():
    y0 = starts(80, 6).float().view(40, 2, 2)
    solver, error = fit_tuned(linear, y0, 1.0, 0.0, 6)
    y = solver.solve(linear, y0, 1.0, 0.0).y
    assert y.dtype == torch.float32 and error < 1e-3
    torch.testing.assert_close(y, linear_end(y0, -1.0), rtol=0, atol=5e-3)


def test_json_round_trip(tuned):
    solver, _ = tuned
    again = Tuned.from_dict(json.loads(json.dumps(solver.to_dict(), allow_nan=False)))
    assert again == solver


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"times": [0.0, 1.0]},
        {"times": [0.0, 1.0], "coefficients": [[0.0, 1.0]], "more": 1},
        {"times": "01", "coefficients": [[0.0, 1.0]]},
        {"times": [0.0, "1"], "coefficients": [[0.0, 1.0]]},
        {"times": [0.0, True], "coefficients": [[0.0, 1.0]]},
        {"times": [0.0], "coefficients": []},
        {"times": [0.0, 1.0], "coefficients": [[0.0]]},
        {"times": [0.0, 1.0], "coefficients": [[0.0, float("nan")]]},
        {"times": [0.0, 0.0], "coefficients": [[0.0, 1.0]]},
        {"times": [0.0, 0.7, 0.6], "coefficients": [[0.0, 1.0], [0.0, 1.0, 1.0]]},
        {"times": [0.0, 0.7, 0.7], "coefficients": [[0.0, 1.0], [0.0, 1.0, 1.0]]},
        {"times": [0.0, 1.0], "coefficients": {"0": [0.0, 1.0]}},
    ],
)
def test_altered_content_is_refused(content):
    with pytest.raises(ValueError, match=r"tuned|times|coefficients"):
        Tuned.from_dict(content)


def test_other_times_are_refused(tuned):
    for t0, t1 in ((1.0, 0.0), (0.0, 0.9)):
        with pytest.raises(ValueError, match="solver='adams'"):
            tuned[0].solve(mixture, starts(3, 7), t0, t1)


def test_a_field_that_is_not_finite_is_an_error(tuned):
    def broken(y, t, rows):
        return torch.where((rows == 25)[:, None], torch.nan, y)

    with pytest.raises(SolverError, match="rows 25"):
        fit_tuned(broken, starts(30, 8), 0.0, 1.0, 4)
    with pytest.raises(SolverError, match="rows 25"):
        tuned[0].solve(broken, starts(30, 8), 0.0, 1.0)


def test_fewer_evaluations_than_adams_at_equal_error(tuned):
    solver, _ = tuned
    y0 = starts(1_000, 9)
    exact = TorchDiffEq("dopri5").solve(mixture, y0, 0.0, 1.0, rtol=1e-9, atol=1e-9).y
    error = rmse(solver.solve(mixture, y0, 0.0, 1.0).y, exact)
    for tol in (1e-2, 3e-3, 1e-3, 3e-4):
        adams = Adams().solve(mixture, y0, 0.0, 1.0, rtol=tol, atol=tol)
        assert adams.nfe.double().mean() > solver.nfe or rmse(adams.y, exact) > error
