"""PMO tasks of likeness: rediscover a drug, stay near one, lie between two, match a formula, hop a scaffold.

Each function is a task's published score of one molecule, 0 … 1, high = good; `_tasks` says which source it follows.
"""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import QED

from egflow_molecules.energies._fingerprints import similarity
from egflow_molecules.energies._formula import isomer
from egflow_molecules.energies._modifiers import arithmetic, geometric, up_to
from egflow_molecules.energies._structure import has

ALBUTEROL = "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"
CAMPHOR = "CC1(C)C2CCC1(C)C(=O)C2"
CELECOXIB = "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F"
HOP_PARENT = "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C"
MENTHOL = "CC(C)C1CCC(C)CC1O"
MESTRANOL = "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1"
SILDENAFIL = "CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C"
TADALAFIL = "O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C"
THIOTHIXENE = "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1"
TROGLITAZONE = "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O"

QUINAZOLINE = "[#7]-c1n[c;h1]nc2[c;h1]c(-[#8])[c;h0][c;h1]c12"  # the scaffold of the hops, with its decorations' places
BENZOTHIAZOLE = "[#7]-c1ccc2ncsc2c1"
SULFONE = "CS([#6])(=O)=O"
CHAIN_TO_BENZOTHIAZOLE = "[#6]-[#6]-[#6]-[#8]-[#6]~[#6]~[#6]~[#6]~[#6]-[#7]-c1ccc2ncsc2c1"


def celecoxib_rediscovery(mol: Chem.Mol) -> float:
    """ECFP4 similarity to celecoxib."""
    return similarity(mol, CELECOXIB, "ecfp4")


def troglitazone_rediscovery(mol: Chem.Mol) -> float:
    """ECFP4 similarity to troglitazone."""
    return similarity(mol, TROGLITAZONE, "ecfp4")


def thiothixene_rediscovery(mol: Chem.Mol) -> float:
    """ECFP4 similarity to thiothixene."""
    return similarity(mol, THIOTHIXENE, "ecfp4")


def albuterol_similarity(mol: Chem.Mol) -> float:
    """FCFP4 similarity to albuterol, as good as 1 from .75 on."""
    return up_to(similarity(mol, ALBUTEROL, "fcfp4"), 0.75)


def mestranol_similarity(mol: Chem.Mol) -> float:
    """Atom-pair similarity to mestranol, as good as 1 from .75 on."""
    return up_to(similarity(mol, MESTRANOL, "ap"), 0.75)


def median1(mol: Chem.Mol) -> float:
    """Between camphor and menthol: the geometric mean of both ECFP4 similarities."""
    return geometric(similarity(mol, CAMPHOR, "ecfp4"), similarity(mol, MENTHOL, "ecfp4"))


def median2(mol: Chem.Mol) -> float:
    """Between tadalafil and sildenafil: the geometric mean of both ECFP6 similarities."""
    return geometric(similarity(mol, TADALAFIL, "ecfp6"), similarity(mol, SILDENAFIL, "ecfp6"))


def isomers_c7h8n2o2(mol: Chem.Mol) -> float:
    """Nearness to the formula C7H8N2O2."""
    return isomer(mol, "C7H8N2O2")


def isomers_c9h10n2o2pf2cl(mol: Chem.Mol) -> float:
    """Nearness to the formula C9H10N2O2PF2Cl."""
    return isomer(mol, "C9H10N2O2PF2Cl")


def deco_hop(mol: Chem.Mol) -> float:
    """Keep the scaffold and the pharmacophore, change both decorations. About 40 ms a molecule."""
    return arithmetic(
        up_to(similarity(mol, HOP_PARENT, "phco"), 0.85),
        not has(mol, SULFONE),
        not has(mol, BENZOTHIAZOLE),
        has(mol, QUINAZOLINE),
    )


def scaffold_hop(mol: Chem.Mol) -> float:
    """Keep the decoration and the pharmacophore, change the scaffold. About 40 ms a molecule."""
    return arithmetic(
        up_to(similarity(mol, HOP_PARENT, "phco"), 0.75),
        has(mol, CHAIN_TO_BENZOTHIAZOLE),
        not has(mol, QUINAZOLINE),
    )


def qed(mol: Chem.Mol) -> float:
    """Quantitative estimate of drug-likeness."""
    return QED.qed(mol)
