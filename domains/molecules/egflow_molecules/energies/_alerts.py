"""Filters of medicinal chemistry as energies: structural alerts and the rule of five, counted or forbidden."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

from egflow_molecules.energies._preset import PerMolecule, preset
from egflow_molecules.energies._properties import logp, weight
from egflow_molecules.energies._structure import flag


@cache
def catalog(name: str) -> FilterCatalog:
    """One of RDKit's catalogs of alerts, built once in a process."""
    params = FilterCatalogParams()
    params.AddCatalog(getattr(FilterCatalogParams.FilterCatalogs, name))
    return FilterCatalog(params)


def violations(mol: Chem.Mol) -> int:
    """How many of Lipinski's four rules a molecule breaks, 0 … 4, with his own counts of N, O and of NH, OH."""
    return (
        (weight(mol) > 500)
        + (logp(mol) > 5)
        + (rdMolDescriptors.CalcNumLipinskiHBD(mol) > 5)
        + (rdMolDescriptors.CalcNumLipinskiHBA(mol) > 10)
    )


@dataclass(frozen=True)
class Alerts:
    """E = number of alerts, or +inf for any."""

    name: str
    forbid: bool

    def __call__(self, mol: Chem.Mol) -> float:
        if self.forbid:
            return math.inf if catalog(self.name).HasMatch(mol) else 0.0
        return float(len(catalog(self.name).GetMatches(mol)))


@dataclass(frozen=True)
class RuleOfFive:
    """E = number of broken rules, or +inf for more than one."""

    forbid: bool

    def __call__(self, mol: Chem.Mol) -> float:
        broken = violations(mol)
        return float(broken) if not self.forbid else math.inf if broken > 1 else 0.0


@preset("pains")
def Pains(forbid: bool = False) -> PerMolecule:
    """E = number of PAINS alerts, of 480 (Baell and Holloway 2010, doi 10.1021/jm901137j). About 8 ms a molecule.

    Args:
        forbid: a molecule with any alert is forbidden (E = +inf) instead.
    """
    return Alerts("PAINS", flag(forbid, "pains"))


@preset("brenk")
def Brenk(forbid: bool = False) -> PerMolecule:
    """E = number of alerts for unwanted groups, of 105 (Brenk et al. 2008, doi 10.1002/cmdc.200700139).

    Args:
        forbid: a molecule with any alert is forbidden (E = +inf) instead.
    """
    return Alerts("BRENK", flag(forbid, "brenk"))


@preset("lipinski")
def Lipinski(forbid: bool = False) -> PerMolecule:
    """E = number of Lipinski's rules that are broken, 0 … 4 (Lipinski et al. 1997, doi 10.1016/S0169-409X(96)00423-1).

    The rules: weight at most 500 g/mol, log P (Crippen's here) at most 5, at most 5 NH and OH, at most 10 N and O.

    Args:
        forbid: a molecule that breaks more than one is forbidden (E = +inf), as the rule of five allows one; the
            others have E = 0.
    """
    return RuleOfFive(flag(forbid, "lipinski"))
