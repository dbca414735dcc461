"""The energies: the published shares of effective points, exact tilts, and sense anywhere in the plane."""

import math

import pytest
import torch
from egflow_toy.densities import GAUSSIAN_COVARIANCE, GAUSSIAN_MEAN, MIXTURE_CENTRES, density, gaussian_log_prob
from egflow_toy.energies import (
    CLASSIC,
    ClassicEnergy,
    Linear,
    Quadratic,
    gaussian_tilt,
    nearest_blade,
    nearest_centre,
    nearest_moon,
    nearest_ring,
    spiral_arc,
)

from egflow.energy import EnergyValues
from egflow.weights import ess_fraction, log_weights

N = 400_000


def ess(name: str, beta: float) -> float:
    energies = ClassicEnergy(name)(density(name).sample(N, seed=0))
    return float(ess_fraction(log_weights(EnergyValues.from_tensor(energies), beta)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("8gaussians", (0.556, 0.204, 0.141)),
        ("swissroll", (0.564, 0.020, 0.0005)),
        ("rings", (0.522, 0.269, 0.251)),
        ("moons", (0.550, 0.50, 0.50)),
        ("checkerboard", (0.550, 0.50, 0.50)),
        ("2spirals", (0.614, 0.091, 0.023)),
    ],
)
def test_effective_share_is_that_of_the_labels(name: str, expected: tuple[float, ...]) -> None:
    """Against the shares that the true labels give, at beta 3, 10 and 20.

    Within .003, where the label can be told from the point; .008 for swissroll (at beta 10 the share itself scatters
    from .012 to .027 between draws of this size; .0226 is exact), .012 for 2spirals, whose noise blurs the arc
    parameter near the centre.
    """
    tolerance = {"swissroll": 0.008, "2spirals": 0.012}.get(name, 0.003)
    for beta, share in zip((3, 10, 20), expected, strict=True):
        assert abs(ess(name, beta) - share) < tolerance, beta


def test_swissroll_tilt_is_the_exact_one() -> None:
    """E_q[e] by quadrature: given the angle a, x is N(c(a), I/25), and exp(k·‖x‖²) has a Gaussian integral."""
    beta, radius = 3.0, torch.linspace(1.5 * math.pi, 4.5 * math.pi, 20_001, dtype=torch.float64) / 5

    def log_normaliser(k: float) -> float:
        shrink = 1 - 2 * k / 25
        return float(torch.logsumexp(k * radius.square() / shrink - math.log(shrink), dim=0))

    exact = (log_normaliser((beta + 1e-4) / 9) - log_normaliser((beta - 1e-4) / 9)) / 2e-4
    e = -ClassicEnergy("swissroll")(density("swissroll").sample(N, seed=1)).double()
    weights = torch.softmax(beta * e, dim=0)
    mean = float((weights * e).sum())
    stderr = float((weights.square() * (e - mean).square()).sum().sqrt())
    assert abs(mean - exact) < 4 * stderr


@pytest.mark.parametrize("energy", [Linear((1.0, 0.5)), Linear((-0.3, 2.0)), Quadratic(), Quadratic((0.5, 1.0))])
@pytest.mark.parametrize("beta", [0.0, 0.7, 2.0, -0.2])
def test_gaussian_tilt_is_proportional_to_p_times_the_weight(energy: Linear | Quadratic, beta: float) -> None:
    mean, covariance = gaussian_tilt(energy, beta)
    x = 2 * torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    base = gaussian_log_prob(x, GAUSSIAN_MEAN.double(), GAUSSIAN_COVARIANCE.double())
    log_z = gaussian_log_prob(x, mean, covariance) - (base - beta * energy(x))
    torch.testing.assert_close(log_z, log_z.mean().expand(50), rtol=0, atol=1e-10)


@pytest.mark.parametrize("energy", [Linear(), Quadratic()])
def test_weighted_gaussian_points_have_the_moments_of_the_tilt(energy: Linear | Quadratic) -> None:
    mean, covariance = gaussian_tilt(energy, 0.5)
    x = density("gaussian").sample(N, seed=2).double()
    weights = torch.softmax(-0.5 * energy(x), dim=0)
    found = (weights[:, None] * x).sum(dim=0)
    stderr = (weights.square()[:, None] * (x - found).square()).sum(dim=0).sqrt()
    assert ((found - mean).abs() < 4 * stderr).all()
    spread = (weights[:, None, None] * (x - found)[:, :, None] * (x - found)[:, None, :]).sum(dim=0)
    torch.testing.assert_close(spread, covariance, rtol=0, atol=0.02)


def test_a_tilt_without_a_normaliser_is_refused() -> None:
    with pytest.raises(ValueError, match="q has no normaliser"):
        gaussian_tilt(Quadratic(), -5.0)


def test_the_mixture_is_reweighted_by_component() -> None:
    """Shares of the modes at beta 3: exp(3k/7) over its sum; .001 of the points stand nearer to another centre."""
    x = density("8gaussians").sample(N, seed=0)
    weights = torch.softmax(-3 * ClassicEnergy("8gaussians")(x).double(), dim=0)
    shares = torch.zeros(8, dtype=torch.float64).index_add(0, nearest_centre(x), weights)
    exact = torch.softmax(3 * torch.arange(8, dtype=torch.float64) / 7, dim=0)
    assert (shares - exact).abs().max() < 0.003


@pytest.mark.parametrize("name", list(CLASSIC))
def test_energies_have_sense_anywhere(name: str) -> None:
    energy, generator = ClassicEnergy(name), torch.Generator().manual_seed(0)
    far = torch.cat([scale * torch.randn(500, 2, generator=generator) for scale in (0.0, 1.0, 30.0, 1e6, 1e15)])
    values = energy(far)
    assert values.shape == (2500,) and values.dtype == torch.float32 and bool(values.isfinite().all())
    if name != "swissroll":  # the only one without bounds
        assert values.min() >= -1 and values.max() <= 0
    assert torch.equal(energy(far[:1]), values[:1])
    assert energy.describe() == name


def test_labels_of_clean_points() -> None:
    """Points on the shapes themselves, without noise, are given the label they were made with."""
    assert nearest_centre(MIXTURE_CENTRES).tolist() == list(range(8))
    angle = torch.linspace(0, 2 * math.pi, 50)
    for ring, radius in enumerate((0.75, 1.5, 2.25, 3.0)):
        assert (nearest_ring(radius * torch.stack([angle.cos(), angle.sin()], dim=1)) == ring).all()
    half = torch.linspace(0, math.pi, 50)
    upper = 2 * torch.stack([half.cos(), half.sin()], dim=1) + torch.tensor([-1.0, -0.2])
    lower = 2 * torch.stack([1 - half.cos(), 0.5 - half.sin()], dim=1) + torch.tensor([-1.0, -0.2])
    assert (nearest_moon(upper) == 0).all() and (nearest_moon(lower) == 1).all()
    for blade in range(5):
        radial = torch.linspace(0.3, 1.9, 50)
        turn = 2 * math.pi / 5 * blade + 0.25 * radial.exp()
        assert (nearest_blade(2 * torch.stack([radial * turn.cos(), -radial * turn.sin()], dim=1)) == blade).all()


def test_spiral_arc_is_the_nearest_point_of_a_fine_grid() -> None:
    grid = torch.linspace(0, 3 * math.pi, 4001)
    arm = torch.stack([-grid.cos() * grid, grid.sin() * grid], dim=1) / 3 + 0.25 / 3
    x = density("2spirals").sample(4000, seed=0)
    nearest = torch.cdist(x, torch.cat([arm, -arm])).argmin(dim=1)
    gap = (spiral_arc(x) - torch.cat([grid, grid])[nearest]).abs()
    assert gap.quantile(0.99) < 0.01  # at the centre, some points have two arms at nearly the same distance


def test_arguments_of_presets_are_checked() -> None:
    with pytest.raises(ValueError, match=r"slope must be two finite numbers, got \[1.0\]"):
        Linear([1.0])
    with pytest.raises(ValueError, match="centre must be two finite numbers"):
        Quadratic((math.nan, 0.0))


def test_only_smooth_energies_claim_a_gradient() -> None:
    x = torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(Quadratic().gradient(x), x)
    torch.testing.assert_close(ClassicEnergy("swissroll").gradient(x), -2 * x / 9)
    with pytest.raises(TypeError, match="rings"):
        ClassicEnergy("rings").gradient(x)
