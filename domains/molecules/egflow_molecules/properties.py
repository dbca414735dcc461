"""The properties a chemist reads first: QED, logP, synthetic accessibility, size, polarity, hydrogen bonds, rings."""

from __future__ import annotations

from collections.abc import Iterable

from rdkit import Chem
from rdkit.Chem import QED

from egflow_molecules.energies._properties import PROPERTIES


def properties(mol: Chem.Mol) -> dict[str, float]:
    """The properties of one molecule by name, in the order of samples.csv, each as the energy of that name defines it.

    >>> from rdkit import Chem
    >>> aspirin = properties(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O"))
    >>> {name: round(value, 2) for name, value in aspirin.items()}
    {'qed': 0.55, 'logp': 1.31, 'sa': 1.58, 'tpsa': 63.6, 'mw': 180.16, 'hba': 3.0, 'hbd': 1.0, 'rotatable_bonds': 2.0,
     'rings': 1.0, 'fraction_sp3': 0.11}
    """
    found = QED.properties(mol)  # where QED's time goes; some of the others are among it
    had = {"qed": QED.qed(mol, qedProperties=found), "logp": found.ALOGP, "tpsa": found.PSA, "mw": found.MW}
    return {name: float(had[name] if name in had else value(mol)) for name, value in PROPERTIES.items()}


def property_columns(mols: Iterable[Chem.Mol | None]) -> dict[str, list[float]]:
    """Each property as a column over the molecules; NaN where there is none.

    >>> from rdkit import Chem
    >>> property_columns([Chem.MolFromSmiles("c1ccccc1"), None])["rings"]
    [1.0, nan]
    """
    rows = [dict.fromkeys(PROPERTIES, float("nan")) if mol is None else properties(mol) for mol in mols]
    return {name: [row[name] for row in rows] for name in PROPERTIES}
