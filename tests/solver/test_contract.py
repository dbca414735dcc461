"""One contract over every solver: shapes, dtypes, rows, evaluations, both directions, bad input."""

import pytest
import torch
from fields import calls_of, gaussian, linear, linear_end, logistic, logistic_end

from egflow.solver import SOLVERS, Adams, Solution, SolverError, TorchDiffEq, Tuned, fit_tuned, make_solver

# What each name reaches on `logistic` at 1e-6, or with its default number of steps: euler's error is of order 1/100.
TOLERANCE = {"euler": 2e-2, "adaptive_heun": 1e-4, "fehlberg2": 1e-4, "bosh3": 1e-4, "midpoint": 1e-3, "heun2": 1e-3}


@pytest.fixture(params=SOLVERS)
def name(request):
    return request.param


def start(*shape, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=dtype) * 0.8 + 0.1


def test_solves_any_shape_and_counts_its_calls(name):
    y0 = start(5, 2, 3)
    fn, counts = calls_of(logistic, 5)
    kept = y0.clone()
    solution = make_solver(name).solve(fn, y0, 0.0, 1.0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(solution.y, logistic_end(y0), rtol=0, atol=TOLERANCE.get(name, 2e-5))
    assert isinstance(solution, Solution)
    assert torch.equal(y0, kept), "the start must be left alone"
    assert torch.equal(solution.nfe, counts) and solution.nfe.dtype == torch.long
    assert solution.rejected.shape == (5,) and bool((solution.rejected < solution.nfe).all())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keeps_the_dtype_and_goes_back(name, dtype):
    y0 = start(4, 2, dtype=dtype)
    solver = make_solver(name)
    there = solver.solve(linear, y0, 0.0, 1.0, rtol=1e-5, atol=1e-5).y
    back = solver.solve(linear, there, 1.0, 0.0, rtol=1e-5, atol=1e-5).y
    assert there.dtype == back.dtype == dtype
    # `linear` turns by 2 radians; euler's 100 steps stretch it by 2 % each way and both ways add up.
    atol = 0.06 if name == "euler" else 1e-2 if name in TOLERANCE else 1e-3
    torch.testing.assert_close(there, linear_end(y0), rtol=0, atol=atol)
    torch.testing.assert_close(back, y0, rtol=0, atol=atol)


def test_rows_are_the_places_in_the_batch(name):
    speed = torch.tensor([0.1, 3.0, 0.0, 1.0, 2.0], dtype=torch.float64)
    y0 = torch.zeros(5, 1, dtype=torch.float64)
    solution = make_solver(name).solve(lambda y, t, rows: speed[rows, None].expand_as(y), y0, 0.0, 1.0)
    torch.testing.assert_close(solution.y[:, 0], speed, rtol=0, atol=1e-9)


def test_an_empty_batch_gives_an_empty_answer(name):
    solution = make_solver(name).solve(linear, torch.zeros(0, 2), 0.0, 1.0)
    assert solution.y.shape == (0, 2) and solution.nfe.shape == solution.rejected.shape == (0,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("when", [0.0, 0.5])
def test_a_velocity_that_is_not_finite_is_an_error(name, bad, when):
    def fn(y, t, rows):
        late = (t >= when)[:, None] & (rows == 1)[:, None]
        return torch.where(late, bad, -y)

    with pytest.raises(SolverError, match=r"NaN or inf near t=.*rows 1"):
        make_solver(name).solve(fn, torch.ones(3, 2), 0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"rtol": 0.0}, ValueError, "rtol must be a positive"),
        ({"rtol": float("nan")}, ValueError, "rtol must be finite"),
        ({"atol": -1e-3}, ValueError, "atol must be a positive"),
        ({"t1": 0.0}, ValueError, "t0 and t1"),
        ({"norm_dims": 0}, ValueError, "norm_dims must lie in 1..2"),
        ({"y0": torch.ones(3)}, ValueError, r"y0 must have shape \(batch"),
        ({"y0": torch.ones(3, 2, dtype=torch.long)}, TypeError, "float32 or float64"),
        ({"y0": torch.full((3, 2), torch.nan)}, ValueError, "y0 holds NaN"),
        ({"fn": lambda y, t, rows: y[:, :1]}, ValueError, r"velocity has shape \(3, 1\)"),
    ],
)
def test_bad_input_is_refused_by_name(name, change, error, words):
    arguments = {"fn": linear, "y0": torch.ones(3, 2), "t0": 0.0, "t1": 1.0, "rtol": 1e-3, "atol": 1e-3} | change
    with pytest.raises(error, match=words):
        make_solver(name).solve(**arguments)


def test_extra_columns_can_be_left_out_of_the_norm():
    """A second column that oscillates costs adaptive solvers steps unless norm_dims leaves it out."""

    def fn(y, t, rows):
        return torch.stack([-y[:, 0], 40 * torch.cos(40 * t)], 1)

    for solver in (Adams(), TorchDiffEq("dopri5")):
        y0 = torch.ones(3, 2, dtype=torch.float64)
        whole, part = (solver.solve(fn, y0, 0.0, 1.0, rtol=1e-6, atol=1e-6, norm_dims=k) for k in (None, 1))
        assert int(part.nfe[0]) < 0.7 * int(whole.nfe[0])
        torch.testing.assert_close(part.y[:, 0], torch.full((3,), 0.36787944, dtype=torch.float64), rtol=0, atol=1e-5)


def test_the_gaussian_flow_is_solved_by_all():
    velocity, end = gaussian()
    x_0 = torch.randn(50, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for solver in ("adams", "dopri5", "dopri8", "bosh3", "rk4", "heun3"):
        y = make_solver(solver).solve(velocity, x_0, 0.0, 1.0, rtol=1e-6, atol=1e-6).y
        torch.testing.assert_close(y, end(x_0), rtol=0, atol=1e-3 if solver == "heun3" else 1e-4)


def test_names():
    assert make_solver(None) == Adams() == make_solver("adams")
    assert make_solver("rk4:7") == TorchDiffEq("rk4", steps=7)
    mine = Tuned((0.0, 1.0), ((0.0, 1.0),))
    assert make_solver(mine) is mine
    with pytest.raises(ValueError, match=r"flow\.tune"):
        make_solver("tuned")
    with pytest.raises(ValueError, match=r"did you mean 'dopri[58]'"):
        make_solver("dopri")
    with pytest.raises(ValueError, match="did you mean 'adams'"):
        make_solver("adam")
    for bad in ("dopri5:10", "rk4:x", "rk4:-3"):
        with pytest.raises(ValueError, match="number of steps"):
            make_solver(bad)
    with pytest.raises(ValueError, match="steps must be a positive"):
        make_solver("rk4:0")
    for bad in (3, Adams, object()):
        with pytest.raises(TypeError, match="solver must be"):
            make_solver(bad)


def test_settings_are_checked():
    for bad in (
        {"name": "rk5"},
        {"name": "rk4", "steps": 0},
        {"name": "rk4", "steps": 2.5},
        {"name": "dopri5", "steps": 9},
    ):
        with pytest.raises(ValueError, match=r"name must|steps"):
            TorchDiffEq(**bad)
    with pytest.raises(ValueError, match="order"):
        Adams(order=0)
    with pytest.raises(ValueError, match="max_steps"):
        Adams(max_steps=0)
    for nfe in (1, 0, -2, 2.0, True):
        with pytest.raises(ValueError, match="nfe must be"):
            fit_tuned(linear, torch.ones(30, 2), 0.0, 1.0, nfe)
    with pytest.raises(ValueError, match="at least 20"):
        fit_tuned(linear, torch.ones(19, 2), 0.0, 1.0, 4)
