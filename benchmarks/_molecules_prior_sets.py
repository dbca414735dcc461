"""What the metrics need to know of a set of molecules, made once, kept in a file, and added where sets are joined.

References are kept beside MOSES's own files, by the version of RDKit, for they are the same for every model. Their
parts are made one by one: stopped and started again, it goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rdkit
import torch
from egflow_molecules import metrics, moses
from egflow_molecules.molecules import Molecules
from numpy.typing import NDArray

from egflow._files import write_atomic, write_text

KEPT = moses.FOLDER / f"statistics-rdkit-{rdkit.__version__}"
PART = 30_000


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of a set: fingerprints, counts of fragments and scaffolds, sums of ChemNet's features. ``+`` joins two sets."""

    bits: NDArray[np.uint8]
    fragments: Counter[str]
    scaffolds: Counter[str]
    moments: metrics.Moments

    @classmethod
    def of(cls, smiles: Sequence[str]) -> Statistics:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        mols = Molecules(smiles)  # parsed once
        counts = metrics.fragments(mols), metrics.scaffolds(mols)
        return cls(metrics.fingerprints(mols), *counts, metrics.moments(mols, device))

    def __add__(self, other: Statistics) -> Statistics:
        bits = np.concatenate((self.bits, other.bits))
        counts = self.fragments + other.fragments, self.scaffolds + other.scaffolds
        return Statistics(bits, *counts, self.moments + other.moments)

    def save(self, file: Path) -> None:
        """As an .npz without pickles."""
        arrays: dict[str, Any] = {"bits": self.bits}
        for name in ("fragments", "scaffolds"):
            counts = getattr(self, name)
            arrays |= {name: np.array(list(counts), dtype=np.str_), f"{name}_n": np.array(list(counts.values()), int)}
        arrays |= {"count": self.moments.count, "total": self.moments.total, "square": self.moments.square}
        write_atomic(file, lambda temporary: np.savez_compressed(temporary, **arrays))

    @classmethod
    def load(cls, file: Path) -> Statistics:
        with np.load(file, allow_pickle=False) as x:
            fragments, scaffolds = (
                Counter(dict(zip(x[name].tolist(), x[f"{name}_n"].tolist(), strict=True)))
                for name in ("fragments", "scaffolds")
            )
            return cls(x["bits"], fragments, scaffolds, metrics.Moments(int(x["count"]), x["total"], x["square"]))


def statistics(smiles: Sequence[str], file: Path) -> Statistics:
    """The statistics in a file, made first if there is none."""
    if not file.exists():
        Statistics.of(smiles).save(file)
    return Statistics.load(file)


def parts(name: str, smiles: Sequence[str], edges: Sequence[int]) -> Iterator[Statistics]:
    """The statistics of a reference between edges, the last part in pieces of 30,000."""
    edges = [*edges, *range(edges[-1] + PART, len(smiles), PART), len(smiles)]
    for start, stop in pairwise(edges):
        yield statistics(smiles[start:stop], KEPT / f"{name}-{start}-{stop}.npz")


def training_set(size: int | None) -> list[str]:
    """MOSES's training molecules as this RDKit writes them; six minutes the first time. size: of the first ones."""
    file = KEPT / f"train-{size or 'all'}.txt"
    if not file.exists():
        write_text(file, "\n".join(metrics.canonical(moses.smiles("train")[:size])))
    return file.read_text().splitlines()


def cell(file: Path, make: Callable[[], Any]) -> Any:
    """What is in a JSON file, made first if there is none."""
    if not file.exists():
        write_text(file, json.dumps(make()))
    return json.loads(file.read_text())
