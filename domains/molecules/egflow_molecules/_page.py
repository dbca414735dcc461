"""The molecules' part of the HTML report: a grid to be sorted, and what the slider of beta makes of the same noise."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D

from egflow._untrusted import member
from egflow.page import Block, Card, Drawn, Grid, Picture, Stops
from egflow_molecules._grid import draw_grid, flat
from egflow_molecules._rdkit import mol_from_smiles, quiet
from egflow_molecules.molecules import Molecules
from egflow_molecules.smiles import decode

_CARDS = 150
_READ = 100_000  # rows at most
_SHEET = 8  # molecules of a stop
_WIDTH, _HEIGHT = 200, 150
_LONGEST = 300  # signs of a SMILES that is drawn


def page(folder: Path, drawn: Drawn | None) -> list[Block]:
    """The grid of samples.csv, and a sheet for each stop of the slider where the run has a range."""
    blocks: list[Block] = [_grid(member(folder, "samples.csv"))]
    if drawn is not None and drawn.stops:
        words = f"The first {_SHEET} of the draws at that beta, invalid ones left out; not corrected."
        blocks.append(Stops("Molecules by beta", words, [_sheet(drawn, place) for place in range(len(drawn.betas))]))
    return blocks


def _grid(file: Path) -> Grid:
    """Different molecules of a table of ours, in its order. Raises ValueError for one that has no SMILES."""
    cards: dict[str, Card] = {}
    count = 0
    with file.open(encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream)
        if "SMILES" not in (rows.fieldnames or ()):
            raise ValueError("samples.csv has no column SMILES")
        keys = [name for name in rows.fieldnames or () if name not in ("SMILES", "nearest_known")]
        for count, row in enumerate(rows, 1):
            text = row["SMILES"]
            if count >= _READ:
                break
            if len(cards) == _CARDS or text in cards or len(text) > _LONGEST:
                continue
            mol = mol_from_smiles(text)
            if mol is not None:
                cards[text] = Card(Picture(_drawing(mol), f"Structure of {text}"), text, _numbers(row, keys))
    best = "the best first" if keys and keys[0].startswith(("score", "energy")) else "as they came"
    words = (
        f"{len(cards)} different molecules of the {count:,} in samples.csv, {best}. A button sorts them by its value, "
        "and pressed again the other way."
    )
    return Grid("Molecules", words, list(cards.values()))


def _numbers(row: dict[str, str], keys: list[str]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for key in keys:
        try:
            value = float(row[key])
        except (TypeError, ValueError):  # an empty cell
            value = math.nan
        found[key] = value if math.isfinite(value) else None
    return found


def _drawing(mol: Chem.Mol) -> str:
    """One molecule as an SVG without a background."""
    drawer = rdMolDraw2D.MolDraw2DSVG(_WIDTH, _HEIGHT)
    options = drawer.drawOptions()
    options.fixedBondLength, options.clearBackground, options.includeMetadata = 18, False, False
    with quiet():
        drawer.DrawMolecule(flat(mol))
    drawer.FinishDrawing()
    return drawer.GetDrawingText().replace("encoding='iso-8859-1'", "encoding='utf-8'")


def _sheet(drawn: Drawn, place: int) -> Picture:
    molecules = Molecules(decode(drawn.samples[place][: 4 * _SHEET]))
    places = [i for i, valid in enumerate(molecules.valid) if valid][:_SHEET]
    name = ", ".join(f"{beta:.4g}" for beta in drawn.betas[place])
    if not places:
        raise ValueError(f"no valid molecule among the first {4 * _SHEET} at beta {name}")
    captions = [""] * len(molecules)
    if len(drawn.names) == 1 and drawn.energies:
        energy = drawn.energies[place][0].energy.tolist()
        captions = [f"energy {one:.3g}" for one in energy[: len(molecules)]]
    said = ", ".join(molecules.smiles[i] for i in places)
    return Picture(str(draw_grid(molecules.mols, captions, places, "svg")), f"Molecules drawn at beta {name}: {said}")
