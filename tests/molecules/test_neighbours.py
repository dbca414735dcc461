"""The nearest known molecule, against RDKit's own similarities of every pair."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from egflow_molecules import neighbours
from egflow_molecules.neighbours import KnownMolecules
from rdkit import Chem, DataStructs, RDConfig
from rdkit.Chem import rdFingerprintGenerator


@pytest.fixture(scope="module")
def smiles() -> list[str]:
    with open(Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi") as lines:
        texts = (line.split()[0] for line in lines)
        return list(islice((one for one in texts if Chem.MolFromSmiles(one)), 700))


def brute_force(asked: list[str], known: list[str]) -> np.ndarray:
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    a, b = ([generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in part] for part in (asked, known))
    return np.array([DataStructs.BulkTanimotoSimilarity(one, b) for one in a])


@pytest.mark.parametrize("block", [64, 600, 8192])
def test_against_every_pair(smiles: list[str], block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", block)
    asked, known = smiles[:100], smiles[100:] + smiles[:3]
    found = KnownMolecules(known).nearest([Chem.MolFromSmiles(one) for one in asked])
    every = brute_force(asked, known)
    np.testing.assert_array_equal(found.place, every.argmax(1))  # of equally near ones the first
    np.testing.assert_allclose(found.similarity, every.max(1), rtol=1e-15)
    assert (found.similarity[:3] == 1).all()


def test_a_molecule_of_more_bits_than_a_byte_counts(smiles: list[str]) -> None:
    large = ".".join(smiles[:60])
    (bits,) = neighbours._fingerprints([Chem.MolFromSmiles(large)])
    assert bits.sum() > 255
    found = KnownMolecules(["CCO", large, "c1ccccc1"]).nearest([Chem.MolFromSmiles(large)])
    assert found.place.tolist() == [1]
    assert found.similarity.tolist() == [1.0]


def test_what_is_no_molecule_has_no_neighbour() -> None:
    known = KnownMolecules(["OCC", "CCC"])
    found = known.nearest([None, Chem.MolFromSmiles("CCO"), None])
    assert found.place.tolist() == [-1, 0, -1]
    assert np.isnan(found.similarity).tolist() == [True, False, True]
    assert known.nearest([]).similarity.shape == (0,)
    assert len(known) == 2 and known.canonical == {"CCO", "CCC"}


def test_known_molecules_are_checked() -> None:
    with pytest.raises(ValueError, match="no known molecules were given"):
        KnownMolecules([])
    with pytest.raises(ValueError, match="known molecule number 1 is 'C1C', which is no molecule"):
        KnownMolecules(["CC", "C1C"])
    with pytest.raises(TypeError, match="known molecule number 0 is a float"):
        KnownMolecules([0.5])  # type: ignore[list-item]
