"""Edits of molecules: what comes out is a molecule, made of its parents, and a function of the seed."""

import random

import pytest
from egflow_molecules.edits import EDITOR, crossover, mutate
from egflow_molecules.real_sample import real_molecules
from egflow_molecules.smiles import decode, encode
from rdkit import Chem


def mol(smiles: str) -> Chem.Mol:
    found = Chem.MolFromSmiles(smiles)
    assert found is not None
    return found


def test_children_are_new_molecules_of_the_alphabet() -> None:
    parents = encode(real_molecules(100))
    made = EDITOR.edit(parents, 60, seed=3)
    assert made.equal(EDITOR.edit(parents, 60, seed=3)) and not made.equal(EDITOR.edit(parents, 60, seed=4))
    keys = EDITOR.keys(made)
    assert len(made) == 60 == len(set(keys)) and None not in keys
    assert keys == [Chem.MolToSmiles(mol(one)) for one in decode(made)]
    assert len(set(keys) - set(real_molecules(100))) > 50


def test_the_best_parents_are_the_likeliest() -> None:
    """Of two molecules of elements of their own, the first is in nearly all children: 1 / .02 against 1 / 1.02."""
    made = decode(EDITOR.edit(encode(["FCCCCCCF", "ClCCCCCCCl"]), 8, seed=0))
    assert sum("F" in one for one in made) > sum("Cl" in one for one in made)


def test_one_key_for_all_ways_to_write_a_molecule() -> None:
    assert EDITOR.keys(encode(["OCC", "C(O)C", "C1CC", "CCN"])) == ["CCO", "CCO", None, "CCN"]


def test_a_crossover_takes_a_part_of_each() -> None:
    rng = random.Random(0)
    made = [crossover(mol("FCCCCCF"), mol("ClCCCCCCl"), rng) for _ in range(30)]
    texts = [Chem.MolToSmiles(one) for one in made if one is not None]
    assert len(texts) > 20
    assert all("F" in one and "Cl" in one and "." not in one for one in texts)
    rings = [crossover(mol("C1CCCCC1F"), mol("C1CCNCC1Cl"), rng) for _ in range(60)]
    assert any(one is not None and one.GetRingInfo().NumRings() == 1 for one in rings)


@pytest.mark.parametrize("smiles", ["c1ccccc1CCO", "C1CC1C(=O)N", "Cc1c[nH]c2ccccc12", "CC"])
def test_a_mutation_changes_one_thing_and_leaves_one_molecule(smiles: str) -> None:
    parent, rng = mol(smiles), random.Random(1)
    made = [mutate(parent, rng) for _ in range(40)]
    whole = [one for one in made if one is not None]
    assert len(whole) > 20
    assert len({Chem.MolToSmiles(one) for one in whole}) > 5
    for one in whole:
        assert len(Chem.GetMolFrags(one)) == 1
        assert abs(one.GetNumAtoms() - parent.GetNumAtoms()) <= 1
        assert abs(one.GetNumBonds() - parent.GetNumBonds()) <= 1


def test_nothing_comes_of_nothing() -> None:
    assert len(EDITOR.edit(encode(["C1CC"]), 5, seed=0)) == 0
    assert len(EDITOR.edit(encode(["C"]), 5, seed=0)) == 0
