"""Molecules taken apart: how often each fragment and each scaffold is in a set, and how alike two such counts are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcNumRings
from rdkit.Chem.rdmolops import FragmentOnBRICSBonds
from rdkit.Chem.Scaffolds import MurckoScaffold

from egflow_molecules._metrics_read import MoleculeList, read_valid
from egflow_molecules._rdkit import quiet


def fragments(molecules: MoleculeList) -> Counter[str]:
    """How often each BRICS fragment (Degen et al. 2008) is in the valid molecules, by its SMILES.

    >>> sorted(fragments(["CCOc1ccccc1"]))
    ['[16*]c1ccccc1', '[3*]O[3*]', '[4*]CC']
    """
    counts: Counter[str] = Counter()
    with quiet():
        for mol in read_valid(molecules):
            counts.update(Chem.MolToSmiles(FragmentOnBRICSBonds(mol)).split("."))
    return counts


def scaffolds(molecules: MoleculeList, min_rings: int = 2) -> Counter[str]:
    """How many of the valid molecules have each Bemis-Murcko scaffold: their rings and what links them.

    Args:
        molecules: the set.
        min_rings: a scaffold with fewer rings is not counted; 2 as in MOSES.

    >>> scaffolds(["CCc1ccc(Cc2ccccc2)cc1", "Cc1ccccc1"])
    Counter({'c1ccc(Cc2ccccc2)cc1': 1})
    """
    counts: Counter[str] = Counter()
    with quiet():
        for mol in read_valid(molecules):
            try:
                scaffold = MurckoScaffold.GetScaffoldForMol(mol)
            except (ValueError, RuntimeError):  # RDKit cannot for some odd molecules
                continue
            if scaffold.GetNumAtoms() and CalcNumRings(scaffold) >= min_rings:
                counts[Chem.MolToSmiles(scaffold)] += 1
    return counts


def cosine(counts: Mapping[str, int], others: Mapping[str, int]) -> float:
    """⟨a, b⟩ / (‖a‖·‖b‖) of two counts; NaN where one is empty.

    >>> cosine({"a": 3, "b": 4}, {"a": 1})
    0.6
    """
    norm = math.hypot(*counts.values()) * math.hypot(*others.values())
    return sum(n * others.get(key, 0) for key, n in counts.items()) / norm if norm else math.nan
