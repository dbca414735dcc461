"""What the command line asks of the toy domain."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from egflow_toy import SPEC
from egflow_toy.densities import DENSITIES, density
from egflow_toy.domain import Toy

from egflow.domain import Domain
from egflow.energy import EnergyValues, evaluate
from egflow.weights import log_weights


def evidence(domain: Toy, name: str, beta: float) -> SimpleNamespace:
    """What a report of a perfect generator of q would carry: fresh draws, resampled by their weights."""
    data, energy = domain.data(name, seed=0).x, domain.energies[domain.default_energy(name)]()
    energies = evaluate(energy, data)
    log_w = log_weights(energies, beta)
    chosen = torch.multinomial(log_w.softmax(0), 2000, replacement=True, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        data=data, log_w=log_w, energies=energies, samples=data[chosen], sample_energies=energies.at(chosen)
    )


@pytest.mark.parametrize("name", [None, *DENSITIES])
def test_every_set_has_data_and_an_energy_of_its_own(name: str | None) -> None:
    domain: Domain = SPEC.load({"n_data": 500})
    data = domain.data(name, seed=1)
    assert data.x.shape == (500, 2) and data.has_density and data.condition is None
    assert data.info == {"data": name or "8gaussians"}
    assert torch.equal(data.x, density(name or "8gaussians").sample(500, seed=1))
    assert len(evaluate(domain.energies[domain.default_energy(name)](), data.x)) == 500
    assert domain.network(data) is None


def test_presets_take_arguments() -> None:
    energy = Toy().energies["linear"](slope=(0.0, 2.0))
    assert energy(torch.tensor([[5.0, 1.0]])).item() == 2.0


@pytest.mark.parametrize("ask", [Toy().default_energy, lambda name: Toy(n_data=10).data(name, seed=0)])
def test_an_unknown_set_is_met_with_the_nearest(ask) -> None:
    with pytest.raises(ValueError, match="Did you mean '8gaussians'"):
        ask("8gausians")


@pytest.mark.parametrize("n_data", [0, 1.5, "many"])
def test_a_wrong_number_of_points_is_refused(n_data) -> None:
    with pytest.raises(ValueError, match=r"toy.n_data must be a positive whole number, got .*: write toy.n_data="):
        Toy(n_data=n_data)


@pytest.mark.parametrize("name", ["8gaussians", "rings", "moons", "pinwheel"])
def test_mode_shares_agree_for_a_perfect_generator_and_not_for_the_base(name: str) -> None:
    domain = Toy(n_data=20_000)
    account = SimpleNamespace(evidence=evidence(domain, name, 3.0))
    metrics = domain.metrics(account)  # type: ignore[arg-type]
    assert metrics["mode_share_error"] < 0.05  # 2,000 draws: standard error of a share at most .011
    shares = [value for key, value in metrics.items() if key.endswith("_target")]
    assert abs(sum(shares) - 1) < 1e-5
    account.evidence.samples = account.evidence.data[:2000]
    assert domain.metrics(account)["mode_share_error"] > 0.2  # type: ignore[arg-type]


def test_sets_without_modes_add_nothing() -> None:
    domain = Toy(n_data=1000)
    assert domain.metrics(SimpleNamespace(evidence=evidence(domain, "swissroll", 3.0))) == {}  # type: ignore[arg-type]


def test_a_report_that_was_loaded_has_no_evidence_to_draw(tmp_path: Path) -> None:
    loaded = SimpleNamespace(evidence=None)
    assert Toy().figures(loaded, tmp_path) == [] and Toy().metrics(loaded) == {}  # type: ignore[arg-type]


@pytest.mark.parametrize("forbid", [False, True])
def test_the_picture_is_drawn(tmp_path: Path, forbid: bool) -> None:
    domain = Toy(n_data=2000)
    known = evidence(domain, "swissroll", 3.0)
    if forbid:
        energy = known.energies.energy.clone()
        energy[:700] = torch.inf
        known.energies = EnergyValues.from_tensor(energy)
        known.log_w = log_weights(known.energies, 3.0)
    files = domain.figures(SimpleNamespace(evidence=known), tmp_path)  # type: ignore[arg-type]
    assert files == [tmp_path / "plane.png"]
    assert files[0].read_bytes().startswith(b"\x89PNG") and files[0].stat().st_size > 10_000


def test_samples_are_written_as_float32(tmp_path: Path) -> None:
    x = density("rings").sample(5)
    file = Toy().save_samples(x.double(), tmp_path)
    assert file == tmp_path / "samples.npy"
    written = np.load(file)
    assert written.dtype == np.float32 and np.array_equal(written, x.numpy())


def test_points_of_a_file_are_the_data(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    domain, name = Toy(), str(tmp_path / "x.npy")
    assert torch.equal(domain.data(name, seed=0).x, torch.from_numpy(x)) and domain.default_energy(name) == ""
    with pytest.raises(FileNotFoundError, match="is no file"):
        domain.data("other.npy", seed=0)
