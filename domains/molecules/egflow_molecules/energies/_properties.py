"""Numeric properties of a molecule as energies, each with its direction in the arguments."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol

from rdkit import Chem, RDConfig
from rdkit.Chem import QED as qed_module
from rdkit.Chem import Descriptors, rdMolDescriptors

from egflow.energy import EnergyModel
from egflow_molecules.energies._direction import Direction, Range, direction
from egflow_molecules.energies._preset import PerMolecule, preset


@cache
def sascorer() -> ModuleType:
    """RDKit's Contrib/SA_Score/sascorer.py, which is no part of the rdkit package everywhere."""
    spec = importlib.util.spec_from_file_location(
        "egflow_molecules_sascorer", Path(RDConfig.RDContribDir) / "SA_Score" / "sascorer.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def logp(mol: Chem.Mol) -> float:
    """Crippen's log P."""
    return rdMolDescriptors.CalcCrippenDescriptors(mol)[0]


def weight(mol: Chem.Mol) -> float:
    """Average molecular weight, g/mol."""
    return Descriptors.MolWt(mol)  # pyright: ignore[reportAttributeAccessIssue]  # RDKit makes this name as it loads


def sa_score(mol: Chem.Mol) -> float:
    """Synthetic accessibility of Ertl and Schuffenhauer 2009 (doi 10.1186/1758-2946-1-8): 1 easy … 10 hard."""
    return sascorer().calculateScore(mol)


PROPERTIES: dict[str, Callable[[Chem.Mol], float]] = {
    "qed": qed_module.qed,
    "logp": logp,
    "sa": sa_score,
    "tpsa": rdMolDescriptors.CalcTPSA,
    "mw": weight,
    "hba": rdMolDescriptors.CalcNumHBA,
    "hbd": rdMolDescriptors.CalcNumHBD,
    "rotatable_bonds": rdMolDescriptors.CalcNumRotatableBonds,
    "rings": rdMolDescriptors.CalcNumRings,
    "fraction_sp3": rdMolDescriptors.CalcFractionCSP3,
}
"""Name -> the property of one molecule, in RDKit's own definition."""


@dataclass(frozen=True)
class PropertyEnergy:
    """E(molecule) = direction(property)."""

    name: str
    direction: Direction

    def __call__(self, mol: Chem.Mol) -> float:
        return self.direction(float(PROPERTIES[self.name](mol)))


class Property(Protocol):
    """The preset of a numeric property."""

    def __call__(
        self,
        *,
        target: float | None = None,
        minimise: bool = False,
        maximise: bool = False,
        range: Range | None = None,
        scale: float = 1.0,
    ) -> EnergyModel: ...


def numeric(name: str, meaning: str) -> Property:
    """The preset of one property."""

    def make(
        *,
        target: float | None = None,
        minimise: bool = False,
        maximise: bool = False,
        range: Range | None = None,
        scale: float = 1.0,
    ) -> PerMolecule:
        return PropertyEnergy(name, direction(name, target, minimise, maximise, range, scale))

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""{meaning}

    Exactly one direction is given. With v the property, the energy is

    ==================  ====================================================
    ``target=``         E = abs(v − target) / scale
    ``range=(lo, hi)``  E = distance of v from [lo, hi] / scale; None is open
    ``minimise=True``   E = v / scale
    ``maximise=True``   E = −v / scale
    ==================  ====================================================

    Args:
        scale: the step of the property that counts as one unit of energy.

    Raises:
        ValueError: for no direction or more than one, an empty range, a scale that is not above 0.
        TypeError: for an unknown argument, or a value that is no number.
    """
    return preset(name)(make)


QED = numeric("qed", "Quantitative estimate of drug-likeness, 0 … 1 (Bickerton et al. 2012, doi 10.1038/nchem.1243).")
LogP = numeric("logp", "Octanol–water log P, estimated (Wildman and Crippen 1999, doi 10.1021/ci990307l).")
SA = numeric("sa", "Synthetic accessibility, 1 easy … 10 hard (Ertl, Schuffenhauer 2009, doi 10.1186/1758-2946-1-8).")
TPSA = numeric("tpsa", "Topological polar surface area in Å², of N and O (Ertl et al. 2000, doi 10.1021/jm000942e).")
MW = numeric("mw", "Average molecular weight in g/mol, with all hydrogens.")
HBA = numeric("hba", "Number of hydrogen-bond acceptors, by RDKit's patterns.")
HBD = numeric("hbd", "Number of hydrogen-bond donors, by RDKit's patterns.")
RotatableBonds = numeric("rotatable_bonds", "Number of rotatable bonds, amides left out (RDKit's strict pattern).")
Rings = numeric("rings", "Number of rings (smallest set of smallest rings).")
FractionSP3 = numeric("fraction_sp3", "Share of carbons that are sp3, 0 … 1; 0 without carbon.")
