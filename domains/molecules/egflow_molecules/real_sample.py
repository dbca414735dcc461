"""Real molecules that ship with the package: a random part of MOSES's training molecules, in under two megabytes.

`real_molecules` gives them. The file was made, once, by

    python -m egflow_molecules.moses /tmp/mosesdata
    python -m egflow_molecules.real_sample moses=/tmp/mosesdata

It is kept sorted, which compresses to three quarters of what a random order does, and shuffled anew when it is loaded.
"""

from __future__ import annotations

import lzma
import random
import sys
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from egflow._files import write_atomic
from egflow_molecules import moses
from egflow_molecules.smiles import encode

LARGEST = 1_900_000
"""Bytes of the compressed file, at most."""
FILE = "moses.txt.xz"
_DRAW, _ORDER = 0, 1  # seeds: of the molecules drawn from MOSES, and of the order they are given in


def real_molecules(n: int | None = None) -> list[str]:
    """Molecules of MOSES's training part as SMILES, in a fixed random order: the first n are a random sample.

    Args:
        n: how many; None gives all that ship.

    Raises:
        ValueError: for an n below 1, or above the number that ship.

    >>> real_molecules(2)
    ['COc1ccc(Cc2nn3c(-c4cc(C)nn4C)nnc3s2)cc1', 'COC(=O)c1cn(S(=O)(=O)c2ccc(C)cc2)c2ccccc12']
    """
    molecules = _load()
    if n is None:
        return list(molecules)
    if not 1 <= n <= len(molecules):
        raise ValueError(
            f"n is {n}; {len(molecules):,} real molecules ship with egflow_molecules: ask for 1 to that many, or fetch "
            "all of MOSES with  python -m egflow_molecules.moses"
        )
    return list(molecules[:n])


def build(molecules: Sequence[str], file: str | Path, largest: int = LARGEST, step: int = 1_000) -> int:
    """Write as many of the molecules, drawn at random, as fit.

    Args:
        molecules: to draw from, each once.
        file: to write, `.txt.xz`.
        largest: bytes of the file, at most.
        step: the number of molecules is a multiple of it; found by bisection.

    Returns:
        How many were written.

    Raises:
        ValueError: where not even a step of them fits, or a molecule cannot be encoded.
    """
    drawn = _shuffled(sorted(molecules), _DRAW)
    whole = range(step, len(drawn) + 1, step)
    fits = step * bisect_right(whole, largest, key=lambda n: len(_packed(drawn[:n])))
    if not fits:
        raise ValueError(f"not even {step:,} of {len(drawn):,} molecules fit into {largest:,} bytes: allow more bytes")
    encode(drawn[:fits])  # each can be held by a flow
    packed = _packed(drawn[:fits])

    def write(temporary: Path) -> None:
        temporary.write_bytes(packed)

    write_atomic(Path(file), write)
    return fits


def _packed(molecules: Sequence[str]) -> bytes:
    return lzma.compress("\n".join(sorted(molecules)).encode(), preset=9 | lzma.PRESET_EXTREME)


def _shuffled(molecules: Sequence[str], seed: int) -> list[str]:
    """A fixed order. By keys, for Python promises that `random()` stays as it is, and not that `shuffle` does."""
    generator = random.Random(seed)
    keys = [generator.random() for _ in molecules]
    return [molecules[place] for place in sorted(range(len(molecules)), key=keys.__getitem__)]


@lru_cache(maxsize=1)
def _load() -> tuple[str, ...]:
    packed = (files("egflow_molecules") / "real" / FILE).read_bytes()
    return tuple(_shuffled(lzma.decompress(packed).decode().split("\n"), _ORDER))


def main(arguments: Sequence[str]) -> int:
    """``moses=FOLDER``, and ``file=`` for another file than the package's own."""
    given = {"moses": str(moses.FOLDER), "file": str(Path(__file__).parent / "real" / FILE)}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in given:
            print(f"error: {argument!r} is not one of moses=FOLDER, file=FILE", file=sys.stderr)
            return 2
        given[key] = value
    n = build(moses.smiles("train", given["moses"]), given["file"])
    print(f"{n:,} molecules in {Path(given['file']).stat().st_size:,} bytes: {given['file']}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
