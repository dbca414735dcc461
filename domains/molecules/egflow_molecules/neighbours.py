"""How new a molecule is: the nearest known one, by Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits).

    s(a, b) = |a ∧ b| / |a ∨ b|

Fingerprints are sparse (some 42 bits of 2,048 in a drug-like molecule). So the known ones are kept bit by bit, and what
a molecule shares with all of them is the sum of the few rows of its own bits: exact integers, one byte each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

from egflow_molecules._rdkit import mol_from_smiles, parse_smiles

_BITS = 2048
_BLOCK = 8_192  # the rows of one molecule's bits then fit the cache of a processor


class Nearest(NamedTuple):
    """The nearest known molecule of each of n: its place in the known set, and its similarity.

    Attributes:
        place: (n,) int64; −1 where there is no molecule.
        similarity: (n,) float64, 0 to 1; NaN where there is no molecule.
    """

    place: np.ndarray
    similarity: np.ndarray


class KnownMolecules:
    """Molecules to compare with, parsed once and kept as fingerprints (256 bytes each).

    Args:
        smiles: K of them, in any writing.

    Attributes:
        smiles: as given.
        canonical: the set of their canonical SMILES.

    Raises:
        ValueError: for an empty set, or naming the first that is no molecule.

    >>> from rdkit import Chem
    >>> known = KnownMolecules(["CCO", "OC(=O)c1ccccc1"])
    >>> known.nearest([Chem.MolFromSmiles("c1ccccc1C(O)=O"), None])
    Nearest(place=array([ 1, -1]), similarity=array([ 1., nan]))
    """

    def __init__(self, smiles: Iterable[str]) -> None:
        self.smiles = list(smiles)
        if not self.smiles:
            raise ValueError("no known molecules were given: there is nothing to compare with")
        canonical: set[str] = set()
        self._blocks: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(self.smiles), _BLOCK):
            bits = _fingerprints(self._parse(start, canonical))
            packed = np.packbits(np.ascontiguousarray(bits.T), axis=1)  # else numpy would lay out the result by columns
            self._blocks.append((packed, bits.sum(1, dtype=np.float32)))
        self.canonical = frozenset(canonical)

    def _parse(self, start: int, canonical: set[str]) -> Iterator[Chem.Mol]:
        """A block's molecules, one at a time: each takes a hundred times the room of its fingerprint."""
        for place, one in enumerate(self.smiles[start : start + _BLOCK], start):
            mol = mol_from_smiles(one) if isinstance(one, str) else None
            mol = parse_smiles(one, f"known molecule number {place}") if mol is None else mol  # raises, with the reason
            canonical.add(Chem.MolToSmiles(mol))
            yield mol

    def __len__(self) -> int:
        return len(self.smiles)

    def nearest(self, mols: Sequence[Chem.Mol | None]) -> Nearest:
        """The nearest known molecule of each one; of equally near ones the first."""
        place, similarity = np.full(len(mols), -1), np.full(len(mols), np.nan)
        asked = [i for i, mol in enumerate(mols) if mol is not None]
        own = [np.flatnonzero(row) for row in _fingerprints(mol for mol in mols if mol is not None)]
        for number, (packed, sizes) in enumerate(self._blocks):
            rows = np.unpackbits(packed, axis=1, count=len(sizes))
            for i, on in zip(asked, own, strict=True):
                shared = rows[on].sum(0, dtype=np.uint8 if len(on) < 256 else np.uint16)
                found = shared / (sizes + np.float32(len(on)) - shared)
                best = int(found.argmax())
                both = int(shared[best])
                value = both / (int(sizes[best]) + len(on) - both)
                if not value <= similarity[i]:  # NaN before the first block
                    place[i], similarity[i] = number * _BLOCK + best, value
        return Nearest(place, similarity)


def _fingerprints(mols: Iterable[Chem.Mol]) -> np.ndarray:
    """(n, 2048) uint8 of 0 and 1."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=_BITS)
    packed = b"".join(DataStructs.BitVectToBinaryText(generator.GetFingerprint(mol)) for mol in mols)
    return np.unpackbits(np.frombuffer(packed, np.uint8).reshape(-1, _BITS // 8), axis=1)
