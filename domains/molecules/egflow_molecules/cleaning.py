"""From records to molecules that a flow can hold, with an account of every record that was dropped.

A molecule is written as RDKit's canonical SMILES, with its stereochemistry and its charges as they are. Salts lose
their counter-ions and solvates their solvent; a mixture of two compounds is dropped. Numbers of an atom map are labels,
and are removed. Isotopes are part of the compound and are left in: the alphabet has none, so such a molecule is dropped
and the isotope named. What was removed is counted too.
"""

from __future__ import annotations

import io
import multiprocessing
import re
import signal
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

from egflow._inputs import N_MIN
from egflow_molecules._rdkit import mol_from_smiles, parse_smiles, quiet
from egflow_molecules.files import Record
from egflow_molecules.smiles import LENGTH, tokenise, unknown_tokens

REASONS = ("empty", "unreadable", "no atoms", "mixture", "too long", "outside the alphabet", "duplicate")
"""Why a record is dropped, in the order in which it is asked; the first that holds is counted."""
CHANGES = ("salt stripped", "atom map removed")
"""What may be changed of a molecule that is kept."""

_CHUNK = 1_000  # records that are cleaned, or sent to a worker, at once
_ALONE = 20  # chunks done here before workers are started, which takes as long
_HOPELESS = 20  # characters a token, or lines of a mol block: a text with more is too long without a look at it
_SHOWN = 3  # examples kept for a reason

_COMPANIONS = """
O=S(=O)(O)O O=S(O)O O=[N+]([O-])O O=P(O)(O)O [O-][Cl+3]([O-])([O-])O F[B-](F)(F)F F[P-](F)(F)(F)(F)F N#CS OB(O)O
O=C(O)O O=CO CC(=O)O CCC(=O)O O=C(O)C(F)(F)F O=C(O)C(=O)O O=C(O)CC(=O)O O=C(O)CCC(=O)O O=C(O)C=CC(=O)O OCC(=O)O
O=C(O)CC(O)C(=O)O O=C(O)C(O)C(O)C(=O)O O=C(O)CC(O)(CC(=O)O)C(=O)O CC(O)C(=O)O O=C(O)C(O)C(O)C(O)C(O)CO
O=C(O)c1ccccc1 O=C(O)c1ccccc1O CS(=O)(=O)O CCS(=O)(=O)O O=S(=O)(O)C(F)(F)F O=S(=O)(O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1
O=[N+]([O-])c1cc([N+](=O)[O-])c(O)c([N+](=O)[O-])c1
CCN(CC)CC CCNCC NCCN NCCO OCCNCCO NC(CO)(CO)CO CNCC(O)C(O)C(O)C(O)CO C[N+](C)(C)CCO C1CNCCN1 C1COCCN1
C1CCC(NC2CCCCC2)CC1 CO CCO CC(C)O CC(C)=O CC#N CS(C)=O CN(C)C=O ClCCl ClC(Cl)Cl CCOC(C)=O CCOCC C1CCOC1 C1COCCO1
c1ccccc1 Cc1ccccc1 c1ccncc1
"""
"""Acids, bases and solvents that come along with a compound, besides single atoms; of any charge and stereo."""

_HEAD = re.compile(r"^\[[\d:]+\] |ERROR: |Problems encountered parsing Mol data, ")
_NOISE = re.compile(r"\W*$|.*Violation\b|Failed Expression|Stacktrace|moving to the")  # of RDKit's messages

_Outcome = tuple[str, str, tuple[str, ...]]  # the reason, or "" where kept; the detail, or the SMILES; the changes


@dataclass(slots=True)
class Funnel:
    """How many records were read, how many were kept, and why the others went: read = kept + the sum of dropped.

    Attributes:
        read, kept: the first number and the last.
        dropped: by reason, see `REASONS`.
        changed: of those kept, how many were changed, see `CHANGES`.
        tokens: outside the alphabet, with the number of molecules dropped for each.
        examples: the first few of each reason.
    """

    read: int = 0
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    changed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CHANGES, 0))
    tokens: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def keep(self, changes: Iterable[str] = ()) -> None:
        """Count one that stays."""
        self.read += 1
        self.kept += 1
        for change in changes:
            self.changed[change] += 1

    def drop(self, reason: str, example: str, tokens: Iterable[str] = ()) -> None:
        """Count one that goes; the first few examples are kept."""
        self.read += 1
        self.dropped[reason] += 1
        self.tokens.update(tokens)
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _SHOWN:
            examples.append(example)

    def line(self) -> str:
        """The funnel in one line, such as "3 read, 1 kept; dropped: 2 duplicate"."""
        told = ", ".join(f"{n:,} {reason}" for reason, n in self.dropped.items() if n)
        return f"{self.read:,} read, {self.kept:,} kept" + (f"; dropped: {told}" if told else "")

    def lines(self) -> list[str]:
        """A table for the terminal: a line for each reason, with its first example or the tokens it is due to."""
        tokens = [f"{token} {n:,}" for token, n in _commonest(self.tokens)]
        hints = {reason: examples[0] for reason, examples in self.examples.items()}
        hints["outside the alphabet"] = ", ".join(tokens[:6]) + (", …" if len(tokens) > 6 else "")
        changed = ", ".join(f"{n:,} {name}" for name, n in self.changed.items() if n)
        rows = [("read", f"{self.read:,}", "")]
        rows += [(reason, f"−{n:,}", hints[reason]) for reason, n in self.dropped.items() if n]
        rows += [("kept", f"{self.kept:,}", changed)]
        first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
        return [f"{a:<{first}} {b:>{second}}  {c}".rstrip() for a, b, c in rows]

    def as_dict(self) -> dict[str, Any]:
        """For JSON: the attributes, every reason with its number, the commonest tokens first."""
        return asdict(self) | {"tokens": dict(_commonest(self.tokens))}


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Molecules, and what became of the others.

    Attributes:
        smiles: canonical, each once, in the order of the records.
        funnel: of the records.
    """

    smiles: list[str]
    funnel: Funnel


def clean(
    records: Iterable[Record],
    *,
    what: str = "data",
    length: int = LENGTH,
    workers: int = 0,
    at_least: int = N_MIN,
    progress: Callable[[int], None] | None = None,
) -> Cleaned:
    """The molecules of records: canonical, single, short enough, in the alphabet, and each once.

    Args:
        records: from `egflow_molecules.files.read`, read as they are needed.
        what: what the user calls them, for messages, such as "data=my.smi".
        length: tokens of the longest molecule.
        workers: processes that share the work, after the first 20,000 records; 0 works in this one. The result is the
            same.
        at_least: molecules, below which there is nothing to learn from.
        progress: called now and then with the number of records done.

    Raises:
        ValueError: where no molecule, or fewer than `at_least`, can be used, with the funnel in one line and the first
            example of the commonest reason; for a bad argument; and what reading the records raises.
        RuntimeError: where worker processes cannot be started.

    >>> cleaned = clean([Record("OCC", "line 1"), Record("C(C)O.[Na+]", "line 2")], at_least=1)
    >>> cleaned.smiles, cleaned.funnel.line()
    (['CCO'], '2 read, 1 kept; dropped: 1 duplicate')
    """
    if length < 1 or workers < 0:
        raise ValueError(f"length is {length} and workers is {workers}; expected at least 1, and at least 0")
    funnel = Funnel()
    smiles: dict[str, None] = {}
    with closing(_outcomes(records, length, workers)) as outcomes:
        for chunk, results in outcomes:
            for record, (reason, text, changes) in zip(chunk, results, strict=True):
                if not reason and text in smiles:
                    reason, text = "duplicate", f"{text} again"
                if reason:
                    tokens = text.split() if reason == "outside the alphabet" else ()
                    funnel.drop(reason, _example(record, text), tokens)
                else:
                    smiles[text] = None
                    funnel.keep(changes)
            if progress is not None:
                progress(funnel.read)
    if len(smiles) < at_least:
        raise _too_few(funnel, what, at_least)
    return Cleaned(list(smiles), funnel)


def _too_few(funnel: Funnel, what: str, at_least: int) -> ValueError:
    commonest = max(funnel.dropped, key=funnel.dropped.__getitem__)
    examples = funnel.examples.get(commonest, [])
    told = funnel.line() + (f" (first {commonest}: {examples[0]})" if examples else "")
    if not funnel.kept:
        return ValueError(f"{what}: no molecule can be used: {told}; is it a file of SMILES or an SD file?")
    return ValueError(f"{what}: too few molecules: {told}; at least {at_least} are needed: give more of them")


def _example(record: Record, detail: str) -> str:
    """One line: where, the text as far as it is short, and what was the matter."""
    text = "a mol block" if record.block else repr(record.text if len(record.text) <= 60 else record.text[:57] + "…")
    detail = detail if len(detail) <= 160 else detail[:157] + "…"
    shown = f"{record.where}: {text}" if record.text and not record.fault else record.where
    return f"{shown} ({detail})" if detail else shown


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _outcomes(records: Iterable[Record], length: int, workers: int) -> Generator[tuple[list[Record], list[_Outcome]]]:
    """Chunks of records with their outcomes, in order."""
    chunks = _chunks(records)
    for chunk in islice(chunks, _ALONE if workers else None):
        yield chunk, _clean_chunk(chunk, length)
    ahead = next(chunks, None)
    if ahead is None:
        return
    from pebble import ProcessExpired, ProcessPool  # only where it is used

    # Never forked from this process: a fork copies torch's locks as they are, and may wait for them for ever.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # what is imported in the server is not imported again for each worker
        context.set_forkserver_preload(["egflow.energy._worker_task", __name__])
    pool = ProcessPool(workers, initializer=_start_worker, context=context)
    running: deque[tuple[list[Record], Future]] = deque()
    try:
        for chunk in chain((ahead,), chunks):
            running.append((chunk, pool.schedule(_clean_chunk, args=(chunk, length))))
            if len(running) > 2 * workers:
                done, future = running.popleft()
                yield done, future.result()
        for done, future in running:
            yield done, future.result()
    except ProcessExpired as error:
        raise RuntimeError(
            f"a worker process ended before its molecules were done ({error}); a script that uses workers starts its "
            "work under  if __name__ == '__main__':  and workers=0 uses none"
        ) from None
    finally:  # at an interruption too: what is under way is killed
        pool.stop()
        pool.join()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; this one stops them


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    records = iter(records)
    while chunk := list(islice(records, _CHUNK)):
        yield chunk


def _clean_chunk(records: Sequence[Record], length: int) -> list[_Outcome]:
    with quiet():
        return [_clean(record, length) for record in records]


def _clean(record: Record, length: int) -> _Outcome:
    """What becomes of one record, but for duplicates."""
    text = record.text
    if record.fault:
        return "unreadable", record.fault, ()
    if not text.strip():
        return "empty", "", ()
    size, kind = (text.count("\n"), "lines") if record.block else (len(text.split(None, 1)[0]), "characters")
    if size > _HOPELESS * length:  # RDKit may be at it for minutes
        return "too long", f"{size:,} {kind}", ()
    try:
        mol = _parse_block(text) if record.block else _parse_text(text)
        if not mol.GetNumAtoms():
            return "no atoms", "", ()
        return _standardise(mol, length, plain=not record.block and ":" not in text)
    except (ValueError, RuntimeError) as error:  # RuntimeError: RDKit's own broken invariants
        return "unreadable", _reason(str(error)), ()


def _standardise(mol: Chem.Mol, length: int, plain: bool) -> _Outcome:
    """One fragment as a canonical SMILES, without labels, which a plain one has none of.

    Raises ValueError where the SMILES cannot be read back.
    """
    changes = []
    if not plain and any(atom.GetAtomMapNum() for atom in mol.GetAtoms()):
        changes.append("atom map removed")
        for atom in mol.GetAtoms():
            atom.SetAtomMapNum(0)
    if len(Chem.GetMolFrags(mol)) > 1:
        changes.append("salt stripped")
        main = main_fragment(mol)
        if main is None:
            return "mixture", "", ()
        mol = main
    if mol.GetNumAtoms() > length:  # an atom is a token at least
        return "too long", f"{mol.GetNumAtoms():,} atoms", ()
    smiles = Chem.MolToSmiles(mol)
    if changes or not plain:  # a centre may be none any more; and a mol block is not yet known to make a SMILES
        smiles = Chem.MolToSmiles(parse_smiles(smiles))
    n_tokens = len(tokenise(smiles))
    if n_tokens > length:
        return "too long", f"{n_tokens:,} tokens", ()
    if unknown := unknown_tokens([smiles]):
        return "outside the alphabet", " ".join(sorted(unknown)), ()
    return "", smiles, tuple(changes)


def main_fragment(mol: Chem.Mol) -> Chem.Mol | None:
    """The fragment that a salt, a hydrate or a solvate is about; None for a mixture.

    Copies count as one. It is the largest by heavy atoms, and leaves aside single atoms and the common acids, bases and
    solvents, so that a small amine is not lost to its picric acid; where there is nothing else, the largest of these.
    Any other fragment makes a mixture, unless it has at most three heavy atoms and a third of the main one's.

    >>> Chem.MolToSmiles(main_fragment(Chem.MolFromSmiles("CN.Cl.OC(=O)CC(O)(CC(O)=O)C(O)=O")))
    'CN'
    >>> main_fragment(Chem.MolFromSmiles("CC(=O)Nc1ccccc1.CCOc1ccccc1"))
    """
    parts = {Chem.MolToSmiles(part): part for part in Chem.GetMolFrags(mol, asMols=True)}
    sizes = {smiles: part.GetNumHeavyAtoms() for smiles, part in parts.items()}
    own = [smiles for smiles, part in parts.items() if sizes[smiles] > 1 and _neutral(part) not in _companions()]
    main = max(own or parts, key=lambda smiles: (sizes[smiles], smiles))
    if any(sizes[one] > 3 or 3 * sizes[one] > sizes[main] for one in own if one != main):
        return None
    return parts[main]


@lru_cache(maxsize=1)
def _companions() -> frozenset[str]:
    return frozenset(_neutral(Chem.MolFromSmiles(smiles)) for smiles in _COMPANIONS.split())


def _neutral(mol: Chem.Mol) -> str:
    return Chem.MolToSmiles(rdMolStandardize.Uncharger().uncharge(mol), isomericSmiles=False)


def _parse_text(text: str) -> Chem.Mol:
    """The molecule of a SMILES, with the extension ``|…|`` where it has one. Raises ValueError with RDKit's reason."""
    mol = mol_from_smiles(text)
    if mol is None:
        parse_smiles(text.split(None, 1)[0])
        raise ValueError("what follows the SMILES cannot be read")
    return mol


def _parse_block(text: str) -> Chem.Mol:
    """The molecule of a mol block. Raises ValueError with RDKit's reason."""
    with rdBase.CaptureErrorLog() as log:  # a supplier, for `MolFromMolBlock` has no reason to tell
        mol = next(Chem.ForwardSDMolSupplier(io.BytesIO(text.encode())), None)
    if mol is None:
        raise ValueError(log.messages)
    return mol


def _reason(message: str) -> str:
    """The line of RDKit's message, or of `parse_smiles`, that says what is wrong."""
    lines = [_HEAD.sub("", line).strip() for line in message.split("\n")]
    said = [line for line in lines if not _NOISE.match(line)]
    return said[0].rpartition("which is no molecule: ")[2] if said else "RDKit cannot read it"
