"""Structure as an energy: likeness to a molecule, and patterns that are wanted or unwanted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from rdkit import Chem

from egflow_molecules._rdkit import parse_smarts, parse_smiles
from egflow_molecules.energies._fingerprints import reference, similarity
from egflow_molecules.energies._preset import PerMolecule, nearest, preset

TANIMOTO_FINGERPRINTS = ("ecfp4", "ecfp6", "fcfp4", "ap")


@cache
def pattern(smarts: str) -> Chem.Mol:
    """The pattern of a SMARTS, parsed once in a process."""
    return parse_smarts(smarts)


def has(mol: Chem.Mol, smarts: str) -> bool:
    """Whether a SMARTS matches anywhere in a molecule."""
    return mol.HasSubstructMatch(pattern(smarts))


@dataclass(frozen=True)
class Likeness:
    """E = −similarity."""

    smiles: str
    fp: str

    def __call__(self, mol: Chem.Mol) -> float:
        return -similarity(mol, self.smiles, self.fp)


@dataclass(frozen=True)
class Match:
    """E = 0 where the pattern's presence is as wanted, else the cost."""

    smarts: str
    wanted: bool
    cost: float

    def __call__(self, mol: Chem.Mol) -> float:
        return 0.0 if has(mol, self.smarts) == self.wanted else self.cost


@preset("tanimoto")
def Tanimoto(smiles: str, fp: str = "ecfp4") -> PerMolecule:
    """E = −(Tanimoto similarity to a molecule), so −1 … 0: likeness is good.

    Args:
        smiles: the molecule to be like. Stereochemistry is not compared.
        fp: the fingerprint: "ecfp4" or "ecfp6" (Morgan, radius 2 or 3), "fcfp4" (Morgan on pharmacophoric features),
            "ap" (atom pairs up to 10 bonds apart). All count, unfolded, as GuacaMol's.

    Raises:
        ValueError: where the SMILES is no molecule, or the fingerprint's name is unknown.
    """
    parse_smiles(smiles, "smiles of tanimoto")
    if fp not in TANIMOTO_FINGERPRINTS:
        known = f"it is one of {', '.join(TANIMOTO_FINGERPRINTS)}"
        raise ValueError(f"unknown fingerprint fp={fp!r} of tanimoto; {nearest(fp, TANIMOTO_FINGERPRINTS) or known}")
    reference(smiles, fp)
    return Likeness(smiles, fp)


@preset("has_smarts")
def HasSmarts(smarts: str, forbid: bool = False) -> PerMolecule:
    """E = 0 where the pattern is in the molecule, 1 where it is not.

    Args:
        smarts: the pattern.
        forbid: a molecule without the pattern is forbidden (E = +inf) instead.

    Raises:
        ValueError: where the SMARTS is no pattern.
    """
    parse_smarts(smarts, "smarts of has_smarts")
    return Match(smarts, wanted=True, cost=cost(forbid, "has_smarts"))


@preset("lacks_smarts")
def LacksSmarts(smarts: str, forbid: bool = False) -> PerMolecule:
    """E = 0 where the pattern is not in the molecule, 1 where it is.

    Args:
        smarts: the pattern.
        forbid: a molecule with the pattern is forbidden (E = +inf) instead.

    Raises:
        ValueError: where the SMARTS is no pattern.
    """
    parse_smarts(smarts, "smarts of lacks_smarts")
    return Match(smarts, wanted=False, cost=cost(forbid, "lacks_smarts"))


def cost(forbid: bool, name: str) -> float:
    """What a broken wish costs."""
    return math.inf if flag(forbid, name) else 1.0


def flag(forbid: bool, name: str) -> bool:
    """forbid=, checked."""
    if not isinstance(forbid, bool):
        raise TypeError(f"forbid of {name} is {forbid!r}; give True or False")
    return forbid
