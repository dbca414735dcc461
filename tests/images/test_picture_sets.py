"""Sets of pictures: discs whose factors are known and read back, emoji, folders of anything."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from egflow_images import folder
from egflow_images.domain import Images
from egflow_images.emoji_set import CATEGORIES, emoji
from egflow_images.energies import Factor
from egflow_images.folder import read_array, read_folder, read_picture
from egflow_images.metrics import factor_metrics
from egflow_images.shapes import FACTORS, MOST, RADIUS, colour, read, shapes
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "CACHE", tmp_path_factory.mktemp("prepared"))


def test_shapes_have_the_distribution_that_is_said() -> None:
    n = 6_000
    x, factors = shapes(n, seed=3)
    assert x.shape == (n, 3, 16, 16) and x.dtype == torch.float32 and float(x.min()) >= 0 and float(x.max()) <= 1
    assert torch.equal(x, shapes(n, seed=3)[0]) and not torch.equal(x, shapes(n, seed=4)[0])
    error = 4 / math.sqrt(n)  # four standard errors of a mean, for a unit deviation
    assert float(factors.hue.mean()) == pytest.approx(0.5, abs=error * math.sqrt(1 / 12))
    width = RADIUS[1] - RADIUS[0]
    assert float(factors.radius.mean()) == pytest.approx(sum(RADIUS) / 2, abs=error * width * math.sqrt(1 / 12))
    shares = torch.bincount(factors.count.long(), minlength=MOST + 1).double() / n
    assert shares[0] == 0 and float((shares[1:] - 1 / MOST).abs().max()) < error * math.sqrt(2 / 9)
    assert float(factors.x.mean()) == pytest.approx(8.0, abs=error * float(factors.x.std()))
    joint = torch.stack([factors.hue, factors.radius, factors.count])
    assert float((torch.corrcoef(joint) - torch.eye(3)).abs().max()) < error  # independent
    with pytest.raises(ValueError, match="three discs"):
        shapes(3, size=12)


def test_factors_are_read_back_from_the_pictures() -> None:
    x, factors = shapes(3_000, seed=1)
    seen = read(x)
    assert torch.equal(seen.count, factors.count)
    assert float((seen.radius - factors.radius).abs().max()) < 0.1
    assert float((seen.x - factors.x).abs().max()) < 0.3
    turn = (seen.hue - factors.hue + 0.5) % 1.0 - 0.5
    assert float(turn.abs().max()) < 0.01
    blank = read(torch.ones(2, 3, 16, 16))
    assert blank.count.tolist() == [0, 0] and blank.radius.tolist() == [0, 0]
    torch.testing.assert_close(colour(torch.tensor([0.0, 1 / 3, 2 / 3])), torch.eye(3))


def test_the_metric_of_factors_tells_a_tilt_from_none() -> None:
    """Reds weigh most: exact draws are within the floor, draws of p are not."""
    x, factors = shapes(8_000, seed=2)
    energy = Factor("hue", 0.0)
    log_w = -20.0 * energy.of(factors).double()
    drawn = torch.multinomial(log_w.exp(), 4_000, replacement=True, generator=torch.Generator().manual_seed(0))
    known = SimpleNamespace(data=x, log_w=log_w, samples=x[drawn])
    exact = factor_metrics(known)  # type: ignore[arg-type]
    known.samples = x[:4_000]
    none = factor_metrics(known)  # type: ignore[arg-type]
    assert set(exact) == {f"{name}{kind}" for name in FACTORS for kind in ("_tv", "_tv_floor")}
    for name in FACTORS:
        assert exact[f"{name}_tv"] < 3 * exact[f"{name}_tv_floor"]
    assert none["hue_tv"] > 0.3 and none["count_tv"] < 0.05
    torch.testing.assert_close(energy(x[:500]), energy.of(read(x[:500])))


def test_emoji_are_the_real_ones() -> None:
    found = emoji()
    assert found.x.shape == (3786, 3, 32, 32) and float(found.x.min()) >= 0 and float(found.x.max()) <= 1
    assert int(found.skin.sum()) == 1875 and len(set(found.name)) == 1911
    flags = found.x[found.category == CATEGORIES.index("Flags")]
    assert len(flags) == 270
    heart = found.x[found.name.index("heart")]  # red in the middle, white in the corner
    assert heart[0, 16, 16] > 0.8 > 0.5 > float(heart[1:, 16, 16].max())
    assert float(heart[:, 0, 0].min()) > 0.98


def save(place: Path, name: str, mode: str, size: tuple[int, int], value: object) -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(place / name)  # type: ignore[arg-type]


def test_a_folder_of_mixed_pictures(tmp_path: Path) -> None:
    source, cache = tmp_path / "pictures", tmp_path / "cache"
    for i in range(18):
        save(source, f"b{i:02d}.png", "RGB", (40 + i, 30), (255, 0, 0))
    save(source, "a/grey.jpg", "L", (64, 64), 128)
    save(source, "a/through.png", "RGBA", (16, 16), (0, 0, 255, 0))
    save(source, "a/palette.gif", "P", (20, 50), 0)
    (source / "notes.txt").write_text("not a picture, and not meant as one")
    (source / "c.png").write_bytes(b"broken")
    found = read_folder(source, 16, cache)
    assert found.values.shape == (21, 16, 16, 3) and found.label is None
    assert list(found.broken) == ["c.png"] and "UnidentifiedImageError" in found.broken["c.png"]
    assert sum(found.shapes.values()) == 21 and found.shapes["L 64x64"] == 1
    # in the order of their paths
    assert np.abs(found.values[0].astype(int) - 128).max() <= 1
    assert found.values[2].min() == 255  # what is transparent is white
    assert (found.values[3] == [255, 0, 0]).all()
    x = found.x()
    assert x.shape == (21, 3, 16, 16) and float(x.min()) >= 0 and float(x.max()) <= 1

    (cache / next(cache.glob("*.json")).name).write_text(
        json.dumps(json.loads(next(cache.glob("*.json")).read_text()) | {"broken": {"taken": "from the cache"}})
    )
    assert read_folder(source, 16, cache).broken == {"taken": "from the cache"}
    save(source, "b00.png", "RGB", (9, 9), (0, 255, 0))  # a file that changed is read again
    again = read_folder(source, 16, cache)
    assert list(again.broken) == ["c.png"] and (again.values[3] == [0, 255, 0]).all()


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    for i in range(12):
        save(tmp_path / "in", f"cats/{i}.png", "RGB", (8, 8), (i, i, i))
        save(tmp_path / "in", f"dogs/deep/{i}.png", "RGB", (8, 8), (i, 0, 0))
    found = read_folder(tmp_path / "in", 8, tmp_path / "cache")
    assert found.classes == ("cats", "dogs") and found.label is not None
    assert found.label.tolist() == [0] * 12 + [1] * 12


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds 0 pictures"):
        read_folder(tmp_path)
    for i in range(30):
        save(tmp_path, f"{i}.png", "RGB", (8, 8), (i, i, i))
    for i in range(3):
        (tmp_path / f"broken{i}.png").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"3 of 33 files .* are no pictures: broken0.png \(UnidentifiedImageError"):
        read_folder(tmp_path, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_the_domain_knows_its_sets_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    domain = Images(n_shapes=200)
    assert domain.data("shapes", 0).x.shape == (200, 3, 16, 16)
    assert domain.data("emoji", 0).x.shape == (3786, 3, 32, 32)
    assert domain.default_energy("shapes") == domain.default_energy("emoji") == "colour(target='red')"
    for i in range(25):
        save(tmp_path, f"{i:02d}.png", "RGB", (50, 40), (i, i, i))
    (tmp_path / "x.png").write_bytes(b"none")
    data = Images(size=8).data(str(tmp_path), 0)
    assert data.x.shape == (25, 3, 8, 8) and data.info["broken_files"] == 1
    said = capsys.readouterr()
    assert "left out x.png" in said.err and "25 pictures: RGB 50x40 (25)" in said.out
    with pytest.raises(ValueError, match=r"images\.size=30 must be a multiple of 4"):
        Images(size=30)
    with pytest.raises(ValueError, match=r"images\.n_shapes"):
        Images(n_shapes=1)


def test_labels_are_conditions_where_there_are_some(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path, f"cats/{i}.png", "RGB", (8, 8), (i, i, i))
        save(tmp_path, f"dogs/{i}.png", "RGB", (8, 8), (i, 0, 0))
    domain = Images(size=8, labels=True)
    digits, pets, signs = (domain.data(name, 0) for name in ("digits", str(tmp_path), "emoji"))
    assert digits.condition is not None and digits.condition.bincount().tolist()[:2] == [178, 182]
    assert pets.condition is not None and pets.condition.tolist() == [0] * 20 + [1] * 20
    assert signs.condition is not None and len(signs.condition) == len(signs.x)
    assert Images().data("digits", 0).condition is None
    with pytest.raises(ValueError, match="shapes have no labels"):
        domain.data("shapes", 0)
    with pytest.raises(ValueError, match="lie in no sub-folders"):
        domain.data(str(tmp_path / "cats"), 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_array_is_pictures_in_any_order_of_its_axes(tmp_path: Path, channels: int) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 256, (20, 8, 8, channels), dtype=np.uint8)
    np.save(tmp_path / "last.npy", values)
    np.save(tmp_path / "first.npy", values.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    np.save(tmp_path / "wide.npy", values.astype(np.float64))
    (last, told), (first, silent), (wide, told_too) = (
        read_array(tmp_path / f"{name}.npy") for name in ("last", "first", "wide")
    )
    assert "taken as [0, 255]" in told and "taken as [0, 255]" in told_too and not silent
    assert last.shape == (20, min(channels, 3), 8, 8) and torch.equal(last, wide)
    torch.testing.assert_close(last, first, rtol=0, atol=1e-6)
    if channels == 4:
        see_through = values[..., 3] == 0
        assert see_through.any() and bool((last.movedim(1, -1)[torch.from_numpy(see_through)] == 1).all())
    assert torch.equal(Images().data(str(tmp_path / "last.npy"), 0).x, last)
    assert Images().default_energy(str(tmp_path / "last.npy")) == "brightness(target=0.5)"


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.zeros((20, 8, 10, 3)), r"has shape \(20, 8, 10, 3\): square pictures"),
        (np.zeros((20, 6, 6)), "6 pixels a side, which the network halves twice: cut or pad"),
        (np.zeros((3, 8, 8)), "holds 3 pictures: at least 20"),
        (np.full((20, 8, 8), -1.0), r"values from -1 to -1: \[0, 1\] or \[0, 255\] is needed"),
        (np.full((20, 8, 8), 1.7), "values from 1.7 to 1.7"),
        (np.zeros((20, 0, 0)), "holds 20 pictures"),
        (np.full((20, 8, 8), np.nan), "values from nan to nan"),
        (np.full((20, 8, 8), "a"), "no array of numbers"),
        (np.full((20, 8, 8), None), "no array of numbers"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(tmp_path: Path, values: np.ndarray, match: str) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(ValueError, match=match):
        read_array(tmp_path / "x.npy")


def test_values_a_little_past_their_range_are_cut_and_small_bytes_are_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.linspace(-0.1, 1.02, 20 * 64).reshape(20, 8, 8))
    x, told = read_array(tmp_path / "wide.npy")
    assert "cut to [0, 1]" in told and float(x.min()) == 0 and float(x.max()) == 1 and float(x.mean()) > 0.4
    for kind in (np.uint8, np.bool_):
        np.save(tmp_path / "two.npy", (np.arange(20 * 64) % 2).astype(kind).reshape(20, 8, 8))
        x, told = read_array(tmp_path / "two.npy")
        assert not told and float(x.mean()) == 0.5
    np.save(tmp_path / "small.npy", np.zeros((30, 3, 4, 4)))
    assert read_array(tmp_path / "small.npy")[0].shape == (30, 3, 4, 4)


def test_sixteen_bits_keep_their_range_and_floats_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 32_896, dtype=np.uint16)).save(tmp_path / "deep.png")
    values, shape = read_picture(tmp_path / "deep.png", 8)
    assert shape.startswith("I;16") and (values == 128).all()
    Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="mode F does not say where white is"):
        read_picture(tmp_path / "float.tiff", 8)


def test_a_file_that_is_no_array_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(b"none")
    with pytest.raises(ValueError, match="no array of numbers"):
        Images().data(str(tmp_path / "x.npy"), 0)


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images\.width=20 must be a multiple of 8"):
        Images(width=20)
    with pytest.raises(ValueError, match=r"images\.attention must be true or false"):
        Images(attention="yes")  # type: ignore[arg-type]


def test_the_network_is_as_wide_and_deep_as_the_pictures_ask() -> None:
    small, large = Images(width=16), Images(attention=True)
    config = small.network(small.data("shapes", 0)).config
    assert config["width"] == 16 and config["levels"] == 2 and not config["attention"]
    config = large.network(large.data("emoji", 0)).config
    assert (
        config["width"] == 64
        and config["levels"] == 3
        and config["patch"] == 2
        and config["attention"]
        and config["num_classes"] == 0
    )
    labelled = Images(labels=True)
    assert labelled.network(labelled.data("emoji", 0)).config["num_classes"] == 10
