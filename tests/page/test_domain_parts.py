"""What each domain adds to the HTML report."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from egflow_images._page import page as images_page
from egflow_molecules._page import page as molecules_page
from egflow_molecules.smiles import encode
from egflow_molecules.writing import write_csv
from egflow_offline_rl._page import page as policies_page
from page_runs import make_run, page_of, report_of
from PIL import Image

from egflow.energy import EnergyValues
from egflow.page import Drawn, Grid, Intervals, Stops

SMILES = ["CCO", "c1ccccc1", "CC(=O)Nc1ccc(O)cc1", "C(", "CCO"]


def drawn_of(*samples: torch.Tensor, energies: tuple = ()) -> Drawn:
    betas = [float(k) for k in range(len(samples))]
    return Drawn([betas], [(beta,) for beta in betas], samples, energies, ["ink"] if energies else [])


def test_molecules_are_a_grid_of_drawings_that_can_be_sorted(tmp_path: Path) -> None:
    table = {"score": [3.0, None, 1.0, 0.5, 0.1], "mw": [46.0, 78.0, 151.0, 1.0, 46.0], "nearest_known": list("abcde")}
    write_csv(tmp_path / "samples.csv", SMILES, table)
    (grid,) = molecules_page(tmp_path, None)
    assert isinstance(grid, Grid)
    assert [card.caption for card in grid.cards] == SMILES[:3]  # neither the broken one nor one twice
    assert [card.values for card in grid.cards] == [
        {"score": 3.0, "mw": 46.0}, {"score": None, "mw": 78.0}, {"score": 1.0, "mw": 151.0},
    ]  # fmt: skip
    assert all(str(card.picture.content).lstrip().startswith("<?xml") for card in grid.cards)
    assert grid.cards[0].picture.alt == "Structure of CCO"


def test_molecules_of_a_range_move_with_the_slider(tmp_path: Path) -> None:
    write_csv(tmp_path / "samples.csv", SMILES[:3], {})
    energies = [[EnergyValues.from_tensor(torch.tensor([1.5, 2.5]))]] * 2
    _, sheets = molecules_page(tmp_path, drawn_of(encode(SMILES[:2]), encode(SMILES[1:3]), energies=tuple(energies)))
    assert isinstance(sheets, Stops)
    assert [one.alt for one in sheets.pictures] == [
        "Molecules drawn at beta 0: CCO, c1ccccc1",
        "Molecules drawn at beta 1: c1ccccc1, CC(=O)Nc1ccc(O)cc1",
    ]
    assert "energy 1.5" in str(sheets.pictures[0].content)


def test_a_table_without_molecules_is_a_note_on_the_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", domain="molecules")
    (run / "samples.csv").write_text("name\nx\n", "utf-8")
    assert "samples.csv has no column SMILES" in page_of(run, out=tmp_path / "a.html")


def test_pictures_are_sheets_and_those_of_a_range_move(tmp_path: Path) -> None:
    made = torch.rand(50, 3, 16, 16)
    np.save(tmp_path / "samples.npy", made.numpy())
    moving, still = images_page(tmp_path, drawn_of(made, 1 - made))
    assert isinstance(moving, Stops) and isinstance(still, Stops)
    assert len(moving.pictures) == 2 and len(still.pictures) == 1
    pixels = [np.asarray(Image.open(io.BytesIO(bytes(one.content)))) for one in moving.pictures]  # type: ignore[arg-type]
    assert pixels[0].shape == (5 * 17 * 5, 8 * 17 * 5, 3)  # five rows of eight with their lines, five times as large
    assert np.array_equal(pixels[0][0, 0], (made[0, :, 0, 0] * 255).round().byte().numpy())
    assert np.array_equal(pixels[1][0, 0], ((1 - made[0, :, 0, 0]) * 255).round().byte().numpy())


@pytest.mark.parametrize(
    "array", [np.zeros((3, 2), np.float32), np.zeros((1, 3, 4_000, 4_000), np.float32), np.array([{}], dtype=object)]
)
def test_arrays_that_are_no_pictures_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "samples.npy", array)
    with pytest.raises(ValueError, match=r"holds no pictures|Python objects"):
        images_page(tmp_path, None)


def test_policies_show_their_returns_with_errors() -> None:
    found = {
        "environment": "Pendulum-v1", "episodes": 4, "return_mean": -200.0, "return_std": 30.0,
        "data_return_mean": -900.0, "data_return_std": 99.0,
        "bc_return_mean": -700.0, "bc_return_std": None, "best_of_n": None,
        "best_of_n_return_mean": None, "data_episodes": 7, "normalized_return_mean": 81.25,
    }  # fmt: skip
    (block,) = policies_page(report_of(domain_metrics=found))
    assert isinstance(block, Intervals)
    assert block.rows == [("policy", -200.0, 15.0), ("behaviour cloning", -700.0, None), ("data", -900.0, None)]
    assert "81.2" in block.words
    assert policies_page(report_of(domain_metrics={})) == []
