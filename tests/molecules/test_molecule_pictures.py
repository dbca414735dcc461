"""Pictures: of the promised size, the same each time, of valid molecules only, with every caption on them."""

import io
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from egflow_molecules._figure import property_figure
from egflow_molecules._grid import draw_grid, ranked, save_grid
from egflow_molecules.molecules import Molecules
from egflow_molecules.properties import property_columns
from PIL import Image
from rdkit import Chem

MADE = Molecules(["CCO", "C(", "c1ccccc1", "OCC", "CC(=O)Oc1ccccc1C(=O)O", "[Na+].[Cl-]"])
TEXT = "{http://www.w3.org/2000/svg}text"


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def captions_of(svg: str) -> list[str | None]:
    return [element.text for element in ElementTree.fromstring(svg.encode()).iter(TEXT)]


def test_a_sequence_of_molecules() -> None:
    assert MADE.valid == [True, False, True, True, True, True]
    assert [mol is not None for mol in MADE] == MADE.valid
    assert MADE[1] is None and MADE[-1] is not None and MADE[2].GetNumAtoms() == 6
    assert isinstance(MADE[1:3], Molecules) and MADE[1:3].smiles == ["C(", "c1ccccc1"]
    assert MADE[1:3].mols[1] is MADE.mols[2]
    same, other = Molecules(MADE.smiles), Molecules(["CCO"])
    assert same == MADE and other != MADE and MADE.smiles != MADE
    assert repr(MADE) == "Molecules(['CCO', 'C(', 'c1ccccc1', 'OCC', 'CC(=O)Oc1ccccc1C(=O)O', ...], 6 in all)"
    assert len(Molecules([])) == 0
    with pytest.raises(TypeError, match="give a list of SMILES"):
        Molecules("CCO")
    with pytest.raises(IndexError):
        MADE[6]


def test_nothing_is_parsed_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egflow_molecules.molecules.mol_from_smiles", None)
    assert len(Molecules(["CCO"])[:1]) == 1


def test_a_notebook_shows_the_valid_ones() -> None:
    shown = MADE._repr_html_()
    assert "6 generated, 5 of them molecules; the first 5:" in shown
    assert captions_of(shown[shown.index("<svg") :]) == ["0", "2", "3", "4", "5"]
    assert "<svg" not in Molecules(["C("])._repr_html_() and "0 of them" in Molecules([])._repr_html_()
    many = Molecules(["C" * (i + 1) for i in range(30)])
    assert captions_of(many.grid()) == [str(i) for i in range(20)]


@pytest.mark.parametrize(("n", "lines", "size"), [(1, 0, (240, 184)), (4, 1, (960, 202)), (5, 2, (960, 440))])
def test_a_grid_has_its_size_and_is_the_same_each_time(n: int, lines: int, size: tuple[int, int]) -> None:
    captions = ["\n".join(["line"] * lines)] * len(MADE)
    png = MADE.grid(n, captions, "png")
    with opened(png) as picture:
        assert picture.size == size and picture.mode == "RGB"
        pixels = np.asarray(picture)
    assert (pixels[0] == 255).all() and (pixels[:, -1] == 255).all() and (pixels < 100).any()
    svg = MADE.grid(n, captions)
    root = ElementTree.fromstring(svg.encode())
    assert (root.get("width"), root.get("height")) == tuple(f"{one}px" for one in size)
    again = Molecules(MADE.smiles)
    assert again.grid(n, captions, format="png") == png and again.grid(n, captions) == svg


def test_captions_of_any_text_are_whole() -> None:
    given = ["β·E = −3.2 Å² & <b>", "", "M" * 30, "two\nlines", "word " * 12, "x" * 70]
    written = captions_of(MADE.grid(6, given))
    assert "".join(filter(None, written)).replace(" ", "") == "".join(
        "".join(one.split()) for one, valid in zip(given, MADE.valid, strict=True) if valid
    )
    with opened(MADE.grid(6, ["", "", *["M" * 30] * 4], "png")) as picture:
        pixels = np.asarray(picture.convert("L"))
    assert (pixels[170:188, 240:470] < 100).any()  # the caption of the second molecule shown
    assert (pixels[170:188, [0, 1, 238, 239, 240, 241, 478, 479]] == 255).all()  # and no sign crosses its cell's edge


def test_a_cell_holds_its_own_molecule() -> None:
    """A cell alone and in a grid is the same picture: no molecule is drawn over another."""
    with opened(MADE.grid(5, [""] * 6, "png")) as grid, opened(Molecules(["OCC"]).grid(1, [""], "png")) as alone:
        assert np.array_equal(np.asarray(grid.crop((480, 0, 720, 184))), np.asarray(alone))


def test_ranked() -> None:
    scores = [0.1, 9.0, 0.5, 0.7, math.nan, 0.5]
    assert ranked(MADE) == [0, 2, 3, 4, 5]
    assert ranked(MADE, n=2) == [0, 2]
    assert ranked(MADE, scores) == [3, 2, 5]  # CCO only once, at its best; equal scores in their order
    assert ranked(MADE, scores, n=1) == [3]
    for wrong, says in (({"scores": [1.0]}, "1 scores for 6"), ({"n": 0}, "n is 0"), ({"n": 41}, "1 to 40")):
        with pytest.raises(ValueError, match=says):
            ranked(MADE, **wrong)
    with pytest.raises(ValueError, match="none of the 2 molecules can be shown"):
        ranked([None, None])
    with pytest.raises(ValueError, match="none of the 0 molecules can be shown"):
        ranked([])


def test_a_grid_as_a_file(tmp_path: Path) -> None:
    captions = [f"score {i}" for i in range(6)]
    png = save_grid(tmp_path / "best.png", MADE, captions, scores=list(range(6)), n=2)
    assert png.read_bytes() == draw_grid(MADE, captions, [5, 4], "png")
    svg = save_grid(tmp_path / "best.svg", MADE, captions, scores=list(range(6)), n=2)
    assert captions_of(svg.read_text("utf-8")) == ["score 5", "score 4"]
    with pytest.raises(ValueError, match="2 captions for 6"):
        MADE.grid(captions=["a", "b"])
    with pytest.raises(ValueError, match="'pdf'"):
        save_grid(tmp_path / "best.pdf", MADE, captions)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["best.png", "best.svg"]


@pytest.mark.parametrize("smiles", ["[H][H]", "[2H]O[2H]", "*C*", "[U]", "C" * 100, "F/C=C/F", "C[N+](C)(C)CC([O-])=O"])
def test_odd_molecules_are_drawn(smiles: str, capfd: pytest.CaptureFixture[str]) -> None:
    with opened(Molecules([smiles]).grid(format="png")) as picture:
        assert (np.asarray(picture)[:170] < 150).any()
    assert capfd.readouterr() == ("", "")


def test_a_molecule_keeps_its_own_coordinates() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    draw_grid([mol], [""], [0], "svg")
    assert mol.GetNumAtoms() == 9 and mol.GetNumConformers() == 0


def test_properties_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("egflow_molecules._figure.histograms", lambda axis, bins, parts: drawn.append((bins, parts)))
    prior = property_columns([*MADE, *Molecules(["C1CC1CCN", "CCCCCC"])])
    made = property_columns(MADE[:3])
    weight = np.arange(8.0)
    file = property_figure(prior, weight, made, tmp_path / "properties.png")
    with Image.open(file) as picture:
        assert picture.size[0] > 1000
    assert len(drawn) == 6
    bins, ((data, plain, *_), (same, share, _, label, _), (generated, *_)) = drawn[-1]
    assert data.tolist() == same.tolist() == [0, 1, 0, 1, 0, 1, 0] and generated.tolist() == [0, 1]
    assert plain is None and bins.tolist() == [-0.5, 0.5, 1.5]
    np.testing.assert_allclose(share, np.array([0, 2, 3, 4, 5, 6, 7]) / 27)  # without the invalid one
    assert f"n_eff {27**2 / (4 + 9 + 16 + 25 + 36 + 49):.0f}" in label


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    columns, none = property_columns(MADE), property_columns([None])
    for prior, weight, made in ((columns, [0, 1, 0, 0, 0, 0], columns), (columns, [1] * 6, none), (none, [1], columns)):
        with pytest.raises(ValueError, match="nothing to compare"):
            property_figure(prior, weight, made, tmp_path / "properties.png")
    assert not list(tmp_path.iterdir())
