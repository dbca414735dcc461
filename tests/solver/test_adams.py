"""Adams: its weights, errors that follow the tolerance, samples on their own, guards."""

import math

import pytest
import torch
from fields import gaussian, logistic, logistic_end, mixture

from egflow.solver import Adams, SolverError, TorchDiffEq
from egflow.solver._adams_steps import adams_weights, step_factor


def starts(n, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rmse(a, b):
    return (a - b).square().mean().sqrt().item()


def test_weights_on_equal_steps_are_adams_bashforth():
    """g = 1, 1/2, 5/12, 3/8, 251/720 and beta = 1 (HNW III.1, table 1.1)."""
    h = torch.full((3,), 0.1, dtype=torch.float64)
    nodes = (0.7 - 0.1 * torch.arange(4, dtype=torch.float64)[:, None]).repeat(1, 3)
    beta, g = adams_weights(h, nodes, torch.tensor([4, 2, 1]))
    torch.testing.assert_close(g[:, 0], torch.tensor([1, 1 / 2, 5 / 12, 3 / 8, 251 / 720], dtype=torch.float64))
    assert torch.allclose(beta[:, 0], torch.ones(4, dtype=torch.float64))
    assert beta[:, 1].tolist()[2:] == [0, 0] and beta[:, 2].tolist()[1:] == [0, 0, 0]


def test_weights_on_uneven_steps_integrate_polynomials():
    """h sum_j g_j Phi*_j is the integral of the polynomial through the nodes: exact for t^3 on four of them."""
    nodes = torch.tensor([0.7, 0.55, 0.5, 0.2], dtype=torch.float64)
    h, f = 0.17, nodes**3
    beta, g = adams_weights(torch.tensor([h], dtype=torch.float64), nodes[:, None], torch.tensor([4]))
    differences, products = [f[0]], 1.0
    table = f.clone()
    for j in range(1, 4):
        table = (table[:-1] - table[1:]) / (nodes[:-j] - nodes[j:])
        products = products * (nodes[0] - nodes[j])
        differences.append(table[0] * products)
    total = h * sum(g[j, 0] * beta[j, 0] * differences[j] for j in range(4))
    assert math.isclose(total, ((0.7 + h) ** 4 - 0.7**4) / 4, rel_tol=1e-12)


def test_step_factor_solves_for_the_goal():
    """On a long even history r solves r^3 prod (r + i) / prod (1 + i) = goal / error."""
    h = torch.tensor([0.1, 0.1], dtype=torch.float64)
    nodes = (1 - 0.1 * torch.arange(4, dtype=torch.float64)[:, None]).repeat(1, 2)
    error, used = torch.tensor([0.05, 4.0], dtype=torch.float64), torch.tensor([4, 4])
    r = step_factor(error, h, h + nodes[:1] - nodes, nodes, used, 0.5)
    i = torch.arange(4, dtype=torch.float64)
    grown = r**3 * ((r[:, None] + i) / (1 + i)).prod(1)
    torch.testing.assert_close(grown, 0.5 / error, rtol=0.1, atol=0)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 6])
def test_error_falls_with_the_tolerance(order):
    """The estimate is of order k + 3 in h and the error of order k + 1: 100 times less is 10 times less or better."""
    y0 = torch.linspace(0.1, 0.9, 7, dtype=torch.float64)[:, None]
    errors = [
        rmse(Adams(order).solve(logistic, y0, 0.0, 1.0, rtol=tol, atol=tol).y, logistic_end(y0))
        for tol in (1e-4, 1e-6, 1e-8)
    ]
    assert errors[2] < errors[1] / 5 < errors[0] / 25
    assert errors[0] < 1e-3


def test_error_is_of_the_size_of_the_tolerance_on_a_mixture():
    """Paths that part ways amplify an error; the RMSE stays within a factor of 10 of the tolerance, both ways."""
    y0 = starts(400)
    exact = TorchDiffEq("dopri5").solve(mixture, y0, 0.0, 1.0, rtol=1e-10, atol=1e-10).y
    for tol in (1e-3, 1e-4, 1e-5):
        error = rmse(Adams().solve(mixture, y0, 0.0, 1.0, rtol=tol, atol=tol).y, exact)
        assert tol / 10 < error < tol * 10


def test_half_of_dopri5s_evaluations_at_equal_error():
    y0 = starts(400, seed=3)
    velocity, _ = gaussian(std=0.2)
    for fn in (mixture, velocity):
        exact = TorchDiffEq("dopri5").solve(fn, y0, 0.0, 1.0, rtol=1e-10, atol=1e-10).y
        adams = Adams().solve(fn, y0, 0.0, 1.0, rtol=3e-4, atol=3e-4)
        error = rmse(adams.y, exact)
        cost = min(
            int(solution.nfe[0])
            for solution in (
                TorchDiffEq("dopri5").solve(fn, y0, 0.0, 1.0, rtol=10**-p, atol=10**-p) for p in (3, 3.5, 4, 4.5, 5, 6)
            )
            if rmse(solution.y, exact) <= error
        )
        assert adams.nfe.double().mean() <= 0.55 * cost


def test_a_sample_does_not_depend_on_its_batch_mates():
    """`mixture` treats rows one by one, in float64, so each sample alone gives what it gives in company."""
    y0 = starts(40)
    together = Adams().solve(mixture, y0, 0.0, 1.0, rtol=1e-4, atol=1e-4)
    assert len(together.nfe.unique()) > 3, "the samples differ in cost, or the test shows nothing"
    for i in range(0, 40, 7):
        alone = Adams().solve(mixture, y0[i : i + 1], 0.0, 1.0, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(alone.y[0], together.y[i], rtol=0, atol=1e-11)
        assert int(alone.nfe) == int(together.nfe[i]) and int(alone.rejected) == int(together.rejected[i])


def test_steps_are_rejected_where_the_field_jumps():
    def fn(y, t, rows):
        return torch.where(t < 0.5, 1.0, -20.0)[:, None].expand_as(y)

    solution = Adams().solve(fn, torch.zeros(2, 1, dtype=torch.float64), 0.0, 1.0, rtol=1e-4, atol=1e-4)
    assert int(solution.rejected.min()) > 0
    torch.testing.assert_close(solution.y, torch.full((2, 1), -9.5, dtype=torch.float64), rtol=0, atol=0.1)


def test_a_still_field_takes_long_steps():
    solution = Adams().solve(lambda y, t, rows: torch.zeros_like(y), torch.ones(2, 1), 0.0, 1.0)
    assert torch.equal(solution.y, torch.ones(2, 1)) and int(solution.nfe.max()) <= 12


def test_steps_run_out_with_a_word():
    with pytest.raises(SolverError, match="5 steps and 2 samples"):
        Adams(max_steps=5).solve(mixture, starts(2), 0.0, 1.0, rtol=1e-8, atol=1e-8)


def test_a_time_span_of_another_length_takes_the_same_steps():
    velocity, _ = gaussian()
    y0 = starts(6)
    one = Adams().solve(velocity, y0, 0.0, 1.0, rtol=1e-4, atol=1e-4)
    ten = Adams().solve(lambda y, t, rows: velocity(y, t / 10, rows) / 10, y0, 0.0, 10.0, rtol=1e-4, atol=1e-4)
    assert torch.equal(one.nfe, ten.nfe)
    torch.testing.assert_close(one.y, ten.y, rtol=0, atol=1e-9)


def test_works_inside_autograd_without_a_graph():
    scale = torch.nn.Parameter(torch.ones(()))
    assert not Adams().solve(lambda y, t, rows: -scale * y, torch.ones(2, 1), 0.0, 1.0).y.requires_grad
