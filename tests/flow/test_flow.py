"""Flows against closed forms: samples, densities, velocities; what is refused."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gaussian import MEAN, STD, gaussian_flow

from egflow.flow import Flow, divergence

PATHS = pytest.mark.parametrize("path", ["cond_ot", "vp", "cosine"])
SHIFT, SCALE = torch.tensor([5.0, 0.0, 0.0, -1.0]), torch.tensor([2.0, 1.0, 0.5, 1.0])


def normal_log_prob(x: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Normal(mean.double(), std.double()).log_prob(x.double()).sum(1)


@PATHS
def test_sample_then_log_prob_round_trip(path: str) -> None:
    flow = gaussian_flow(path, MEAN, STD, (4,), shift=SHIFT, scale=SCALE)
    n = 4_000
    x = flow.sample(n, seed=1)
    mean, std = SHIFT + SCALE * MEAN, SCALE * STD
    # vp starts from N(alpha_0 mean, ·), alpha_0 = .0066, in place of N(0, I): .0066 · ‖mean‖ · 4.5 sigma = .07 in log q
    assert ((x.mean(0) - mean).abs() < 4.5 * std / math.sqrt(n) + 0.01 * std).all()
    assert ((x.std(0) / std - 1).abs() < 4.5 / math.sqrt(2 * n) + 0.01).all()
    error = flow.log_prob(x) - normal_log_prob(x, mean, std)
    assert float(error.abs().max()) < (0.08 if path == "vp" else 2e-3)


@PATHS
def test_log_prob_of_any_event_shape(path: str) -> None:
    flow = gaussian_flow(path, MEAN, STD, (1, 2, 2))
    x = torch.randn(50, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5
    error = flow.log_prob(x) - normal_log_prob(x.flatten(1), MEAN, STD)
    assert float(error.abs().max()) < (0.12 if path == "vp" else 2e-3)


def test_hutchinson_is_exact_in_the_mean_and_says_its_error() -> None:
    """Rademacher probes are exact for a diagonal Jacobian, so mix the coordinates by a rotation."""
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)).Q
    inner = gaussian_flow("cond_ot", MEAN, STD, (4,))

    class Rotated(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner.network

        def forward(self, x: torch.Tensor, t: torch.Tensor, condition: None = None) -> torch.Tensor:
            return self.inner(x @ rotation, t) @ rotation.T

    flow = Flow(Rotated(), (4,))
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    exact = normal_log_prob(x @ rotation, MEAN, STD)
    torch.testing.assert_close(flow.log_prob(x), exact, atol=2e-3, rtol=0)
    value, error = flow.log_prob_with_error(x, probes=32)
    deviation = (value - exact) / error
    assert float(error.mean()) > 0.02
    # t with 31 degrees of freedom: sd 1.03 over 200 rows, whose mean scatters by .073
    assert abs(float(deviation.mean())) < 0.3 and 0.85 < float(deviation.std()) < 1.25


@pytest.mark.parametrize("probes", [None, 3])
def test_no_rows_have_no_densities(probes: int | None) -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,))
    assert flow.log_prob(torch.zeros(0, 4), probes=probes).shape == (0,)


def test_divergence_of_a_linear_field() -> None:
    matrix = torch.tensor([[1.0, 2.0], [3.0, -5.0]])
    value, exact = divergence(lambda x: x @ matrix.T, torch.randn(7, 2))
    assert exact.flatten().tolist() == pytest.approx([-4.0] * 7) and value.shape == (7, 2)


def test_velocity_is_in_data_units() -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,), shift=SHIFT, scale=SCALE)
    x, t = flow.sample(5), torch.full((5,), 0.5, dtype=torch.float64)
    inner = flow.network((x - flow.shift) / flow.scale, t)
    torch.testing.assert_close(flow.velocity(x, 0.5), flow.scale * inner)


def test_the_velocity_is_open_to_func_transforms() -> None:
    class Square(torch.nn.Module):
        def forward(self, z: torch.Tensor, t: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
            return z.square() * t[:, None] + condition

    flow = Flow(Square(), (2,), condition_shape=(2,))
    x, c = torch.randn(5, 1, 2), torch.randn(5, 1, 2)
    each = torch.func.vmap(torch.func.jacrev(flow.velocity), in_dims=(0, 0, 0))(x, torch.full((5, 1), 0.5), c)
    torch.testing.assert_close(each.squeeze(), torch.diag_embed(x[:, 0]))
    assert (
        flow.velocity(x[0] * math.nan, 0.5, c[0]).isnan().all()
    )  # not looked for: a device would have to be waited for
    with pytest.raises(ValueError, match="condition must be finite"):
        flow.log_prob(x[0], c[0] * math.nan)


@pytest.mark.parametrize("beta", [2, np.float32(2), torch.tensor(2.0), torch.tensor([2.0]), [np.float64(2)]])
def test_the_own_beta_in_any_form_of_a_number(beta: Any) -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,))
    flow.beta = 2.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert flow.at(beta) is flow
        with pytest.raises(ValueError, match=r"beta must be 2\.0"):
            flow.at(beta[0] + 1 if isinstance(beta, list) else beta + 1)


@pytest.mark.parametrize("solver", ["adams", "dopri5", "euler:4"])
def test_tolerances_of_numpy_are_numbers(solver: str) -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,))
    tolerance = np.float32(2**-10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = flow.sample(3, solver=solver, rtol=tolerance, atol=tolerance)  # type: ignore[arg-type]  # the point
    assert torch.equal(made, flow.sample(3, solver=solver, rtol=2**-10, atol=2**-10))


def test_samples_depend_on_the_seed_and_not_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,))
    whole = flow.sample(40, seed=3)
    assert not torch.equal(whole, flow.sample(40, seed=4))
    monkeypatch.setattr("egflow.flow._flow._CHUNK", 7)
    torch.testing.assert_close(whole, flow.sample(40, seed=3), rtol=1e-9, atol=1e-9)


def test_conditions() -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,))
    flow.condition_shape, flow.num_classes = (), 3
    mean = flow.sample(2_000, 2).mean(0)
    assert ((mean - (MEAN + 2)).abs() < 4.5 * STD / math.sqrt(2_000)).all()
    labels = torch.arange(6) % 3
    one = torch.cat([flow.sample(6, labels, seed=5)[i : i + 1] for i in range(6)])
    torch.testing.assert_close(one, flow.sample(6, labels, seed=5))
    for bad, word in ((3, "labels 0"), (None, "missing"), (torch.zeros(4).long(), "one row a sample")):
        with pytest.raises(ValueError, match=word):
            flow.sample(6, bad)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda f: f.sample(0), "n must be"),
        (lambda f: f.sample(3, 1), "without conditions"),
        (lambda f: f.sample(3, solver="dopri6"), "dopri"),
        (lambda f: f.sample(3, solver="tuned"), "tune"),
        (lambda f: f.sample(3, beta=2.0), "beta must be None"),
        (lambda f: f.sample(3, correct=True), "needs the base and the energy"),
        (lambda f: f.log_prob(torch.zeros(3, 5)), "x must have shape"),
        (lambda f: f.log_prob(torch.zeros(3, 4).long()), "float tensor"),
        (lambda f: f.log_prob(torch.zeros(3, 4), probes=0), "probes"),
        (lambda f: f.velocity([1.0], 0.5), "float tensor"),
        (lambda f: Flow(f.network, (4,), path="straight"), "path must be one of"),
    ],
)
def test_refused(call: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call(gaussian_flow("cond_ot", MEAN, STD, (4,)))  # type: ignore[operator]


def test_tuned_solver_knows_its_error() -> None:
    flow = gaussian_flow("cond_ot", MEAN, STD, (4,))
    error = flow.tune(nfe=12)
    tuned, exact = (
        flow.sample(500, solver="tuned", seed=9),
        flow.sample(500, solver="dopri5", rtol=1e-9, atol=1e-9, seed=9),
    )
    measured = float((tuned - exact).square().mean().sqrt())
    assert measured < 3 * error + 1e-9 and error < 0.05
    assert flow.solve(10, solver="tuned").nfe.tolist() == [12] * 10
