"""The images domain: real pictures, a classifier that can be trusted, energies and metrics that mean what they say."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from egflow_images import SPEC
from egflow_images.classifier import digit_classifier
from egflow_images.digits import digits
from egflow_images.domain import Images
from egflow_images.energies import DigitClass, Ink, Symmetry
from egflow_images.metrics import feature_metrics, near_copy_share, picture_metrics
from PIL import Image
from sklearn.datasets import load_digits

from egflow.domain import Domain
from egflow.energy import evaluate
from egflow.flow import Flow
from egflow.network import UNet, with_beta
from egflow.report import held_out_split
from egflow.weights import log_weights


def evidence(domain: Images, name: str, beta: float) -> SimpleNamespace:
    """What a report of held-out pictures, resampled by their weights, would carry."""
    data, energy = domain.data("digits", seed=0).x, domain.energies[name]()
    energies = evaluate(energy, data)
    log_w = log_weights(energies, beta)
    _, held_out = held_out_split(len(data))
    generator = torch.Generator().manual_seed(0)
    chosen = held_out[torch.multinomial(log_w[held_out].softmax(0), 500, replacement=True, generator=generator)]
    return SimpleNamespace(
        data=data,
        log_w=log_w,
        energies=energies,
        samples=data[chosen],
        sample_energies=energies.at(chosen),
        held_out=held_out,
    )


def test_digits_are_the_real_ones_dequantised() -> None:
    x, labels = digits()
    pixels, classes = load_digits(return_X_y=True)
    assert x.shape == (1797, 1, 8, 8) and x.dtype == torch.float32
    assert x.min() >= 0 and x.max() < 1
    values = 17 * x.double().reshape(1797, 64)
    assert ((values - torch.from_numpy(pixels) > -1e-5) & (values - torch.from_numpy(pixels) < 1 + 1e-5)).all()
    assert np.array_equal(labels.numpy(), classes)
    assert torch.equal(x, digits()[0])
    assert len(x.flatten().unique()) > 100_000  # noise in every pixel, no level repeated by design


def test_the_spec_gives_a_domain() -> None:
    domain: Domain = SPEC.load({"digit": 5})
    data = domain.data("digits", seed=7)
    assert data.has_density and torch.equal(data.x, domain.data("digits", seed=8).x)
    assert domain.default_energy("digits") == "ink"
    assert domain.energies["class"]().describe() == "class(digit=5)"
    assert domain.energies["class"](digit=7).describe() == "class(digit=7)"
    usual = domain.data(None, seed=0)
    assert usual.x.shape == (20_000, 3, 16, 16) and not usual.has_density
    assert domain.default_energy(None) == "colour(target='red')"


def test_an_unknown_set_is_met_with_the_nearest() -> None:
    for ask in (Images().default_energy, lambda name: Images().data(name, seed=0)):
        with pytest.raises(
            ValueError, match=r"not a set of images, nor a folder or .npy file. Did you mean 'digits'\?"
        ):
            ask("digit")


def test_the_classifier_is_right_on_held_out_pictures() -> None:
    x, labels = digits()
    _, held_out = held_out_split(len(x))
    accuracy = (digit_classifier()(x[held_out]).argmax(dim=1) == labels[held_out]).double().mean()
    assert accuracy > 0.95


def test_the_classifier_is_the_same_each_time_and_disturbs_no_random_state() -> None:
    first = {name: value.clone() for name, value in digit_classifier().state_dict().items()}
    digit_classifier.cache_clear()
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    again = digit_classifier().state_dict()
    assert torch.equal(torch.rand(1), expected)
    for name, value in first.items():
        assert torch.equal(value, again[name]), name


def test_class_energy_is_minus_the_log_of_a_probability() -> None:
    x, labels = digits()
    energies = torch.stack([DigitClass(digit)(x) for digit in range(10)])
    torch.testing.assert_close((-energies).exp().sum(dim=0), torch.ones(len(x)), rtol=1e-4, atol=1e-4)
    assert (energies.argmin(dim=0) == labels).double().mean() > 0.95


def test_weighting_by_the_class_energy_at_beta_1_leaves_that_digit() -> None:
    """p(x)·p(digit | x) is p(x | digit): the weights' share of true threes is near one."""
    x, labels = digits()
    weights = log_weights(evaluate(DigitClass(3), x), 1.0).softmax(0)
    assert weights[labels == 3].sum() > 0.95


def test_ink_and_symmetry_by_hand() -> None:
    x = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).reshape(1, 1, 2, 2)
    assert Ink()(x).item() == 0.5
    assert Symmetry()(x).item() == 0.5  # (1 + 1 + 0 + 0) / 4
    assert Symmetry()(torch.cat([x, x.flip(-1)], dim=-1)).item() == 0


@pytest.mark.parametrize("name", ["ink", "symmetry", "class"])
def test_energies_are_finite_anywhere_and_differentiable(name: str) -> None:
    domain = Images()
    domain.default_energy("digits")
    energy = domain.energies[name]()
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([scale * torch.randn(20, 1, 8, 8, generator=generator) for scale in (0.0, 1.0, 1e6, 1e15)])
    values = energy(x)
    assert values.shape == (80,) and bool(values.isfinite().all())
    assert energy.gradient(x[20:40] * 0.1 + 0.5).shape == (20, 1, 8, 8)


@pytest.mark.parametrize("digit", [10, -1, 2.5, "three", True])
def test_a_digit_that_is_none_is_refused(digit) -> None:
    with pytest.raises(ValueError, match=r"digit must be a whole number from 0 to 9, got .*: write images.digit=3"):
        DigitClass(digit)


def test_near_copies_are_counted() -> None:
    x, _ = digits()
    train, held_out = held_out_split(len(x))
    assert near_copy_share(x[train][:300], x[train]) == 1
    assert near_copy_share(x[train][:300] + 1e-3, x[train]) == 1
    assert near_copy_share(x[held_out], x[train]) < 0.05
    assert near_copy_share(torch.rand(100, 1, 8, 8), x[train]) == 0


def test_metrics_of_a_memoriser_and_of_real_pictures() -> None:
    domain = Images()
    known = evidence(domain, "class", 1.0)
    metrics = domain.metrics(SimpleNamespace(evidence=known))  # type: ignore[arg-type]
    assert metrics["near_copy_share"] < 0.05 and metrics["near_copy_share_held_out"] < 0.05
    assert metrics["digit_3_target"] > 0.95 and metrics["digit_3_generated"] > 0.9
    assert abs(sum(metrics[f"digit_{digit}_target"] for digit in range(10)) - 1) < 1e-3
    known.samples = known.data[held_out_split(1797)[0][:400]]
    metrics = domain.metrics(SimpleNamespace(evidence=known))  # type: ignore[arg-type]
    assert metrics["near_copy_share"] == 1 and metrics["digit_3_generated"] < 0.2


def test_features_tell_exact_draws_from_wrong_and_from_poor_ones() -> None:
    """Draws of the weighted data lie at the floor; the data without their weights do not, nor does one picture."""
    x, _ = digits()
    known = evidence(Images(), "ink", 20.0)
    generator = torch.Generator().manual_seed(1)
    known.samples = x[torch.multinomial(known.log_w.softmax(0), 1_000, replacement=True, generator=generator)]
    exact = feature_metrics(known, digit_classifier())  # type: ignore[arg-type]
    assert exact["feature_distance"] < 1.3 * exact["feature_distance_floor"]
    known.samples = x[torch.randint(len(x), (1_000,), generator=generator)] * 0.3
    wrong = feature_metrics(known, digit_classifier())  # type: ignore[arg-type]
    assert wrong["feature_distance"] > 2 * wrong["feature_distance_floor"]
    known.samples = x[:1].repeat(1_000, 1, 1, 1) + 1e-3 * torch.randn(1_000, 1, 8, 8, generator=generator)
    poor = feature_metrics(known, digit_classifier())  # type: ignore[arg-type]
    assert poor["feature_recall"] < 0.1 < poor["feature_recall_of_data"]
    known.samples = torch.rand(1_000, 1, 8, 8, generator=generator)
    noise = feature_metrics(known, digit_classifier())  # type: ignore[arg-type]
    assert noise["feature_precision"] < 0.2 < noise["feature_precision_of_data"]


def test_only_what_is_known_of_the_set_is_measured() -> None:
    for name, shape, some in (
        ("mine.npy", (1, 8, 8), set()),
        ("digits", (1, 8, 8), {"feature_distance", "digit_3_target"}),
        ("mine.npy", (3, 8, 8), {"feature_distance"}),
        ("shapes", (3, 16, 16), {"feature_distance", "hue_tv"}),
    ):
        x = torch.rand(60, *shape, generator=torch.Generator().manual_seed(0))
        known = SimpleNamespace(data=x, samples=x, log_w=torch.zeros(60), held_out=torch.arange(20))
        found = picture_metrics(known, name)  # type: ignore[arg-type]
        keys = {key for key in found if "near_copy" not in key}
        assert some <= keys and (some or not keys)


def test_copies_are_counted_where_the_data_repeat_themselves() -> None:
    x = torch.rand(300, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    train = torch.cat([x, x[:30]])
    assert near_copy_share(train[:100], train) == 1
    assert near_copy_share(x[:1].repeat(20, 1, 1, 1), x[:1].repeat(50, 1, 1, 1)) == 0  # nothing to tell near by


def test_the_grid_is_drawn_also_for_few_samples(tmp_path: Path) -> None:
    domain = Images()
    known = evidence(domain, "ink", 20.0)
    known.samples = known.samples[:7] + 0.5
    known.beta = 20.0
    files = domain.figures(SimpleNamespace(evidence=known, energy="ink"), tmp_path)  # type: ignore[arg-type]
    assert files == [tmp_path / "grid.png", tmp_path / "nearest.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    loaded = SimpleNamespace(evidence=None)
    assert domain.figures(loaded, tmp_path) == [] and domain.metrics(loaded) == {}  # type: ignore[arg-type]


def test_samples_are_written_as_generated_and_decoded_clipped(tmp_path: Path) -> None:
    domain, x = Images(), 3 * torch.randn(4, 1, 8, 8)
    file = domain.save_samples(x, tmp_path)
    written = np.load(file)
    assert file == tmp_path / "samples.npy" and written.dtype == np.float32 and np.array_equal(written, x.numpy())
    decoded = domain.decoders["image"](x)
    assert decoded.shape == x.shape and decoded.min() == 0 and decoded.max() == 1


def test_pictures_of_a_flow_show_base_and_tilt_from_one_noise(tmp_path: Path) -> None:
    base = Flow(UNet(channels=3, size=8, width=8), (3, 8, 8))
    flow = Flow(UNet(channels=3, size=8, width=8), (3, 8, 8))
    flow.base, flow.beta = base, 2.0
    files = Images().flow_figures(flow, tmp_path, seed=0)
    assert [file.name for file in files] == ["same_noise.png", "trajectory.png"]
    sizes = []
    for file in files:
        with Image.open(file) as image:
            sizes.append(image.size)
    assert sizes[0][0] > sizes[1][0] and sizes[0][1] < sizes[1][1]  # two rows of 12, seven of 6
    every = Flow(with_beta(UNet(channels=3, size=8, width=8), 1), (3, 8, 8))
    every.beta_range = ((0.0, 4.0),)
    assert [file.name for file in Images().flow_figures(every, tmp_path, seed=0)] == ["beta_strip.png"]
