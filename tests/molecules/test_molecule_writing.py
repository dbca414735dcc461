"""Tables and SD files, read again by csv and by RDKit."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from egflow_molecules.energies._properties import PROPERTIES
from egflow_molecules.properties import properties, property_columns
from egflow_molecules.writing import write_csv, write_sdf
from rdkit import Chem, RDLogger
from rdkit.Chem import QED, Crippen

ASPIRIN, ALANINE, BENT = "CC(=O)Oc1ccccc1C(=O)O", "C[C@H](N)C(=O)O", "C1#CC#CC#C1"  # no conformer of the last is found


def read_table(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_sdf(file: Path) -> list[Chem.Mol]:
    return list(Chem.SDMolSupplier(str(file), removeHs=False))


def mols(*smiles: str) -> list[Chem.Mol | None]:
    RDLogger.DisableLog("rdApp.error")
    found = [Chem.MolFromSmiles(one) for one in smiles]
    RDLogger.EnableLog("rdApp.error")
    return found


def test_a_table_is_read_as_it_was_given(tmp_path: Path) -> None:
    smiles = [ASPIRIN, "C(", "CCO"]
    columns = {
        "score": [0.123456789, math.nan, np.float32(-1e-7)],
        "rings": [1, None, np.int64(1_234_567)],
        "nearest, known": ['O=C(O)"c", β', "", "two\nlines"],
        "log_likelihood": [-math.inf, 0.0, 1.0],
    }
    rows = read_table(write_csv(tmp_path / "samples.csv", smiles, columns))
    assert list(rows[0]) == ["SMILES", *columns]
    assert [row["SMILES"] for row in rows] == smiles
    assert [row["score"] for row in rows] == ["0.123457", "", "-1e-07"]
    assert [row["rings"] for row in rows] == ["1", "", "1234567"]
    assert [row["nearest, known"] for row in rows] == columns["nearest, known"]
    assert [float(row["log_likelihood"]) for row in rows] == columns["log_likelihood"]
    assert (tmp_path / "samples.csv").read_bytes().startswith(b'SMILES,score,rings,"nearest, known",log_likelihood\r\n')


def test_an_empty_table_has_its_header(tmp_path: Path) -> None:
    assert write_csv(tmp_path / "samples.csv", [], {"score": []}).read_text() == "SMILES,score\n"


@pytest.mark.parametrize(
    ("columns", "error", "says"),
    [
        ({"score": [1.0]}, ValueError, "'score' has 1 values for 2 molecules"),
        ({"SMILES": ["C", "C"]}, ValueError, "named SMILES"),
        ({"score": [1.0, [2.0]]}, TypeError, r"'score' holds \[2.0\], a list"),
    ],
)
def test_wrong_columns_are_named_and_nothing_is_written(tmp_path: Path, columns, error, says) -> None:
    with pytest.raises(error, match=says):
        write_csv(tmp_path / "samples.csv", ["CC", "CO"], columns)
    with pytest.raises(error, match=says):
        write_sdf(tmp_path / "samples.sdf", mols("CC", "CO"), columns)
    assert not list(tmp_path.iterdir())


def test_three_dimensions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    given = mols(ASPIRIN, "C(", ALANINE, BENT)
    columns = {"score": [0.5, 9.0, math.nan, 2.0], "a name": ["one\n\ntwo", "", "β", "x"]}
    assert write_sdf(tmp_path / "a.sdf", given, columns) == 1
    aspirin, alanine, bent = read_sdf(tmp_path / "a.sdf")
    for mol, smiles in ((aspirin, ASPIRIN), (alanine, ALANINE)):
        assert mol.GetConformer().Is3D() and np.ptp(mol.GetConformer().GetPositions()[:, 2]) > 0.5
        assert mol.GetNumAtoms() == Chem.AddHs(Chem.MolFromSmiles(smiles)).GetNumAtoms()
        Chem.AssignStereochemistryFrom3D(mol)
        assert Chem.MolToSmiles(Chem.RemoveHs(mol)) == Chem.CanonSmiles(smiles)
    assert not bent.GetConformer().Is3D() and Chem.MolToSmiles(bent) == Chem.CanonSmiles(BENT)
    assert aspirin.GetPropsAsDict() == {"SMILES": Chem.CanonSmiles(ASPIRIN), "score": 0.5, "a name": "one two"}
    assert alanine.GetPropsAsDict() == {"SMILES": Chem.CanonSmiles(ALANINE), "a name": "β"}
    assert given[0].GetNumConformers() == 0 and not given[0].HasProp("score")
    assert capfd.readouterr() == ("", "")


def test_the_seed_fixes_the_conformers(tmp_path: Path) -> None:
    given = mols(ASPIRIN, ALANINE)
    texts = []
    for name, options in (("a", {}), ("b", {}), ("c", {"seed": 1}), ("d", {"optimise": True})):
        assert write_sdf(tmp_path / name, given, {}, **options) == 0
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_a_long_chain_finds_its_conformer(tmp_path: Path) -> None:
    """From random coordinates, where the usual ones fail."""
    assert write_sdf(tmp_path / "a.sdf", mols("C" * 45), {}) == 0


def test_two_dimensions(tmp_path: Path) -> None:
    assert write_sdf(tmp_path / "a.sdf", mols(ALANINE, BENT), {}, three_d=False) == 0
    for mol, smiles in zip(read_sdf(tmp_path / "a.sdf"), (ALANINE, BENT), strict=True):
        assert not mol.GetConformer().Is3D() and not mol.GetConformer().GetPositions()[:, 2].any()
        assert Chem.MolToSmiles(mol) == Chem.CanonSmiles(smiles)


def test_no_valid_molecule_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of the 2 molecules is valid"):
        write_sdf(tmp_path / "a.sdf", [None, None], {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("smiles", [ASPIRIN, ALANINE, "C", "[Na+].[Cl-]", "CC(C)(C)OC(=O)N1CCC(n2cc(-c3ccncc3)nn2)CC1"])
def test_properties_are_what_the_energies_of_the_same_names_see(smiles: str) -> None:
    mol = Chem.MolFromSmiles(smiles)
    found = properties(mol)
    assert found == pytest.approx({name: value(mol) for name, value in PROPERTIES.items()}, rel=1e-12)
    assert found["qed"] == pytest.approx(QED.qed(mol)) and found["logp"] == pytest.approx(Crippen.MolLogP(mol))


def test_property_columns_hold_nan_where_there_is_no_molecule() -> None:
    columns = property_columns(mols("CCCCO", "C("))
    assert list(columns) == list(PROPERTIES)
    assert all(len(values) == 2 and math.isnan(values[1]) and values[0] >= 0 for values in columns.values())
