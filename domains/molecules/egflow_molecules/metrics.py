"""Metrics of sets of molecules, by the definitions of MOSES (Polykovskiy et al. 2020, arXiv 1811.12823).

All take lists of SMILES or of RDKit's molecules, and but for `valid` leave out what is none. With G the set that is
judged and R a reference, repeats kept in both:

- `valid`, `unique`, `novelty`: shares that parse, that differ, that are not among known ones;
- `internal_diversity`: 1 − the mean Tanimoto similarity of all pairs of G, each with itself among them;
- `snn`: the mean over G of the similarity to the nearest of R;
- `frag`, `scaf`: cosine of the counts of BRICS fragments, of Bemis-Murcko scaffolds of two rings or more;
- `wasserstein`: distance of the distributions of logP, SA, QED and weight;
- `fcd`: Fréchet ChemNet distance.

What is costly of a large reference can be made once and given in its place: `fingerprints` to `snn`, `fragments` to
`frag`, `scaffolds` to `scaf`, `moments` to `fcd`, `properties` to `wasserstein`. MOSES's `Filters` is left out: its
list of medicinal-chemistry patterns is not in RDKit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from egflow_molecules._metrics_fcd import Moments, frechet, moments
from egflow_molecules._metrics_fingerprints import fingerprints, mean_similarity, nearest
from egflow_molecules._metrics_parts import cosine, fragments, scaffolds
from egflow_molecules._metrics_properties import PROPERTIES, properties, wasserstein_1
from egflow_molecules._metrics_read import MoleculeList, canonical, read

__all__ = [
    "MoleculeList",
    "Moments",
    "canonical",
    "cosine",
    "fcd",
    "fingerprints",
    "frag",
    "fragments",
    "frechet",
    "internal_diversity",
    "mean_similarity",
    "moments",
    "nearest",
    "novelty",
    "properties",
    "scaf",
    "scaffolds",
    "snn",
    "unique",
    "valid",
    "wasserstein",
    "wasserstein_1",
]

_T = TypeVar("_T", list[bool], list[str], NDArray[np.uint8])


def valid(molecules: MoleculeList) -> float:
    """The share that RDKit reads as a molecule. (An empty text is none here; MOSES takes it for one.)

    >>> valid(["CCO", "c1ccccc1", "C(", ""])
    0.5
    """
    readable = _some([mol is not None for mol in read(molecules)], "molecule")
    return sum(readable) / len(readable)


def unique(molecules: MoleculeList, k: int | None = None) -> float:
    """The share of different ones among the first k valid molecules (unique@k), or among all.

    Raises:
        ValueError: where there are fewer than k valid ones.

    >>> unique(["CCO", "OCC", "C(", "CCC", "CC"], k=3)
    0.6666666666666666
    """
    smiles = _some(canonical(molecules), "valid molecule")
    if k is not None and not 0 < k <= len(smiles):
        raise ValueError(f"unique at k={k:,} takes as many valid molecules; there are {len(smiles):,}")
    return len(set(smiles[:k])) / len(smiles[:k])


def novelty(molecules: MoleculeList, known: MoleculeList, *, known_canonical: bool = False) -> float:
    """The share of the different valid molecules that are not among the known ones.

    Args:
        molecules: the set.
        known: say what a model was trained on.
        known_canonical: known holds canonical SMILES of this RDKit (see `canonical`), and is not parsed. MOSES takes
            its training set so; it was canonical in 2020.

    >>> novelty(["CCO", "OCC", "CCC"], known=["OCC"])
    0.5
    """
    different = set(_some(canonical(molecules), "valid molecule"))
    among = {one for one in known if isinstance(one, str)} if known_canonical else set(canonical(known))
    return len(different - among) / len(different)


def internal_diversity(molecules: MoleculeList | NDArray[np.uint8], p: float = 1.0) -> float:
    """1 − mean over x of (mean over y of T(x, y)^p)^(1/p), x and y of the set; p = 2 is MOSES's IntDiv2.

    >>> internal_diversity(["CCO", "CCO"])
    0.0
    """
    bits = _bits(molecules)
    return float(1 - mean_similarity(bits, bits, p).mean())


def snn(molecules: MoleculeList | NDArray[np.uint8], reference: MoleculeList | NDArray[np.uint8]) -> float:
    """Similarity to the nearest neighbour: the mean over the set of its largest Tanimoto similarity with a reference.

    >>> snn(["CCO"], ["c1ccccc1", "OCC"])
    1.0
    """
    return float(nearest(_bits(molecules), _bits(reference)).mean())


def frag(molecules: MoleculeList | Counter[str], reference: MoleculeList | Counter[str]) -> float:
    """Cosine of the counts of BRICS fragments, 0 to 1.

    >>> frag(["CCO"], ["CCO", "OCC"])
    1.0
    """
    return cosine(*(one if isinstance(one, Counter) else fragments(one) for one in (molecules, reference)))


def scaf(molecules: MoleculeList | Counter[str], reference: MoleculeList | Counter[str]) -> float:
    """Cosine of the counts of scaffolds of two rings or more, 0 to 1; NaN where a set has none."""
    return cosine(*(one if isinstance(one, Counter) else scaffolds(one) for one in (molecules, reference)))


def wasserstein(
    molecules: MoleculeList | Mapping[str, NDArray[np.float64]],
    reference: MoleculeList | Mapping[str, NDArray[np.float64]],
) -> dict[str, float]:
    """The Wasserstein-1 distance of the distributions of logP, SA, QED and weight, each in its unit."""
    x, y = (one if isinstance(one, Mapping) else properties(one) for one in (molecules, reference))
    return {name: wasserstein_1(x[name], y[name]) for name in PROPERTIES}


def fcd(molecules: MoleculeList | Moments, reference: MoleculeList | Moments) -> float:
    """Fréchet ChemNet distance, 0 where the two look alike to ChemNet; 310 molecules a CPU-second.

    Biased up at small n: of MOSES's test molecules 1,000 drawn at random are 1.26 from the others, 5,000 are 0.257 and
    30,000 are 0.050. Print that floor beside it.

    Raises:
        ImportError: where fcd_torch is not installed, naming the command.
        ValueError: for fewer than two valid molecules in a set.
    """
    return frechet(*(one if isinstance(one, Moments) else moments(one) for one in (molecules, reference)))


def _bits(molecules: MoleculeList | NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _some(molecules if isinstance(molecules, np.ndarray) else fingerprints(molecules), "valid molecule")


def _some(values: _T, what: str) -> _T:
    if not len(values):
        raise ValueError(f"there is no {what} in the set: a share or a mean of nothing is not defined")
    return values
