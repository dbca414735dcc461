"""Users' files: what is a header, a column, a record; and one clear error for what is no file of molecules."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from egflow_molecules import files
from egflow_molecules.files import nci, read
from rdkit import Chem

Write = Callable[[str, "str | bytes"], Path]
MORE = ["CCO", "c1ccccc1", "CC(=O)O", "CCN"]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: str | bytes) -> Path:
        raw = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return tmp_path / name

    return make


def texts(file: Path, column: str | int | None = None) -> list[str]:
    return [record.text for record in read(file, column)]


def table(*rows: str, end: str = "\n") -> str:
    return end.join(rows) + end


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.smi", table(*MORE)),
        ("named.smi", table("CCO ethyl alcohol", "c1ccccc1 benzene", "CC(=O)O acetic acid, glacial", "CCN 4")),
        ("tabs.smi", table("CCO\tC", "c1ccccc1\tbenzene", "CC(=O)O\tN", "CCN\tO")),
        ("header.smi", table("SMILES Name", "CCO ethanol", "c1ccccc1 benzene", "CC(=O)O acid", "CCN amine")),
        ("header.csv", table("SMILES", *MORE)),
        ("case.csv", table("id,Canonical_Smiles", "C1,CCO", "C2,c1ccccc1", "C3,CC(=O)O", "C4,CCN")),
        ("two.csv", table("scaffold smiles,smiles", "C,CCO", "C,c1ccccc1", "C,CC(=O)O", "C,CCN")),
        ("structure.csv", table("Structure,Class", "CCO,C", "c1ccccc1,N", "CC(=O)O,C", "CCN,C")),
        ("unknown.csv", table("Compound", *MORE)),
        ("quoted.csv", table('"name","smiles"', *(f'"a, b","{one}"' for one in MORE))),
        ("semicolon.csv", table("logp;smiles", *(f"1,5;{one}" for one in MORE))),
        ("tab.txt", table("name\tsmiles", *(f"some name\t{one}" for one in MORE))),
        ("bare.csv", table(*(f"{i},{one},x" for i, one in enumerate(MORE)))),
        ("bom.csv", table("\ufeffsmiles,x", *(f"{one},1" for one in MORE))),
        ("windows.csv", table("smiles,x", *(f"{one},1" for one in MORE), end="\r\n")),
        ("mac.txt", table(*MORE, end="\r")),
        ("packed.smi.gz", table(*MORE)),
        ("packed.csv.gz", table("smiles", *MORE)),
        ("UPPER.SMI", table(*MORE)),
        ("gaps.smi", table("# made by hand", "", "CCO", "", "c1ccccc1", "# more", "CC(=O)O", "   ", "CCN", "")),
        ("ambiguous.csv", table("CN,value", *(f"{one},{i}.5" for i, one in enumerate(MORE)))),
        ("no.csv", table("NO,s", *(f"{i},{one}" for i, one in enumerate(MORE)))),
        ("lines.csv", table("about,smiles", '"first', 'second",CCO', *(f"x,{one}" for one in MORE[1:]))),
    ],
)
def test_the_four_molecules_are_found(write: Write, name: str, content: str) -> None:
    assert texts(write(name, content)) == MORE


def test_the_end_of_the_last_line_is_optional(write: Write) -> None:
    assert texts(write("a.smi", "CCO\nCCN")) == ["CCO", "CCN"]


def test_a_broken_first_molecule_is_no_header(write: Write) -> None:
    assert texts(write("a.smi", table("CC(=O", *MORE))) == ["CC(=O", *MORE]


def test_extensions_stay_with_their_smiles(write: Write) -> None:
    assert texts(write("a.csv", table("smiles,x", '"CCO |^1:0,1|",1', "CCN,2"))) == ["CCO |^1:0,1|", "CCN"]


def test_where(write: Write) -> None:
    found = list(read(write("a.csv", table("# note", "smiles,x", "CCO,1", "", 'CCN,"two', 'lines"'))))
    assert [(record.text, record.where) for record in found] == [("CCO", "line 3"), ("CCN", "line 6")]


def test_short_rows_are_empty_records(write: Write) -> None:
    assert texts(write("a.csv", table("x,smiles", "1,CCO", "2", "3,", "4,CCN"))) == ["CCO", "", "", "CCN"]


def test_a_bad_row_costs_itself_alone(write: Write) -> None:
    rows = ["smiles,x", "CCO,1", '"C" C,2', "CCN,3", f'"{"C" * 200_000}",4', "CN,5"]
    found = list(read(write("a.csv", table(*rows))))
    assert [record.text for record in found] == ["CCO", "", "CCN", "", "CN"]
    assert [bool(record.fault) for record in found] == [False, True, False, True, False]
    assert "field limit" in found[3].fault


def test_an_open_quote_is_told(write: Write) -> None:
    *_, last = read(write("a.csv", table("smiles,x", "CCO,1", 'CCN,"2', "CN,3")))
    assert last.fault and last.where == "lines 3 to 4"


def test_several_columns_are_an_error_that_a_column_puts_right(write: Write) -> None:
    file = write("a.csv", table("educt,product", "CCO,CC=O", "CCCO,CCC=O"))
    with pytest.raises(ValueError, match=r"educt \(CCO\), product \(CC=O\).*molecules\.column=NAME"):
        read(file)
    assert texts(file, "Product") == texts(file, 2) == texts(file, "2") == ["CC=O", "CCC=O"]
    bare = write("b.csv", table("CCO,CC=O", "CCCO,CCC=O"))
    with pytest.raises(ValueError, match=r"1 \(CCO\), 2 \(CC=O\).*molecules\.column=NUMBER"):
        read(bare)
    assert texts(bare, 2) == ["CC=O", "CCC=O"]
    named = write("c.csv", table("CanonicalSMILES,IsomericSMILES", "CCO,CCO"))
    with pytest.raises(ValueError, match="2 columns"):
        read(named)


def test_an_unknown_column_names_the_nearest(write: Write) -> None:
    with pytest.raises(ValueError, match="none of its columns: name, smiles; did you mean smiles"):
        read(write("a.csv", table("name,smiles", "a,CCO")), "smile")


def test_only_the_first_rows_are_read_ahead(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    read_lines = 0
    take = files._Lines.__next__

    def count(self: files._Lines) -> str:
        nonlocal read_lines
        read_lines += 1
        return take(self)

    monkeypatch.setattr(files._Lines, "__next__", count)
    records = read(write("a.smi", table(*MORE * 5_000)))
    next(records)
    assert read_lines < 100


def block(smiles: str) -> str:
    return Chem.MolToMolBlock(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize("name", ["a.sdf", "a.sdf.gz"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_blocks(write: Write, name: str, end: str) -> None:
    broken = "broken\n\n\nno counts\n"
    sd = f"{block('CCO')}> <note>\nCCN $ # caf\xe9\n\n$$$$\n{broken}$$$$\n{block('CCN')}$$$$\n{block('CN')}\n\n"
    found = list(read(write(name, sd.replace("\n", end).encode("latin1"))))
    assert [(record.where, record.block) for record in found] == [(f"record {i}", True) for i in (1, 2, 3, 4)]
    assert [record.text.endswith("M  END\n") for record in found] == [True, False, True, True]
    assert Chem.MolToSmiles(Chem.MolFromMolBlock(found[3].text)) == "CN"


def test_a_block_without_end_is_bounded(write: Write) -> None:
    (record,) = read(write("a.sdf", "x\n" * 100_000))
    assert record.text.count("\n") == 20_000


def test_an_sd_file_has_no_columns(write: Write) -> None:
    with pytest.raises(ValueError, match=r"leave molecules\.column=smiles out"):
        read(write("a.sdf", block("CCO")), "smiles")


@pytest.mark.parametrize("name", ["a.smi", "a.csv", "a.txt", "a.sdf", "a.smi.gz"])
@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_empty(write: Write, name: str, content: str) -> None:
    with pytest.raises(ValueError, match="is empty"):
        read(write(name, content))


@pytest.mark.parametrize("content", ["smiles,x\n", "# only a note\n"])
def test_only_a_header(write: Write, content: str) -> None:
    with pytest.raises(ValueError, match="is empty"):
        read(write("a.csv", content))


def test_missing_names_the_nearest(write: Write, tmp_path: Path) -> None:
    write("molecules.smi", "CCO\n")
    with pytest.raises(FileNotFoundError, match=r"molecule\.smi: there is no such file; did you mean .*molecules\.smi"):
        read(tmp_path / "molecule.smi")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read(tmp_path / "nowhere" / "a.smi")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder; name one file in it"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "near"), [("a.tsv", "a.csv"), ("a.sd", "a.sdf"), ("a", "a.smi"), ("a.xlsx", "a.")])
def test_an_unknown_ending_names_the_nearest(write: Write, name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"rename it to {near}"):
        read(write(name, "CCO\n"))


@pytest.mark.parametrize("name", ["a.smi", "a.csv.gz", "a.sdf"])
def test_binary(write: Write, name: str) -> None:
    with pytest.raises(ValueError, match="is binary"):
        read(write(name, bytes(range(256)) * 40))


def test_other_encodings(write: Write) -> None:
    with pytest.raises(ValueError, match="is UTF-16, not UTF-8"):
        read(write("a.csv", "smiles\nCCO\n".encode("utf-16")))
    late = read(write("b.smi", (table(*MORE * 100) + "CCO caf\xe9\n").encode("latin1")))
    with pytest.raises(ValueError, match=r"line 401 is not UTF-8 \(byte 0xe9\).*iconv"):
        list(late)
    assert texts(write("c.smi", "CCO café\n")) == ["CCO"]


def test_damaged_gzip(write: Write) -> None:
    file = write("a.smi.gz", table(*(f"{'C' * (i % 70)}O {i}" for i in range(20_000))))
    file.write_bytes(file.read_bytes()[:-2_000])
    with pytest.raises(ValueError, match="damaged gzip after line"):
        list(read(file))


def test_gzip_is_known_by_its_content(write: Write) -> None:
    assert texts(write("a.smi", gzip.compress(b"CCO\nCCN\n"))) == ["CCO", "CCN"]


def test_nci() -> None:
    found = list(read(nci()))
    assert len(found) == 4_999 and found[-1].text == "CN1CCC[CH]1C2=CC=CN=C2" and found[-1].where == "line 4999"
