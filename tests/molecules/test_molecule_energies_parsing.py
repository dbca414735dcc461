"""RDKit's parsers, silent, and with RDKit's reason where a text is no molecule."""

import pytest
from egflow_molecules import _rdkit
from egflow_molecules._rdkit import mol_from_smiles, parse_smarts, parse_smiles, quiet
from rdkit import Chem, rdBase

captures = pytest.mark.skipif(not hasattr(rdBase, "CaptureErrorLog"), reason="this RDKit cannot capture its log")


@pytest.mark.parametrize("text", ["C(", "c1ccc1(", "CC(C)(C)(C)C", "C1CC", "[Xx]", "c1cccc1", ""])
def test_what_is_no_molecule_is_none_and_silent(text: str, capfd: pytest.CaptureFixture[str]):
    assert mol_from_smiles(text) is None
    assert capfd.readouterr() == ("", "")


def test_a_molecule_is_sanitised():
    mol = mol_from_smiles("C1=CC=CC=C1O")
    assert mol is not None and Chem.MolToSmiles(mol) == "Oc1ccccc1"


@captures
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("C(", "syntax error around position 2"),
        ("C1CC", "unclosed ring"),
        ("CC(C)(C)(C)C", "Explicit valence for atom # 1 C, 5, is greater than permitted"),
        ("c1cccc1", "Can't kekulize mol.  Unkekulized atoms: 0 1 2 3 4"),
        ("", "give one SMILES without spaces"),
        ("CCO ethanol", "give one SMILES without spaces"),
        (" CCO", "give one SMILES without spaces"),
    ],
)
def test_rdkits_reason_in_one_line(text: str, reason: str, capfd: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError) as caught:
        parse_smiles(text, "smiles of tanimoto")
    assert str(caught.value) == f"smiles of tanimoto is {text!r}, which is no molecule: {reason}"
    assert capfd.readouterr() == ("", "")


def test_an_rdkit_that_cannot_capture_its_log_gives_the_chemistry(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_rdkit, "rdBase", type("OldRDKit", (), {"BlockLogs": _rdkit.rdBase.BlockLogs}))
    with pytest.raises(ValueError, match=r"Explicit valence for atom # 1 C, 5, is greater than permitted$"):
        parse_smiles("CC(C)(C)(C)C")
    with pytest.raises(ValueError, match=r"RDKit cannot parse it$"):
        parse_smiles("C(")


def test_patterns_and_what_is_no_text():
    assert parse_smarts("[#6]=O").GetNumAtoms() == 2
    with pytest.raises(ValueError, match=r"^it is '\[C', which is no pattern: "):
        parse_smarts("[C", "it")
    with pytest.raises(TypeError, match=r"^it is a list; give a SMARTS as text$"):
        parse_smarts(["C"], "it")


def test_the_log_comes_back_after_a_quiet_block(capfd: pytest.CaptureFixture[str]):
    with quiet():
        with quiet():
            Chem.MolFromSmiles("C(")
        Chem.MolFromSmiles("C(")
    assert capfd.readouterr().err == ""
    Chem.MolFromSmiles("C(")
    assert "SMILES Parse Error" in capfd.readouterr().err


@captures
def test_a_patterns_reason_in_one_line():
    with pytest.raises(ValueError, match=r"^it is 'C\[', which is no pattern: syntax error around position \d$"):
        parse_smarts("C[", "it")
