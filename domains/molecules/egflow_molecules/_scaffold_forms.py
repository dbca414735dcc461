"""A scaffold with attachment points, read and checked, and the SMILES it can be written as."""

from __future__ import annotations

from rdkit import Chem

from egflow_molecules._rdkit import parse_smiles
from egflow_molecules.smiles import LENGTH, tokenise, unknown_tokens

_WRITINGS = 64  # random ones that are looked at, beside one from every atom


class Scaffold:
    """A part that molecules must hold, with attachment points where they may go on.

    Args:
        smiles: with ``*``, ``[*]`` or ``[*:1]`` for each attachment point, each bonded to one atom. Something heavier
            than hydrogen stands there in every molecule; elsewhere nothing is added.

    Attributes:
        smiles: as given.
        forms: writings of it as SMILES in which every attachment is a branch or the tail; the start never.

    Raises:
        TypeError: where it is no text.
        ValueError: for what is no molecule, is several, has no attachment point, one between atoms or no atom beside
            them, or holds tokens outside the alphabet (named) or more than `LENGTH`.

    >>> scaffold = Scaffold("[*:1]c1ccccc1")
    >>> "c1ccc(*)cc1" in scaffold.forms
    True
    >>> [scaffold.matches(Chem.MolFromSmiles(one)) for one in ("Cc1ccccc1", "c1ccccc1", "CC1CCCCC1")]
    [True, False, False]
    """

    def __init__(self, smiles: str) -> None:
        mol = parse_smiles(smiles, "molecules.scaffold")
        self.smiles = smiles
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
            if atom.GetAtomicNum() == 0:
                atom.SetIsotope(0)
        _check_points(mol, smiles)
        self.forms = tuple(_known(_writings(mol), smiles))
        asked = Chem.AdjustQueryParameters.NoAdjustments()
        asked.makeDummiesQueries = True
        self._query = Chem.AdjustQueryProperties(mol, asked)
        self._stereo = any(mark in text for mark in "@/\\" for text in self.forms)

    def matches(self, mol: Chem.Mol) -> bool:
        """Whether a molecule holds the scaffold, with any heavy atom at each attachment point."""
        return bool(mol.HasSubstructMatch(self._query, useChirality=self._stereo))

    def __repr__(self) -> str:
        return f"Scaffold({self.smiles!r})"


def _check_points(mol: Chem.Mol, smiles: str) -> None:
    """At least one attachment point, each of one bond, in one molecule that has an atom beside them."""
    said = f"molecules.scaffold is {smiles!r}, which"
    points = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    if not points:
        raise ValueError(f"{said} has no attachment point: write * where molecules may go on, as in 'c1ccc(*)cc1'")
    if len(Chem.GetMolFrags(mol)) > 1:
        raise ValueError(f"{said} is several molecules: give one, without '.'")
    if len(points) == mol.GetNumAtoms():
        raise ValueError(f"{said} has no atom beside its attachment points: give a part that molecules must hold")
    if any(atom.GetDegree() != 1 for atom in points):
        raise ValueError(f"{said} has an attachment point between atoms: bond each * to one atom, as in 'c1ccc(*)cc1'")


def _writings(mol: Chem.Mol) -> list[str]:
    """SMILES that do not begin with an attachment point: RDKit's own from every atom, and random ones."""
    places = [atom.GetIdx() for atom in mol.GetAtoms() if atom.GetAtomicNum()]
    rooted = [Chem.MolToSmiles(mol, rootedAtAtom=place) for place in places]
    drawn = [text for text in Chem.MolToRandomSmilesVect(mol, _WRITINGS, 1) if text[0] != "*"]
    return list(dict.fromkeys([*rooted, *drawn]))


def _known(forms: list[str], smiles: str) -> list[str]:
    """Those that the alphabet can write, and a row can hold. Raises ValueError where none is left."""
    unknown = {form: [token for token in unknown_tokens([form]) if token != "*"] for form in forms}
    known = [form for form in forms if not unknown[form]]
    if not known:
        named = ", ".join(repr(token) for token in unknown[forms[0]])
        raise ValueError(
            f"molecules.scaffold is {smiles!r}, and the alphabet of egflow_molecules has no {named}: give a scaffold "
            "without it"
        )
    fitting = [form for form in known if len(tokenise(form)) <= LENGTH]
    if not fitting:
        raise ValueError(
            f"molecules.scaffold is {smiles!r}, {len(tokenise(known[0]))} tokens long, and rows hold {LENGTH}: give a "
            "smaller scaffold"
        )
    return fitting
