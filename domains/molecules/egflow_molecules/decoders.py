"""How a row of tokens becomes what an energy asks for with ``on=``, or what `Flow.decode` gives."""

from __future__ import annotations

from rdkit import Chem
from torch import Tensor

from egflow_molecules._rdkit import mol_from_smiles
from egflow_molecules.molecules import Molecules
from egflow_molecules.smiles import decode


def mols(x: Tensor) -> list[Chem.Mol | None]:
    """RDKit molecules of tokens (n, length); None where the SMILES is none."""
    return [mol_from_smiles(one) if one else None for one in decode(x)]


def valid_smiles(x: Tensor) -> list[str | None]:
    """SMILES as generated of tokens (n, length); None where it is no molecule."""
    return [one if one and mol_from_smiles(one) is not None else None for one in decode(x)]


def molecules(x: Tensor) -> Molecules:
    """What ``flow.decode(flow.sample(n))`` gives."""
    return Molecules(decode(x))


DECODERS = {"mol": mols, "smiles": valid_smiles}
