"""PMO tasks of several properties at once: a drug, with some of its properties changed.

Each function is a task's published score of one molecule, 0 … 1, high = good: a geometric mean of parts. `_tasks` says
which source it follows.
"""

from __future__ import annotations

from functools import cache

from rdkit import Chem
from rdkit.Chem.GraphDescriptors import BertzCT
from rdkit.Chem.rdMolDescriptors import CalcNumAromaticRings, CalcNumRings, CalcTPSA

from egflow_molecules._rdkit import parse_smiles
from egflow_molecules.energies._fingerprints import similarity
from egflow_molecules.energies._formula import atoms, isomer
from egflow_molecules.energies._modifiers import at_least, at_most, gaussian, geometric, up_to
from egflow_molecules.energies._properties import logp
from egflow_molecules.energies._structure import has

AMLODIPINE = r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC"
FEXOFENADINE = "CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4"
OSIMERTINIB = "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34"
PERINDOPRIL = "O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC"
RANOLAZINE = "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2"
SITAGLIPTIN = "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F"
VALSARTAN_CORE = "CN(C=O)Cc1ccc(c2ccccc2)cc1"
VALSARTAN_MODEL = "NC(CC(=O)N1CCn2c(nnc2C(F)(F)F)C1)Cc1cc(F)c(F)cc1F"
"""Sitagliptin as valsartan_smarts has it, whose Bertz complexity is the target."""
ZALEPLON = "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1"


@cache
def own(smiles: str) -> tuple[float, float, float]:
    """A drug's own log P, polar surface and Bertz complexity."""
    mol = parse_smiles(smiles)
    return logp(mol), CalcTPSA(mol), BertzCT(mol)


def osimertinib_mpo(mol: Chem.Mol) -> float:
    """Near osimertinib by FCFP4 but not by ECFP6, more polar (TPSA 100), less greasy (log P 1)."""
    return geometric(
        up_to(similarity(mol, OSIMERTINIB, "fcfp4"), 0.8),
        at_most(similarity(mol, OSIMERTINIB, "ecfp6"), 0.85, 0.1),
        at_least(CalcTPSA(mol), 100, 10),
        at_most(logp(mol), 1, 1),
    )


def fexofenadine_mpo(mol: Chem.Mol) -> float:
    """Near fexofenadine by atom pairs, more polar (TPSA 90), less greasy (log P 4)."""
    return geometric(
        up_to(similarity(mol, FEXOFENADINE, "ap"), 0.8),
        at_least(CalcTPSA(mol), 90, 10),
        at_most(logp(mol), 4, 1),
    )


def ranolazine_mpo(mol: Chem.Mol) -> float:
    """Near ranolazine by atom pairs, with log P 7, TPSA 95 and one fluorine."""
    return geometric(
        up_to(similarity(mol, RANOLAZINE, "ap"), 0.7),
        at_least(logp(mol), 7, 1),
        at_least(CalcTPSA(mol), 95, 20),
        gaussian(atoms(mol)["F"], 1, 1.0),
    )


def perindopril_mpo(mol: Chem.Mol) -> float:
    """Near perindopril by ECFP4, with two aromatic rings."""
    return geometric(similarity(mol, PERINDOPRIL, "ecfp4"), gaussian(CalcNumAromaticRings(mol), 2, 0.5))


def amlodipine_mpo(mol: Chem.Mol) -> float:
    """Near amlodipine by ECFP4, with three rings."""
    return geometric(similarity(mol, AMLODIPINE, "ecfp4"), gaussian(CalcNumRings(mol), 3, 0.5))


def sitagliptin_mpo(mol: Chem.Mol) -> float:
    """Unlike sitagliptin by ECFP4, but with its log P, TPSA and formula."""
    own_logp, own_tpsa, _ = own(SITAGLIPTIN)
    return geometric(
        gaussian(similarity(mol, SITAGLIPTIN, "ecfp4"), 0, 0.1),
        gaussian(logp(mol), own_logp, 0.2),
        gaussian(CalcTPSA(mol), own_tpsa, 5),
        isomer(mol, "C16H15F6N5O"),
    )


def zaleplon_mpo(mol: Chem.Mol) -> float:
    """Near zaleplon by ECFP4, with the formula C19H17N3O2."""
    return geometric(similarity(mol, ZALEPLON, "ecfp4"), isomer(mol, "C19H17N3O2"))


def valsartan_smarts(mol: Chem.Mol) -> float:
    """With valsartan's biphenylmethylamide, and sitagliptin's log P, TPSA and Bertz complexity."""
    if not has(mol, VALSARTAN_CORE):
        return 0.0
    own_logp, own_tpsa, own_bertz = own(VALSARTAN_MODEL)
    return geometric(
        1.0,
        gaussian(logp(mol), own_logp, 0.2),
        gaussian(CalcTPSA(mol), own_tpsa, 5),
        gaussian(BertzCT(mol), own_bertz, 30),
    )
