"""RDKit without its noise: text to molecules and patterns, and RDKit's own reason where a text is neither."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from rdkit import Chem, rdBase

_STAMP = re.compile(r"^\[\d\d:\d\d:\d\d\] ", re.MULTILINE)
_HEAD = re.compile(r"^(?:SMILES|SMARTS) Parse Error: ")


def quiet() -> AbstractContextManager[Any]:
    """Nothing of RDKit's log reaches the terminal inside this block; blocks may be nested.

    >>> with quiet():
    ...     Chem.MolFromSmiles("C(")
    """
    return rdBase.BlockLogs()


def mol_from_smiles(text: str) -> Chem.Mol | None:
    """The molecule of a SMILES, or None where it is none; silent. A text without an atom is none.

    >>> mol_from_smiles("CCO").GetNumAtoms()
    3
    >>> mol_from_smiles("c1ccc1("), mol_from_smiles("")
    (None, None)
    """
    with quiet():
        mol = Chem.MolFromSmiles(text)
    return mol if mol is not None and mol.GetNumAtoms() else None


def parse_smiles(text: str, what: str = "the SMILES") -> Chem.Mol:
    """The molecule of a SMILES that a user gave.

    Args:
        text: the SMILES, without a name behind it.
        what: what the user calls it, for the message.

    Raises:
        TypeError: where it is no text.
        ValueError: where it is no molecule, in one line with RDKit's reason.

    >>> parse_smiles("C1CC", "smiles of tanimoto")
    Traceback (most recent call last):
        ...
    ValueError: smiles of tanimoto is 'C1CC', which is no molecule: unclosed ring
    """
    return _parse(text, what, "SMILES", "molecule", Chem.MolFromSmiles)


def parse_smarts(text: str, what: str = "the SMARTS") -> Chem.Mol:
    """The pattern of a SMARTS that a user gave; as `parse_smiles`.

    >>> parse_smarts("[C", "smarts of has_smarts")
    Traceback (most recent call last):
        ...
    ValueError: smarts of has_smarts is '[C', which is no pattern: syntax error around position 2
    """
    return _parse(text, what, "SMARTS", "pattern", Chem.MolFromSmarts)


def _parse(text: Any, what: str, language: str, kind: str, read: Callable[[str], Chem.Mol | None]) -> Chem.Mol:
    if not isinstance(text, str):
        raise TypeError(f"{what} is a {type(text).__name__}; give a {language} as text")
    if not text or len(text.split()) != 1 or text != text.strip():
        raise ValueError(f"{what} is {text!r}, which is no {kind}: give one {language} without spaces")
    with quiet():
        mol, log = _with_log(read, text)
        reason = "" if mol is not None else _reason(text, log)
    if mol is None:
        raise ValueError(f"{what} is {text!r}, which is no {kind}: {reason}")
    if not mol.GetNumAtoms():
        raise ValueError(f"{what} is {text!r}, which is no {kind}: it has no atom")
    return mol


def _with_log(read: Callable[[str], Chem.Mol | None], text: str) -> tuple[Chem.Mol | None, str]:
    """What RDKit reads, and what it says of it ('' in an RDKit too old to capture it)."""
    capture = getattr(rdBase, "CaptureErrorLog", None)
    if capture is None:
        return read(text), ""
    with capture() as captured:
        return read(text), captured.messages


def _reason(text: str, log: str) -> str:
    """RDKit's reason in one line, from its log; from its own exception where there is no log."""
    lines = [line for line in _STAMP.sub("", log).splitlines() if line.strip()]
    if not lines:
        mol = Chem.MolFromSmiles(text, sanitize=False)
        problems = [] if mol is None else Chem.DetectChemistryProblems(mol)
        return problems[0].Message() if problems else "RDKit cannot parse it"
    if place := re.search(r"around position \d+", log):
        return f"syntax error {place[0]}"
    first = _HEAD.sub("", lines[0])
    return re.sub(r" for input: .*$", "", first).strip()
