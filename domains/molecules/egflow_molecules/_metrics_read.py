"""Sets of molecules as the metrics take them: SMILES and RDKit's molecules side by side, what is none left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from rdkit import Chem

from egflow_molecules._rdkit import mol_from_smiles, quiet

MoleculeList: TypeAlias = Sequence["str | Chem.Mol | None"]
"""A set of molecules: SMILES, RDKit's molecules, or both. None stands for one that could not be parsed."""


def read(molecules: MoleculeList) -> Iterator[Chem.Mol | None]:
    """Each as RDKit's molecule, one at a time; None where it is none or has no atom.

    Raises:
        TypeError: for one text in place of a list, or an item that is neither text nor a molecule.
    """
    if isinstance(molecules, (str, Chem.Mol)):
        raise TypeError(f"a metric takes a list of molecules, not {molecules!r} alone: put it in a list")
    for one in molecules:
        if isinstance(one, str):
            yield mol_from_smiles(one)
        elif one is None or isinstance(one, Chem.Mol):
            yield one if one is not None and one.GetNumAtoms() else None
        else:
            raise TypeError(f"a molecule is a SMILES or an rdkit.Chem.Mol, not {one!r} ({type(one).__name__})")


def read_valid(molecules: MoleculeList) -> Iterator[Chem.Mol]:
    """As `read`, without what is none."""
    return (mol for mol in read(molecules) if mol is not None)


def canonical(molecules: MoleculeList) -> list[str]:
    """RDKit's canonical SMILES of the valid molecules, in their order, repeats kept.

    It differs between versions of RDKit: of MOSES's 1,584,663 training molecules 276 are written otherwise now than in
    2020, most of them with ``[H]N=``. So compare only what one version wrote.

    >>> canonical(["OCC", "C(", "CCO"])
    ['CCO', 'CCO']
    """
    with quiet():
        return [Chem.MolToSmiles(mol) for mol in read_valid(molecules)]
