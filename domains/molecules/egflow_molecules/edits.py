"""Edits of molecules: what a search proposes beside the draws of its flow.

Two molecules are cut, each at a bond outside rings or at two bonds of a ring, and a part of the one joined to a part of
the other; some are then changed at an atom or a bond. Both are after the graph-based genetic algorithm of Jensen (2019,
doi 10.1039/c8sc05372c). A molecule is written as its canonical SMILES without stereo, as MOSES writes its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from rdkit import Chem
from torch import Tensor

from egflow_molecules._rdkit import mol_from_smiles, quiet
from egflow_molecules.smiles import LENGTH, decode, encode, tokenise, unknown_tokens

_RANK = 0.01  # parents are drawn ∝ 1 / (k·N + rank)
_MUTATED = 0.1  # of the children
_TRIES = 10  # of one child, and children tried for each that is wanted
_ELEMENTS = (6, 6, 6, 7, 7, 8, 8, 9, 16, 17, 35)
_SINGLE, _DOUBLE, _TRIPLE = Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE
_FEWEST = 4  # atoms


class MoleculeEditor:
    """`egflow.rounds.Editor` of molecules: what a row stands for is its canonical SMILES."""

    edits = True

    def keys(self, x: Tensor) -> list[str | None]:
        """Canonical SMILES of rows (n, length), None where one is no molecule."""
        mols = [mol_from_smiles(one) if one else None for one in decode(x)]
        return [None if mol is None else Chem.MolToSmiles(mol) for mol in mols]

    def edit(self, parents: Tensor, n: int, seed: int) -> Tensor:
        """Up to n new molecules from these, the first the likeliest; fewer where they seldom come out."""
        rng = random.Random(seed)
        mols = [mol for mol in map(mol_from_smiles, decode(parents)) if mol is not None]
        if not mols:
            return parents[:0]
        shares = [1 / (_RANK * len(mols) + rank) for rank in range(len(mols))]
        made: dict[str, None] = {}
        with quiet():
            for _ in range(_TRIES * n):
                if len(made) == n:
                    break
                one, other = rng.choices(mols, shares, k=2)
                child = crossover(one, other, rng)
                if child is not None and rng.random() < _MUTATED:
                    child = mutate(child, rng) or child
                text = None if child is None else _written(child)
                if text is not None:
                    made[text] = None
        return encode(list(made)) if made else parents[:0]


EDITOR = MoleculeEditor()


def crossover(one: Chem.Mol, other: Chem.Mol, rng: random.Random) -> Chem.Mol | None:
    """A part of each, joined; None where no cut of some tries gives a molecule."""
    for _ in range(_TRIES):
        cut = rng.choice((_cut_outside_rings, _cut_ring))
        parts = cut(one, rng), cut(other, rng)
        if parts[0] and parts[1]:
            child = _join(rng.choice(parts[0]), rng.choice(parts[1]), rng)
            if child is not None and child.GetNumAtoms() >= _FEWEST:
                return child
    return None


def mutate(mol: Chem.Mol, rng: random.Random) -> Chem.Mol | None:
    """The molecule with one atom or bond changed; None where no change of some tries gives a molecule."""
    for _ in range(_TRIES):
        changed = Chem.RWMol(mol)
        try:
            Chem.Kekulize(changed, clearAromaticFlags=True)
            if not rng.choice(_CHANGES)(changed, rng):
                continue
        except (ValueError, RuntimeError):  # RDKit's refusals
            continue
        for atom in changed.GetAtoms():
            atom.SetNoImplicit(False)
            atom.SetNumExplicitHs(0)
        whole = _checked(changed)
        if whole is not None and len(Chem.GetMolFrags(whole)) == 1:
            return whole
    return None


def _written(mol: Chem.Mol) -> str | None:
    """Its SMILES, None where the alphabet or a row does not hold it, or reading it again gives no molecule."""
    text = Chem.MolToSmiles(mol, isomericSmiles=False)
    if unknown_tokens([text]) or not 0 < len(tokenise(text)) <= LENGTH or mol_from_smiles(text) is None:
        return None
    return text


def _cut_outside_rings(mol: Chem.Mol, rng: random.Random) -> Sequence[Chem.Mol]:
    bonds = [bond.GetIdx() for bond in mol.GetBonds() if not bond.IsInRing() and bond.GetBondType() == _SINGLE]
    return Chem.GetMolFrags(_opened(mol, [rng.choice(bonds)]), asMols=True, sanitizeFrags=False) if bonds else ()


def _cut_ring(mol: Chem.Mol, rng: random.Random) -> Sequence[Chem.Mol]:
    """Both parts of a ring that is opened at two bonds."""
    info = mol.GetRingInfo()
    rings = info.BondRings()
    if not rings:
        return ()
    bonds = [
        bond
        for bond in rng.choice(rings)
        if info.NumBondRings(bond) == 1 and mol.GetBondWithIdx(bond).GetBondType() == _SINGLE
    ]
    if len(bonds) < 2:
        return ()
    parts = Chem.GetMolFrags(_opened(mol, rng.sample(bonds, 2)), asMols=True, sanitizeFrags=False)
    return parts if len(parts) == 2 else ()


def _opened(mol: Chem.Mol, bonds: list[int]) -> Chem.Mol:
    """Without these bonds; a dummy atom of isotope 1, 2, … stands at both ends of each."""
    return Chem.FragmentOnBonds(mol, bonds, dummyLabels=[(i + 1, i + 1) for i in range(len(bonds))])


def _join(one: Chem.Mol, other: Chem.Mol, rng: random.Random) -> Chem.Mol | None:
    """The two parts, bound where their dummy atoms were; None where these are not alike in number."""
    ends = [_ends(part) for part in (one, other)]
    if len(ends[0]) != len(ends[1]):
        return None
    rng.shuffle(ends[1])
    whole, shift = Chem.RWMol(Chem.CombineMols(one, other)), one.GetNumAtoms()
    for (_, at), (_, to) in zip(*ends, strict=True):
        if whole.GetBondBetweenAtoms(at, to + shift) is not None:
            return None
        whole.AddBond(at, to + shift, _SINGLE)
    dummies = [dummy for dummy, _ in ends[0]] + [dummy + shift for dummy, _ in ends[1]]
    for dummy in sorted(dummies, reverse=True):
        whole.RemoveAtom(dummy)
    return _checked(whole)


def _ends(part: Chem.Mol) -> list[tuple[int, int]]:
    """Dummy atoms, and the atom each is bound to."""
    return [(atom.GetIdx(), atom.GetNeighbors()[0].GetIdx()) for atom in part.GetAtoms() if atom.GetAtomicNum() == 0]


def _checked(mol: Chem.Mol) -> Chem.Mol | None:
    """The molecule if RDKit takes it."""
    try:
        whole = Chem.Mol(mol)
        Chem.SanitizeMol(whole)
        return whole
    except (ValueError, RuntimeError):
        return None


def _append(mol: Chem.RWMol, rng: random.Random) -> bool:
    at = rng.randrange(mol.GetNumAtoms())
    mol.AddBond(at, mol.AddAtom(Chem.Atom(rng.choice(_ELEMENTS))), rng.choice((_SINGLE, _SINGLE, _SINGLE, _DOUBLE)))
    return True


def _replace(mol: Chem.RWMol, rng: random.Random) -> bool:
    mol.ReplaceAtom(rng.randrange(mol.GetNumAtoms()), Chem.Atom(rng.choice(_ELEMENTS)))
    return True


def _delete(mol: Chem.RWMol, rng: random.Random) -> bool:
    """An atom at an end, or one between two others, which are bound then."""
    at = rng.randrange(mol.GetNumAtoms())
    near = [atom.GetIdx() for atom in mol.GetAtomWithIdx(at).GetNeighbors()]
    if len(near) > 2 or (len(near) == 2 and mol.GetBondBetweenAtoms(*near) is not None):
        return False
    if len(near) == 2:
        mol.AddBond(near[0], near[1], _SINGLE)
    mol.RemoveAtom(at)
    return True


def _insert(mol: Chem.RWMol, rng: random.Random) -> bool:
    bond = mol.GetBondWithIdx(rng.randrange(mol.GetNumBonds()))
    one, other = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
    mol.RemoveBond(one, other)
    between = mol.AddAtom(Chem.Atom(rng.choice(_ELEMENTS)))
    mol.AddBond(one, between, _SINGLE)
    mol.AddBond(between, other, _SINGLE)
    return True


def _reorder(mol: Chem.RWMol, rng: random.Random) -> bool:
    bond = mol.GetBondWithIdx(rng.randrange(mol.GetNumBonds()))
    bond.SetBondType(rng.choice((_SINGLE, _DOUBLE, _DOUBLE, _TRIPLE)))
    return True


def _close(mol: Chem.RWMol, rng: random.Random) -> bool:
    """A ring of 3 to 7."""
    at = rng.randrange(mol.GetNumAtoms())
    steps = Chem.GetDistanceMatrix(mol, force=True)[at]  # pyright: ignore[reportCallIssue]  its stub's
    far = [to for to in range(mol.GetNumAtoms()) if 2 <= steps[to] <= 6]
    if far:
        mol.AddBond(at, rng.choice(far), _SINGLE)
    return bool(far)


def _open(mol: Chem.RWMol, rng: random.Random) -> bool:
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds() if bond.IsInRing()]
    if bonds:
        mol.RemoveBond(*rng.choice(bonds))
    return bool(bonds)


_CHANGES: tuple[Callable[[Chem.RWMol, random.Random], bool], ...]
_CHANGES = (_append, _append, _replace, _delete, _insert, _reorder, _close, _open)
