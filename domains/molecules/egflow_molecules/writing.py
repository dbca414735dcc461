"""Generated molecules as files: a table, and an SD file that docking and modelling programs read."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path

from rdkit import Chem
from rdkit.Chem import rdDepictor, rdDistGeom, rdForceFieldHelpers

from egflow._files import write_atomic
from egflow_molecules._rdkit import quiet

Columns = Mapping[str, Sequence[float | str | None]]
"""Name -> a value for each molecule. None and NaN are left empty; numbers are written with six digits."""


def write_csv(file: Path, smiles: Sequence[str], columns: Columns) -> Path:
    """Write a table: ``SMILES``, then the columns as given, a molecule a row, in the order given (RFC 4180, UTF-8).

    Args:
        file: whole or not there at all.
        smiles: n of them.
        columns: n values each.

    Raises:
        ValueError: for a column of another length, or one named SMILES.
        TypeError: for a value that is neither number nor text.
    """
    rows = _rows(columns, len(smiles))

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as stream:
            table = csv.writer(stream)
            table.writerow(["SMILES", *columns])
            table.writerows([one, *row] for one, row in zip(smiles, rows, strict=True))

    write_atomic(file, write)
    return file


def write_sdf(
    file: Path,
    mols: Sequence[Chem.Mol | None],
    columns: Columns,
    *,
    three_d: bool = True,
    optimise: bool = False,
    seconds: int = 10,
    seed: int = 0,
) -> int:
    """Write an SD file of the valid molecules, in the order given, with the columns (and ``SMILES``) as SD tags.

    Args:
        file: whole or not there at all.
        mols: n of them; None is left out.
        columns: n values each; an empty one is no tag.
        three_d: one conformer each by ETKDGv3 (Riniker and Landrum 2015, doi 10.1021/acs.jcim.5b00654), with hydrogens,
            some 50 a second. Without it 2-D coordinates.
        optimise: relax the conformer in the MMFF94 force field where that knows all its atoms.
        seconds: for one molecule, after which it is given up (RDKit before 2025 looks at the number of tries only).
        seed: of the conformers.

    Returns:
        How many molecules have no conformer, and are written in 2-D.

    Raises:
        ValueError: if none is valid, for a column of another length, or one named SMILES.
        TypeError: for a value that is neither number nor text.
    """
    rows = _rows(columns, len(mols))
    if all(mol is None for mol in mols):
        raise ValueError(f"none of the {len(mols)} molecules is valid: there is nothing to write to {file}")
    flat = 0

    def write(temporary: Path) -> None:
        nonlocal flat
        with Chem.SDWriter(str(temporary)) as writer:
            for mol, row in zip(mols, rows, strict=True):
                if mol is None:
                    continue
                solid = _embedded(mol, seed, seconds, optimise) if three_d else None
                flat += three_d and solid is None
                tags = {"SMILES": Chem.MolToSmiles(mol), **dict(zip(columns, row, strict=True))}
                # a line break would end the tag
                tags = {" ".join(name.split()): " ".join(text.split()) for name, text in tags.items() if text}
                written = _flattened(mol) if solid is None else solid
                for name, text in tags.items():
                    written.SetProp(name, text)
                writer.SetProps(list(tags))
                writer.write(written)

    with quiet():
        write_atomic(file, write)
    return flat


def _rows(columns: Columns, n: int) -> list[list[str]]:
    """The columns as rows of text."""
    if "SMILES" in columns:
        raise ValueError("a column is named SMILES, which is written already; give it another name")
    for name, values in columns.items():
        if len(values) != n:
            raise ValueError(f"the column {name!r} has {len(values)} values for {n} molecules; give one for each")
    texts = [[_text(name, value) for value in values] for name, values in columns.items()]
    return [[column[i] for column in texts] for i in range(n)]


def _text(name: str, value: float | str | None) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return "" if math.isnan(value) else f"{float(value):.6g}"
    raise TypeError(f"the column {name!r} holds {value!r}, a {type(value).__name__}; give numbers, texts or None")


def _embedded(mol: Chem.Mol, seed: int, seconds: int, optimise: bool) -> Chem.Mol | None:
    """A copy with hydrogens and one conformer, or None where none was found."""
    solid = Chem.AddHs(mol)
    settings = rdDistGeom.ETKDGv3()
    settings.randomSeed, settings.maxIterations = seed + 1, 20  # RDKit takes the seed 0 for 1
    if hasattr(settings, "timeout"):
        settings.timeout = seconds
    for settings.useRandomCoords in (False, True):  # faster for most, and what large rings and long chains need
        if rdDistGeom.EmbedMolecule(solid, settings) == 0:
            if optimise and rdForceFieldHelpers.MMFFHasAllMoleculeParams(solid):
                rdForceFieldHelpers.MMFFOptimizeMolecule(solid)
            return solid
    return None


def _flattened(mol: Chem.Mol) -> Chem.Mol:
    copy = Chem.Mol(mol)
    rdDepictor.Compute2DCoords(copy)
    return copy
