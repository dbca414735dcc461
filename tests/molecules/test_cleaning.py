"""The funnel adds up, and its reasons are right; salts, mixtures, blocks, workers; and the molecules that ship."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from egflow_molecules import cleaning, real_sample
from egflow_molecules.cleaning import CHANGES, REASONS, Cleaned, Funnel, clean, main_fragment
from egflow_molecules.files import Record, nci, read
from egflow_molecules.real_sample import build, real_molecules
from egflow_molecules.smiles import LENGTH, decode, encode
from rdkit import Chem


def of(texts: Iterable[str], **options: object) -> Cleaned:
    records = [Record(text, f"line {i + 1}") for i, text in enumerate(texts)]
    cleaned = clean(records, at_least=0, **options)  # type: ignore[arg-type]
    assert cleaned.funnel.read == len(records)
    adds_up(cleaned)
    return cleaned


def adds_up(cleaned: Cleaned) -> None:
    funnel = cleaned.funnel
    assert funnel.read == funnel.kept + sum(funnel.dropped.values())
    assert funnel.kept == len(cleaned.smiles) == len(set(cleaned.smiles))
    assert tuple(funnel.dropped) == REASONS and tuple(funnel.changed) == CHANGES
    assert all(len(funnel.examples[reason]) == min(3, funnel.dropped[reason]) for reason in funnel.examples)


def fate(text: str, **options: object) -> str:
    """What became of one text: its SMILES, or the reason in brackets."""
    cleaned = of([text], **options)
    return cleaned.smiles[0] if cleaned.smiles else f"<{next(r for r, n in cleaned.funnel.dropped.items() if n)}>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("OCC", "CCO"),
        ("OCC some name", "CCO"),
        ("C1=CC=CC=C1", "c1ccccc1"),
        ("N[C@@H](C)C(=O)O", "C[C@H](N)C(=O)O"),
        ("F/C=C/Cl", "F/C=C/Cl"),
        ("CC(=O)[O-]", "CC(=O)[O-]"),
        ("[CH3:1][OH:2]", "CO"),
        ("[2H]C", "<outside the alphabet>"),
        ("[13CH4]", "<outside the alphabet>"),
        ("*CC", "<outside the alphabet>"),
        ("C(", "<unreadable>"),
        ("smiles", "<unreadable>"),
        ("CC>>CO", "<unreadable>"),
        ("C(C)(C)(C)(C)C", "<unreadable>"),
        ("CCO |bad", "<unreadable>"),
        ("", "<empty>"),
        ("  ", "<empty>"),
        ("C" * (LENGTH + 1), "<too long>"),
        ("C" * LENGTH, "C" * LENGTH),
        # salts, hydrates and solvates
        ("[Na+].CC(=O)Nc1ccc([O-])cc1", "CC(=O)Nc1ccc([O-])cc1"),
        ("CC(=O)Nc1ccc(O)cc1.Cl.Cl.O", "CC(=O)Nc1ccc(O)cc1"),
        ("CCN.CCN.OS(=O)(=O)O", "CCN"),
        ("CN.OC(=O)/C=C/C(=O)[O-]", "CN"),
        ("CC(=O)[O-].[Na+]", "CC(=O)[O-]"),
        ("CCCCCCCCN.C#C", "CCCCCCCCN"),
        ("CC(=O)Nc1ccc(O)cc1.CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "<mixture>"),
        ("C[C@H](N)CCO.C[C@@H](N)CCO", "<mixture>"),
        ("CCCN.CC#C", "<mixture>"),
    ],
)
def test_what_becomes_of_it(text: str, expected: str) -> None:
    assert fate(text) == expected


def test_length_is_the_callers() -> None:
    assert fate("CCO", length=2) == "<too long>" and fate("CCO", length=3) == "CCO"
    with pytest.raises(ValueError, match="length is 0"):
        clean([], length=0)


def test_one_of_each_adds_up() -> None:
    texts = ["CCO", "OCC", "C(O)C", "C(", "", "CC(C)CO.Cl", "*CC", "*CO", "[2H]N*", "C" * 120, "[CH3:1]N"]
    cleaned = of([*texts, "CC(=O)Nc1ccccc1.CCOc1ccccc1"])
    assert cleaned.smiles == ["CCO", "CC(C)CO", "CN"]
    funnel = cleaned.funnel
    assert list(funnel.dropped.items()) == list(zip(REASONS, (1, 1, 0, 1, 1, 3, 2), strict=True))
    assert funnel.changed == {"salt stripped": 1, "atom map removed": 1}
    assert funnel.tokens == {"*": 3, "[2H]": 1}
    assert funnel.examples["unreadable"][0].startswith("line 4: 'C(' (")
    assert funnel.examples["duplicate"][0] == "line 2: 'OCC' (CCO again)"
    assert funnel.line() == (
        "12 read, 3 kept; dropped: 1 empty, 1 unreadable, 1 mixture, 1 too long, 3 outside the alphabet, 2 duplicate"
    )
    assert "\n".join(funnel.lines()[-3:]) == (
        "outside the alphabet −3  * 3, [2H] 1\n"
        "duplicate            −2  line 2: 'OCC' (CCO again)\n"
        "kept                  3  1 salt stripped, 1 atom map removed"
    )
    assert json.loads(json.dumps(funnel.as_dict()))["dropped"]["duplicate"] == 2


def test_an_empty_funnel() -> None:
    assert Funnel().lines() == ["read 0", "kept 0"] and Funnel().line() == "0 read, 0 kept"


def test_examples_are_few_and_short() -> None:
    funnel = of(["C(" + "C" * 1_000] * 10).funnel
    assert len(funnel.examples["unreadable"]) == 3
    assert all(len(line) < 250 and "\n" not in line for line in funnel.examples["unreadable"])


def test_the_fragment_does_not_depend_on_the_order() -> None:
    parts = ["CN", "Cl", "OC(=O)CC(O)(CC(O)=O)C(O)=O", "O"]
    for turn in range(4):
        mol = Chem.MolFromSmiles(".".join(parts[turn:] + parts[:turn]))
        assert Chem.MolToSmiles(main_fragment(mol)) == "CN"


@pytest.mark.parametrize(
    "text",
    ["NCC(=O)" * 20_000, "c1ccccc1" * 50_000, "C1" * 20_000, "(" * 30_000, ".".join(["CCO"] * 20_000), "C=" * 900],
)
def test_the_huge_do_not_hang(text: str) -> None:
    started = time.monotonic()
    assert fate(text) in ("<too long>", "<unreadable>")
    assert time.monotonic() - started < 2


def block(smiles: str) -> str:
    return Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))


def test_blocks(tmp_path: Path) -> None:
    valence = Chem.MolToMolBlock(Chem.MolFromSmiles("CN(C)(C)(C)C", sanitize=False))
    nothing = "\n\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n"
    v3000 = Chem.MolToV3KMolBlock(Chem.MolFromSmiles("C[C@H](N)C(=O)O"))
    huge = "\n\n\n" + "line\n" * 3_000
    blocks = [block("OCC"), valence, "x\n\n\nno counts\n", block("CCO"), nothing, "\n", v3000, huge]
    blocks += [block("CC(=O)Nc1ccccc1.Cl"), block("CCO").replace(" C ", " Xx "), block("[2H]CC")]
    (tmp_path / "a.sdf").write_text("$$$$\n".join(blocks))
    cleaned = clean(read(tmp_path / "a.sdf"), at_least=0)
    adds_up(cleaned)
    assert cleaned.smiles == ["CCO", "C[C@H](N)C(=O)O", "CC(=O)Nc1ccccc1"]
    assert list(cleaned.funnel.dropped.values()) == [1, 3, 1, 0, 1, 1, 1]
    reasons = cleaned.funnel.examples["unreadable"]  # the words are RDKit's, and may change
    for reason, number, word in zip(reasons, (2, 3, 10), ("valence", "line", "Element 'Xx' not found"), strict=True):
        assert reason.startswith(f"record {number}: a mol block (") and word in reason and "\n" not in reason


def test_faults_of_the_file_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('smiles,x\nCCO,1\n"C" C,2\nCCN,3\n')
    cleaned = clean(read(tmp_path / "a.csv"), at_least=0)
    assert cleaned.smiles == ["CCO", "CCN"] and cleaned.funnel.dropped["unreadable"] == 1
    assert cleaned.funnel.examples["unreadable"][0].startswith("line 3 (csv: ")


def test_nothing_of_rdkit_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    of(["C(", "C(C)(C)(C)(C)C", "CC>>C", "c1cccc1", "[Na+].CCN", "CCO |bad"])
    clean([Record("x\n\n\nno counts\n", "record 1", block=True)], at_least=0)
    assert capfd.readouterr() == ("", "")


def test_no_molecule_and_too_few() -> None:
    bad = [Record("foo", "line 1"), Record("bar", "line 2"), Record("", "line 3")]
    with pytest.raises(ValueError) as caught:
        clean(bad, what="data=a.smi")
    message = str(caught.value)
    assert message.startswith("data=a.smi: no molecule can be used: 3 read, 0 kept; dropped: 1 empty, 2 unreadable (")
    assert "(first unreadable: line 1: 'foo' (" in message and message.endswith("a file of SMILES or an SD file?")
    few = [Record("C" * n, f"line {n}") for n in range(1, 20)]
    with pytest.raises(ValueError, match="too few molecules: 19 read, 19 kept; at least 20 are needed"):
        clean(few)
    assert len(clean([*few, Record("CO", "line 20")]).smiles) == 20
    with pytest.raises(ValueError, match="no molecule can be used: 0 read, 0 kept"):
        clean([])


def test_records_are_read_as_they_are_needed() -> None:
    seen: list[int] = []
    given = 0

    def endless() -> Iterable[Record]:
        nonlocal given
        while True:
            given += 1
            yield Record("CCO", "line")

    def stop(done: int) -> None:
        seen.append(done)
        if done >= 3_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean(endless(), progress=stop)
    assert seen == [1_000, 2_000, 3_000] and given == 3_000


@pytest.fixture(scope="module")
def cleaned_nci() -> Cleaned:
    return clean(read(nci()))


def test_nci_adds_up_and_is_written_as_tokens(cleaned_nci: Cleaned) -> None:
    adds_up(cleaned_nci)
    assert cleaned_nci.funnel.read == 4_999 and cleaned_nci.funnel.kept > 4_500
    assert decode(encode(cleaned_nci.smiles)) == cleaned_nci.smiles
    assert [Chem.MolToSmiles(Chem.MolFromSmiles(one)) for one in cleaned_nci.smiles] == cleaned_nci.smiles


@pytest.mark.slow
def test_workers_give_the_same_and_leave_none_behind(cleaned_nci: Cleaned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "_ALONE", 1)
    monkeypatch.setattr(cleaning, "_CHUNK", 300)
    done: list[int] = []
    assert clean(read(nci()), workers=2, progress=done.append) == cleaned_nci
    assert done == [*range(300, 4_999, 300), 4_999]

    def interrupt(done: int) -> None:
        if done >= 900:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean(read(nci()), workers=2, progress=interrupt)
    assert not multiprocessing.active_children()


def test_the_molecules_that_ship() -> None:
    molecules = real_molecules()
    assert len(molecules) == len(set(molecules)) == 485_000
    assert real_molecules(1_000) == molecules[:1_000] != sorted(molecules)[:1_000]
    few = real_molecules(2_000)
    assert decode(encode(few)) == few
    assert [Chem.MolToSmiles(Chem.MolFromSmiles(one)) for one in few] == few
    assert sum(map(len, few)) / 2_000 == pytest.approx(sum(map(len, molecules)) / 485_000, abs=0.5)
    assert (Path(real_sample.__file__).parent / "real" / real_sample.FILE).stat().st_size <= real_sample.LARGEST
    molecules.clear()
    assert real_molecules(1) == few[:1]
    for n in (0, 485_001):
        with pytest.raises(ValueError, match="485,000 real molecules ship"):
            real_molecules(n)


def test_a_sample_that_fits(tmp_path: Path) -> None:
    molecules = real_molecules(1_500)
    n = build(molecules, tmp_path / "a.txt.xz", largest=6_000, step=100)
    assert 500 < n < 1_500 and n % 100 == 0
    assert (tmp_path / "a.txt.xz").stat().st_size <= 6_000 < len(real_sample._packed(molecules[: n + 300]))
    assert build(molecules, tmp_path / "b.txt.xz", step=500) == 1_500
    assert build(molecules[::-1], tmp_path / "c.txt.xz", largest=6_000, step=100) == n
    assert (tmp_path / "a.txt.xz").read_bytes() == (tmp_path / "c.txt.xz").read_bytes()
    with pytest.raises(ValueError, match="not even 100 of 1,500 molecules fit into 10 bytes"):
        build(molecules, tmp_path / "d.txt.xz", largest=10, step=100)
