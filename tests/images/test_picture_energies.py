"""Energies of pictures, by hand and against what they say they are."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from egflow_images.domain import Images
from egflow_images.emoji_set import CATEGORIES, emoji
from egflow_images.energies import Brightness, Colour, Edges, Factor, PngSize, Similar, rgb
from egflow_images.shapes import shapes
from PIL import Image
from torch import Tensor

from egflow.cli._energy import choose_energy
from egflow.report import held_out_split


def flat(*channels: float, size: int = 8) -> Tensor:
    """One picture of one colour."""
    return torch.tensor(channels)[None, :, None, None].expand(1, -1, size, size).clone()


def test_brightness_edges_and_colour_by_hand() -> None:
    assert Brightness(0.2)(flat(0.5, 0.5, 0.8)).item() == pytest.approx(0.4)
    stripes = torch.tensor([[0.0, 1.0], [0.0, 1.0]])[None, None]
    assert Edges()(stripes).item() == pytest.approx(0.5) and Edges()(flat(0.3)).item() == 0
    red = Colour("red")
    assert red(flat(1.0, 0.0, 0.0)).item() == pytest.approx(0.0)
    assert red(flat(0.0, 0.0, 1.0)).item() == pytest.approx(2**0.5)
    on_white = flat(1.0, 1.0, 1.0)
    on_white[:, :, 2:4, 2:4] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]  # a white ground does not count
    assert red(on_white).item() == pytest.approx(2**0.5) and Colour("green")(on_white).item() == pytest.approx(0.0)
    assert red(flat(1.0, 1.0, 1.0)).item() == pytest.approx(2**0.5)  # white itself, where there is no colour
    assert red.gradient(0.1 + 0.8 * torch.rand(3, 3, 8, 8)).isfinite().all()


def test_colour_on_discs_is_a_function_of_their_hue() -> None:
    x, factors = shapes(500, seed=5)
    energy = Colour("red")(x)
    order = ((factors.hue + 0.5) % 1.0 - 0.5).abs().argsort()
    assert energy[order][:50].max() < energy[order][200:].min()
    assert Colour("red").describe() == "colour(target='red')"


def test_colours_may_be_named_in_three_ways() -> None:
    assert rgb("Blue") == rgb("#0000ff") == rgb([0, 0, 1.0]) == (0.0, 0.0, 1.0)
    for wrong in ("bluish", "#00f", [0, 0], [0, 0, 2.0], [0, 0, True]):
        with pytest.raises(ValueError, match="colour"):
            rgb(wrong)  # type: ignore[arg-type]


def test_the_size_of_a_png_is_that_of_the_file() -> None:
    x = torch.rand(3, 3, 16, 16)
    x[1] = 0.5
    sizes = PngSize()(x)
    stream = io.BytesIO()
    Image.fromarray((x[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(stream, "PNG")
    assert float(sizes[0]) == stream.tell() and sizes[1] < 0.3 * sizes[0]
    assert PngSize()(torch.zeros(2, 1, 8, 8)).shape == (2,)


def test_likeness_to_a_picture(tmp_path: Path) -> None:
    Image.new("RGB", (64, 48), (255, 0, 0)).save(tmp_path / "red.png")
    energy = Similar(str(tmp_path / "red.png"))
    assert energy(flat(1.0, 0.0, 0.0)).item() == pytest.approx(0.0)
    assert energy(flat(0.0, 0.0, 0.0, size=16)).item() == pytest.approx(3**-0.5)
    (tmp_path / "none.png").write_bytes(b"none")
    with pytest.raises(ValueError, match="is no picture"):
        Similar(str(tmp_path / "none.png"))
    with pytest.raises(FileNotFoundError):
        Similar(str(tmp_path / "nowhere.png"))


def test_factors_have_energies_and_hue_goes_round() -> None:
    x, factors = shapes(300, seed=6)
    near = Factor("hue", 0.95)(x)
    gap = (factors.hue - 0.95).abs()
    torch.testing.assert_close(near, torch.minimum(gap, 1 - gap), atol=0.01, rtol=0.0)
    torch.testing.assert_close(Factor("count", 2.0)(x), (factors.count - 2).abs())
    presets = Images().energies
    assert presets["radius"](target=2.5).describe() == "radius(target=2.5)"
    with pytest.raises(ValueError, match="factor must be one of"):
        Factor("size", 1.0)


@pytest.mark.parametrize("name", ["colour", "hue"])
def test_colours_of_grey_pictures_are_refused(name: str) -> None:
    energy = Images().energies[name](target="red" if name == "colour" else 0.0)
    with pytest.raises(ValueError, match="data in colour needed"):
        energy(torch.rand(2, 1, 8, 8))


@pytest.mark.parametrize("value", [float("nan"), "half", None, True, 2.0])
def test_a_brightness_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="target of brightness must be"):
        Brightness(value)  # type: ignore[arg-type]


def test_class_of_the_emoji_by_the_classifier_that_ships() -> None:
    domain = Images()
    x = domain.data("emoji", 0).x
    known = emoji()
    energies = torch.stack([domain.energies["class"](label=label)(x[:400]) for label in CATEGORIES])
    torch.testing.assert_close((-energies).exp().sum(0), torch.ones(400), rtol=1e-4, atol=1e-4)
    _, held = held_out_split(len(x))
    flags = domain.energies["class"](label="Flags")
    assert flags.describe() == "class(label='Flags')"
    likely = flags(x[held]) < 0.69  # more than an even chance
    true = known.category[held] == CATEGORIES.index("Flags")
    assert float((likely == true).double().mean()) > 0.97
    with pytest.raises(ValueError, match=r"class needs a label of the data, got 'Flag'\. Did you mean 'Flags'\?"):
        domain.energies["class"](label="Flag")
    with pytest.raises(ValueError, match="takes digit= of data=digits alone"):
        domain.energies["class"](digit=3)
    domain.default_energy("digits")
    with pytest.raises(ValueError, match="takes digit=, 0 to 9, not label="):
        domain.energies["class"](label="Flags")
    domain.default_energy("shapes")
    with pytest.raises(ValueError, match="shapes have no labels"):
        domain.energies["class"]()


def test_class_of_a_folder_is_trained_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("egflow_images.folder.CACHE", tmp_path / "cache")
    monkeypatch.setattr("egflow_images.classifier.COLOUR_STEPS", 60)
    generator = np.random.default_rng(0)
    for name, tint in (("red", (255, 40, 40)), ("blue", (40, 40, 255))):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(40):
            noisy = np.clip(np.array(tint) + generator.normal(0, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "in" / name / f"{i}.png")
    domain = Images(size=8)
    x = domain.data(str(tmp_path / "in"), 0).x
    red = domain.energies["class"](label="red")
    assert "training a classifier of blue, red" in capsys.readouterr().err
    assert float(red(x[40:]).max()) < 0.69 < float(red(x[:40]).min())
    again = domain.energies["class"](label="red")
    assert "training" not in capsys.readouterr().err and torch.equal(again(x), red(x))


def test_a_file_to_be_similar_to_must_be_a_picture(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Similar(str(tmp_path / "none.png"))
    for name, content in (("text.png", b"none"), ("cut.png", None)):
        if content is None:
            Image.new("RGB", (64, 64)).save(tmp_path / name)
            content = (tmp_path / name).read_bytes()[:60]
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="of similar is no picture"):
            Similar(str(tmp_path / name))
    with pytest.raises(ValueError, match="of similar is no picture"):
        Similar(str(tmp_path))


def settings(data: str, energy: str) -> dict[str, Any]:
    """What the command line hands on of ``data=`` and ``energy=``."""
    return {"domain": "images", "data": data, "score": None, "energy": energy, "cache": None}


def test_the_command_line_finds_the_classes_of_its_data(tmp_path: Path) -> None:
    assert choose_energy(settings("digits", "class"), Images(digit=7)).energies[0].describe() == "class(digit=7)"
    chosen = choose_energy(settings("emoji", "class(label='Food & Drink')"), Images())
    assert chosen.energies[0].describe() == "class(label='Food & Drink')"
    with pytest.raises(ValueError, match="shapes have no labels"):
        choose_energy(settings("shapes", "class"), Images())


def test_a_function_of_ones_own_gets_pictures_in_their_range(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def root(x):\n    assert x.ndim == 4\n    return x.sqrt().mean((1, 2, 3))\n")
    energy = choose_energy(settings("shapes", f"{tmp_path}/mine.py:root"), Images()).energies[0]
    assert energy(torch.tensor([-0.1, 4.0])[:, None, None, None].expand(2, 3, 8, 8)).tolist() == [0.0, 1.0]
