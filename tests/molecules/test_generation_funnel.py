"""The funnel against counts by hand, stage by stage."""

import json

import pytest
from egflow_molecules.funnel import generation_funnel
from egflow_molecules.molecules import Molecules
from egflow_molecules.neighbours import KnownMolecules
from rdkit import Chem

MADE = ["CCO", "OCC", "C(", "", "c1ccccc1", "C1=CC=CC=C1", "CCN", "CCCl", "[CH3][CH3]"]


def test_counts_and_shares() -> None:
    funnel = generation_funnel(MADE, known=["NCC", "C1=CC=CC=C1", "[CH4]"], passes=lambda mol: mol.GetNumAtoms() == 3)
    # different: CCO, c1ccccc1, CCN, CCCl, CC; new: CCO, CCCl, CC
    assert funnel.as_dict() == {
        "made": 9,
        "valid": 7,
        "unique": 5,
        "novel": 3,
        "passed": 2,
        "valid_share": 7 / 9,
        "unique_share": 5 / 7,
        "novel_share": 3 / 5,
        "passed_share": 2 / 3,
    }
    assert funnel.lines() == [
        "made   9",
        "valid  7    77.8% of made",
        "unique 5    71.4% of valid",
        "novel  3    60.0% of unique",
        "passed 2    66.7% of novel",
    ]


def test_a_set_parsed_before_gives_the_same() -> None:
    known = ["NCC", "C1=CC=CC=C1"]
    assert generation_funnel(Molecules(MADE), KnownMolecules(known)) == generation_funnel(MADE, known)


def test_stages_not_asked_for_are_none() -> None:
    funnel = generation_funnel(MADE)
    assert (funnel.unique, funnel.novel, funnel.passed) == (5, None, None)
    assert json.loads(json.dumps(funnel.as_dict()))["novel_share"] is None
    assert [line.split()[0] for line in funnel.lines()] == ["made", "valid", "unique"]
    filtered = generation_funnel(MADE, passes=lambda mol: mol.GetNumAtoms() == 3)
    assert (filtered.passed, filtered.as_dict()["passed_share"]) == (3, 3 / 5)
    assert filtered.lines()[-1].endswith("60.0% of unique")


def test_the_filter_sees_new_molecules_only_and_each_once() -> None:
    seen: list[str] = []
    generation_funnel(MADE, known=["CCO"], passes=lambda mol: bool(seen.append(Chem.MolToSmiles(mol))))
    assert seen == ["c1ccccc1", "CCN", "CCCl", "CC"]


def test_nothing_left() -> None:
    funnel = generation_funnel(["C(", "C(", "("], known=["C"], passes=lambda mol: True)
    assert (funnel.made, funnel.valid, funnel.unique, funnel.novel, funnel.passed) == (3, 0, 0, 0, 0)
    assert (funnel.as_dict()["valid_share"], funnel.as_dict()["unique_share"]) == (0.0, None)
    assert funnel.lines()[2] == "unique 0"


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="nothing was generated"):
        generation_funnel([])
    with pytest.raises(TypeError, match="give a list of SMILES"):
        generation_funnel("CCO")
    with pytest.raises(ValueError, match=r"known molecule number 0 is 'C\('"):
        generation_funnel(["C"], known=["C("])
