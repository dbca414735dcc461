"""torchdiffeq's methods: order of convergence, rejected steps, what they refuse."""

import math

import pytest
import torch
from fields import logistic, logistic_end

from egflow.solver import SolverError, TorchDiffEq, make_solver

ORDER = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}


@pytest.mark.parametrize(("name", "order"), ORDER.items())
def test_order_of_convergence(name, order):
    y0 = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)[:, None]
    few, many = (
        (TorchDiffEq(name, steps=n).solve(logistic, y0, 0.0, 1.0).y - logistic_end(y0)).abs().max() for n in (20, 40)
    )
    assert math.log2(few / many) == pytest.approx(order, abs=0.5)


def test_steps_are_counted():
    for name, stages in (("euler", 1), ("midpoint", 2), ("heun3", 3), ("rk4", 4)):
        assert int(TorchDiffEq(name, steps=7).solve(logistic, torch.rand(2, 1), 0.0, 1.0).nfe[0]) == 7 * stages


def test_rejected_steps_are_counted():
    def kink(y, t, rows):
        return torch.where(t < 0.5, 1.0, -20.0)[:, None].expand_as(y)

    solution = TorchDiffEq("dopri5").solve(kink, torch.zeros(2, 1), 0.0, 1.0, rtol=1e-4, atol=1e-4)
    assert int(solution.rejected[0]) > 0


@pytest.mark.parametrize("name", ["dopri5", "adams"])
def test_a_solution_that_blows_up_is_an_error_and_not_a_hang(name):
    """y' = y² from 1 has its pole at t = 1."""
    with pytest.raises(SolverError):
        make_solver(name).solve(lambda y, t, rows: y * y, torch.ones(1, 1), 0.0, 2.0, rtol=1e-4, atol=1e-4)


def test_adaptive_methods_never_look_past_the_end():
    seen = []

    def fn(y, t, rows):
        seen.append(float(t.max()))
        return -y

    TorchDiffEq("dopri5").solve(fn, torch.ones(2, 1), 0.0, 1.0, rtol=1e-2, atol=1e-2)
    assert max(seen) <= 1.0
