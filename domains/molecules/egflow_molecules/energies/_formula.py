"""How near a molecule is to a molecular formula: GuacaMol's score of isomers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from functools import cache

from rdkit import Chem

from egflow_molecules.energies._modifiers import gaussian, geometric


@cache
def formula(text: str) -> Mapping[str, int]:
    """Atoms by element.

    >>> dict(formula("C9H10PCl"))
    {'C': 9, 'H': 10, 'P': 1, 'Cl': 1}
    """
    return {element: int(count or 1) for element, count in re.findall(r"([A-Z][a-z]*)(\d*)", text)}


def atoms(mol: Chem.Mol) -> Counter[str]:
    """Atoms by element, hydrogens that are not drawn among them.

    >>> sorted(atoms(Chem.MolFromSmiles("CO")).items())
    [('C', 1), ('H', 4), ('O', 1)]
    """
    counts = Counter(atom.GetSymbol() for atom in mol.GetAtoms())
    counts["H"] += sum(atom.GetTotalNumHs() for atom in mol.GetAtoms())
    return counts


def isomer(mol: Chem.Mol, text: str) -> float:
    """The geometric mean of a Gaussian for each element's count (sigma 1) and one for all atoms (sigma 2).

    >>> isomer(Chem.MolFromSmiles("Cc1cc(N)c([N+](=O)[O-])cc1"), "C7H8N2O2")
    1.0
    """
    wanted, found = formula(text), atoms(mol)
    by_element = (gaussian(found[element], count, 1.0) for element, count in wanted.items())
    return geometric(*by_element, gaussian(found.total(), sum(wanted.values()), 2.0))
