"""Molecules from a user's own file, one at a time and never the whole file: tables, lists of SMILES and SD files.

Text is UTF-8, with or without a byte-order mark, with any line ends, and may be gzipped. Blank lines are skipped, and
so are lines that begin with ``#``, which begins no SMILES. What separates the columns, which of them holds the SMILES
and whether the first row is a header is found out from the first rows: a column named SMILES, or like it, is taken;
else the one whose values are molecules, and then the first row is a header where its own value is none, or where it is
a word over a column of numbers. (A lone header that is itself a molecule, such as ``CN`` over one column, cannot be
told from one.) A quoted cell may span lines.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path

from rdkit import RDConfig

from egflow_molecules._rdkit import mol_from_smiles

ENDINGS = (".smi", ".csv", ".txt", ".sdf")
"""What a file's name may end in; each also with ``.gz`` behind it."""

_DELIMITERS = ("\t", ",", ";", "")  # "" is white space; of two that do equally well, the first is taken
_SAMPLE = 50  # lines that are looked at to find the column
_LONGEST_CELL = 2_000  # characters, above which a cell is not parsed to find the column
_LONGEST_BLOCK = 20_000  # lines kept of a mol block: far above what a flow can hold, and a bound on the memory


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of a file, not yet looked at.

    Attributes:
        text: a SMILES, perhaps with more behind a space; or a mol block.
        where: "line 12" (the last, of a row that spans lines) or "record 3", from 1.
        block: whether the text is a mol block.
        fault: why the entry could not be read from the file, where it could not; the text is then empty.
    """

    text: str
    where: str
    block: bool = False
    fault: str = ""


def nci() -> Path:
    """The file that `data=nci` names: 4,999 compounds of the National Cancer Institute, which come with RDKit.

    Raises:
        FileNotFoundError: where this RDKit came without its data.
    """
    file = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
    if not file.is_file():
        raise FileNotFoundError(f"data=nci: this RDKit came without its data ({file}): install rdkit from PyPI")
    return file


def read(source: str | Path, column: str | int | None = None) -> Iterator[Record]:
    """The records of a file, read as they are asked for; what can be checked at once is.

    Args:
        source: the file: .smi, .csv, .txt (a header is not needed) or .sdf, each also with .gz behind it.
        column: the name of the column that holds the SMILES, or its number from 1; None finds it.

    Returns:
        Records in the file's order; there is at least one.

    Raises:
        FileNotFoundError: naming the nearest file in the folder.
        ValueError: for a folder, an unknown ending, an empty or a binary file, text that is not UTF-8 (also while
            records are read), damaged gzip, a column that is not there, or several columns of molecules.

    >>> [record.text for record in islice(read(nci()), 2)]
    ['CC1=CC(=O)C=CC1=O', 'S(SC1=NC2=CC=CC=C2S1)C3=NC4=C(S3)C=CC=C4']
    """
    file = Path(source).expanduser()
    ending = _check(file)
    if ending == ".sdf":
        if column is not None:
            raise ValueError(f"data={file}: an SD file has no columns; leave molecules.column={column} out")
        records = _blocks(_Lines(file, lenient=True))
    else:
        sample = list(islice(_Lines(file), _SAMPLE))
        records = _rows(_Lines(file), _find_layout(sample, file, column)) if sample else iter(())
    first = next(records, None)
    if first is None:
        raise ValueError(f"data={file} is empty: no line of it holds a molecule")
    return chain((first,), records)


def _check(file: Path) -> str:
    """The ending of a file that can be read. Raises as `read`."""
    if not file.exists():
        names = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
        near = get_close_matches(file.name, names, n=1)
        hint = f"; did you mean {file.parent / near[0]}?" if near else f" (looked in {file.parent.resolve()})"
        raise FileNotFoundError(f"data={file}: there is no such file{hint}")
    if file.is_dir():
        raise ValueError(f"data={file} is a folder; name one file in it: {', '.join(ENDINGS)}, or those with .gz")
    name = file.name.lower().removesuffix(".gz")
    ending = Path(name).suffix
    if ending not in ENDINGS:
        near = (get_close_matches(ending, ENDINGS, n=1) or [".smi"])[0]
        raise ValueError(
            f"data={file}: the ending {ending or 'of the name'!r} is none of {', '.join(ENDINGS)} (or these with .gz); "
            f"if it is text, rename it to {Path(name).stem}{near}"
        )
    return ending


class _Lines(Iterator[str]):
    """Lines of a text file, without blank ones and comments; `number` is that of the last one, from 1.

    Args:
        file: to read.
        lenient: an SD file: blank lines and comments are part of it, and what is not UTF-8 is replaced, for no
            molecule is written in it.
    """

    def __init__(self, file: Path, lenient: bool = False) -> None:
        self.file, self.lenient, self.number = file, lenient, 0
        self.lines = _open(file, lenient)

    def __next__(self) -> str:
        try:
            for line in self.lines:
                self.number += 1
                if self.lenient:
                    return line
                if not line.isascii() and (wrong := [ord(c) - 0xDC00 for c in line if "\udc80" <= c <= "\udcff"]):
                    raise ValueError(
                        f"data={self.file}: line {self.number} is not UTF-8 (byte 0x{wrong[0]:02x}); convert the file, "
                        f"for example with  iconv -f latin1 -t utf-8"
                    )
                if (text := line.strip()) and not text.startswith("#"):
                    return line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"data={self.file}: damaged gzip after line {self.number} ({error})") from None
        raise StopIteration


def _open(file: Path, lenient: bool) -> Iterator[str]:
    """Open, unpack by the first bytes and not by the name, and refuse what is no text."""
    # A function, for a method would tie the open file to its reader in a cycle, and leave it open until a collection.
    with open(file, "rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        with gzip.open(raw) if packed else raw as stream:
            head = stream.read(4096)
            if head.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise ValueError(f"data={file} is UTF-16, not UTF-8: save it anew as UTF-8")
            if b"\0" in head:
                raise ValueError(f"data={file} is binary; give text: {', '.join(ENDINGS)}, or those with .gz")
            stream.seek(0)
            errors = "replace" if lenient else "surrogateescape"
            with io.TextIOWrapper(stream, encoding="utf-8-sig", errors=errors) as lines:
                yield from lines


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a line becomes a SMILES: split at the delimiter, take the column (from 0); the first row may be a header."""

    delimiter: str
    column: int
    header: bool


def _split(lines: Iterator[str], delimiter: str) -> Iterator[list[str] | csv.Error]:
    """Rows of cells; an error in the place of what could not be split. Strict, for a quote left open hides lines."""
    rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True) if delimiter else None
    words = map(str.split, lines)
    while True:
        try:
            row = next(words if rows is None else rows, None)
        except csv.Error as error:
            yield error
            continue
        if row is None:
            return
        yield row


def _rows(lines: _Lines, layout: _Layout) -> Iterator[Record]:
    """One record a row; a row that ends before the column is an empty record."""
    start = 1
    for number, row in enumerate(_split(lines, layout.delimiter)):
        if isinstance(row, csv.Error):
            where = f"line {start}" if lines.number <= start else f"lines {start} to {lines.number}"
            yield Record("", where, fault=f"csv: {row}")
        elif number or not layout.header:
            yield Record(row[layout.column].strip() if layout.column < len(row) else "", f"line {lines.number}")
        start = lines.number + 1


def _blocks(lines: Iterator[str]) -> Iterator[Record]:
    """One record a mol block, up to its ``M  END``; the properties behind it are left out."""
    block: list[str] = []
    number, ended, filled = 1, False, False
    for line in lines:
        if line.startswith("$$$$"):
            yield Record("".join(block), f"record {number}", block=True)
            block, number, ended, filled = [], number + 1, False, False
            continue
        filled = filled or not line.isspace()
        if not ended and len(block) < _LONGEST_BLOCK:
            block.append(line)
        ended = ended or line.startswith("M  END")
    if filled:
        yield Record("".join(block), f"record {number}", block=True)


@dataclass(frozen=True, slots=True)
class _Table:
    """The first rows of a file, split at one delimiter."""

    delimiter: str
    rows: Sequence[Sequence[str]]

    @property
    def values(self) -> Sequence[Sequence[str]]:
        """Rows that are no header for sure."""
        return self.rows[1:] or self.rows

    @property
    def names(self) -> list[str]:
        """The cells of the first row, as the names of the columns."""
        return [cell.strip() for cell in self.rows[0]]

    def share(self, column: int) -> float:
        """Of the rows, the share that hold a molecule in a column."""
        return sum(column < len(row) and _is_smiles(row[column]) for row in self.values) / len(self.values)

    def named(self) -> list[int]:
        """Columns whose name says SMILES; else those whose name says structure, and which hold molecules."""
        names = [re.sub(r"[\W_]+", "", name.lower()) for name in self.names]
        whole = [not re.search(r"[,;\t]", name) for name in self.names]  # not a line that this delimiter does not split
        for wanted in (r"smiles", r"smi|.*smiles.*"):
            if found := [i for i, name in enumerate(names) if whole[i] and re.fullmatch(wanted, name)]:
                return found
        return [
            i
            for i, name in enumerate(names)
            if re.fullmatch("structures?|mol|molecules?", name) and self.share(i) >= 0.5
        ]

    def holding(self) -> list[int]:
        """Columns that hold molecules in at least half of the rows; else the best, if it holds any."""
        shares = [self.share(column) for column in range(max(map(len, self.rows)))]
        best = max(shares)
        return [i for i, share in enumerate(shares) if share >= min(0.5, best)] if best else []

    def find(self, column: str | int) -> list[int]:
        """The column of a name, as written or in another case, or of a number from 1; none where there is none."""
        for names in (self.names, [name.lower() for name in self.names]):
            for wanted in (str(column), str(column).lower()):
                if wanted in names:
                    return [names.index(wanted)]
        number = int(column) if str(column).isdecimal() else 0
        return [number - 1] if 0 < number <= len(self.rows[0]) else []

    def has_header(self, column: int) -> bool:
        """Whether the first row is one: a word over molecules, or over numbers."""
        first, rest = self.rows[0], self.rows[1:]
        cell = first[column].strip() if column < len(first) else ""
        if rest and re.fullmatch(r"[A-Za-z_][\w .:/-]*", cell) and not _is_smiles(cell):
            return True
        columns = [[row[i] for row in rest if i < len(row) and row[i].strip()] for i in range(len(first))]
        return any(
            cell.strip() and not _is_number(cell) and cells and all(map(_is_number, cells))
            for cell, cells in zip(first, columns, strict=True)
        )


def _find_layout(sample: Sequence[str], file: Path, column: str | int | None) -> _Layout:
    """The delimiter and the column that hold the most molecules, among columns named so where there are any."""
    tables = []
    for delimiter in _DELIMITERS:
        rows = [row for row in _split(iter(sample), delimiter) if not isinstance(row, csv.Error)]
        tables.append(_Table(delimiter, rows or [[""]]))
    choices = [(t, t.named() if column is None else t.find(column)) for t in tables]
    named = any(found for _, found in choices)
    if not named and column is not None:
        names = max(tables[:3], key=lambda table: len(table.rows[0])).names
        near = get_close_matches(str(column), names, n=1)
        raise ValueError(
            f"data={file}: molecules.column={column} is none of its columns: {', '.join(names)}"
            + (f"; did you mean {near[0]}?" if near else "; a column without a name is given by its number, from 1")
        )
    if not named:
        choices = [(table, table.holding()) for table in tables]
    choices = [(table, found) for table, found in choices if found]
    smi = ".smi" in file.name.lower()
    if not choices:  # no molecule at all; `clean` will say so, with reasons
        return _Layout("" if smi else ",", 0, header=False)
    table, found = max(choices, key=lambda choice: max(map(choice[0].share, choice[1])))
    header = (named and not str(column).isdecimal()) or table.has_header(found[0])
    if len(found) > 1 and (named or not (smi or table.delimiter == "")):  # in .smi the first column is the SMILES
        cells = table.rows[1] if header else table.rows[0]
        told = [f"{table.names[i] if header else i + 1} ({cells[i] if i < len(cells) else ''})" for i in found]
        raise ValueError(
            f"data={file}: {len(found)} columns hold molecules: {', '.join(told)}; say which with "
            f"molecules.column={'NAME' if header else 'NUMBER'}"
        )
    return _Layout(table.delimiter, found[0], header)


def _is_smiles(cell: str) -> bool:
    """Whether a cell is a SMILES and nothing else, but for the extension ``|…|``."""
    text, _, rest = cell.strip().partition(" ")
    if not text or len(text) > _LONGEST_CELL or (rest and not rest.startswith("|")):
        return False
    return mol_from_smiles(text) is not None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
