"""SMILES as tokens: one alphabet for every data set, an atom or a sign of the language each.

An atom in brackets is one token, as are Br, Cl and ring bonds such as %10 (the atom-level tokeniser of Schwaller et al.
2019, doi 10.1021/acscentsci.9b00576). The alphabet is fixed, so that every flow of molecules speaks the same language
and any of them can be tuned to new data; what is not in it is named, see `unknown_tokens`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

_TOKEN = re.compile(r"\[[^\[\]]+\]|Br|Cl|%\d\d|.", re.DOTALL)

ALPHABET: tuple[str, ...] = (
    *("C", "c", "O", "o", "N", "n", "S", "s", "P", "p", "F", "Cl", "Br", "I", "B", "b"),
    *("(", ")", "=", "#", "-", ":", "/", "\\"),
    *("1", "2", "3", "4", "5", "6", "7", "8", "9", "%10", "%11", "%12"),
    *("[nH]", "[H]", "[N+]", "[N-]", "[O-]", "[O+]", "[n+]", "[n-]", "[nH+]", "[NH+]", "[NH2+]", "[NH3+]", "[NH-]"),
    *("[S+]", "[S-]", "[s+]", "[o+]", "[C-]", "[C+]", "[c-]", "[CH-]"),
    *("[C@]", "[C@@]", "[C@H]", "[C@@H]", "[S@]", "[S@@]", "[P@]", "[P@@]", "[N@+]", "[N@@+]"),
    *("[Se]", "[se]", "[Si]", "[SiH]", "[P+]", "[PH]", "[B-]", "[As]"),
)
"""Every token, in the order of their ids."""

VOCAB_SIZE = len(ALPHABET)
PAD_ID = VOCAB_SIZE
LENGTH = 80
"""Tokens of the longest molecule a flow can hold. (MOSES ends at 54; drugs seldom pass 70.)"""

_IDS = {token: i for i, token in enumerate(ALPHABET)}

NEST = (_IDS["("], _IDS[")"])
"""Ids of the brackets of a branch."""
RINGS = tuple(_IDS[token] for token in (*"123456789", "%10", "%11", "%12"))
"""Ids of the tokens that open and close a ring."""


def tokenise(smiles: str) -> list[str]:
    """The tokens of a SMILES, known or not; joined they are the SMILES again.

    >>> tokenise("C[nH]Cl%10")
    ['C', '[nH]', 'Cl', '%10']
    """
    return _TOKEN.findall(smiles)


def unknown_tokens(smiles: Iterable[str]) -> Counter[str]:
    """Tokens outside the alphabet, each with the number of molecules it is in, the commonest first.

    >>> unknown_tokens(["CC", "C[Hg]C", "[Hg]"])
    Counter({'[Hg]': 2})
    """
    return Counter(token for one in smiles for token in set(tokenise(one)) if token not in _IDS)


def encode(smiles: Sequence[str], length: int = LENGTH) -> Tensor:
    """SMILES as rows of ids, padded with `PAD_ID`.

    Args:
        smiles: N strings.
        length: of a row.

    Returns:
        (N, length) long.

    Raises:
        ValueError: for an empty string, one that is too long, or a token outside the alphabet, naming it.

    >>> encode(["CO"], length=3).tolist() == [[0, 2, PAD_ID]]
    True
    """
    rows = np.full((len(smiles), length), PAD_ID, dtype=np.int64)
    for row, one in zip(rows, smiles, strict=True):
        tokens = tokenise(one)
        if not 0 < len(tokens) <= length:
            raise ValueError(f"{one!r} has {len(tokens)} tokens; a row holds 1 to {length}")
        try:
            row[: len(tokens)] = [_IDS[token] for token in tokens]
        except KeyError as error:
            raise ValueError(
                f"{one!r}: the token {error.args[0]!r} is not in the alphabet of egflow_molecules"
            ) from None
    return torch.from_numpy(rows)


def decode(x: Tensor) -> list[str]:
    """Rows of ids (n, length) as SMILES; the inverse of `encode`.

    >>> decode(encode(["CC(=O)Nc1ccc(Cl)cc1"]))
    ['CC(=O)Nc1ccc(Cl)cc1']
    """
    letters = (*ALPHABET, "")
    return ["".join([letters[i] for i in row]) for row in x.tolist()]
