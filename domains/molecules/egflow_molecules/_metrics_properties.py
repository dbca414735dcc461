"""Distributions of a few properties of molecules, and how far apart two of them are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rdkit.Chem import QED

from egflow_molecules._metrics_read import MoleculeList, read_valid
from egflow_molecules._rdkit import quiet
from egflow_molecules.energies._properties import sa_score

PROPERTIES = ("logP", "SA", "QED", "weight")


def properties(molecules: MoleculeList) -> dict[str, NDArray[np.float64]]:
    """logP (Crippen), SA (synthetic accessibility, 1 easy to 10), QED and weight (Dalton) of the valid molecules.

    >>> {name: round(float(x[0]), 2) for name, x in properties(["CCO"]).items()}
    {'logP': -0.0, 'SA': 1.98, 'QED': 0.41, 'weight': 46.07}
    """
    rows = []
    with quiet():
        for mol in read_valid(molecules):
            known = QED.properties(mol)  # logP and weight among them
            rows.append((known.ALOGP, sa_score(mol), QED.qed(mol, qedProperties=known), known.MW))
    return dict(zip(PROPERTIES, np.array(rows, dtype=np.float64).reshape(-1, len(PROPERTIES)).T, strict=True))


def wasserstein_1(x: ArrayLike, y: ArrayLike) -> float:
    """∫ |F_x − F_y| of the distribution functions of two samples, in the samples' unit.

    >>> wasserstein_1([0, 1, 3], [5, 6, 8])
    5.0
    """
    x, y = np.sort(np.asarray(x, dtype=np.float64)), np.sort(np.asarray(y, dtype=np.float64))
    if not len(x) or not len(y):
        raise ValueError("the distance of a distribution from nothing is not defined: give both sets a value")
    at = np.sort(np.concatenate((x, y)))
    gap = np.searchsorted(x, at[:-1], "right") / len(x) - np.searchsorted(y, at[:-1], "right") / len(y)
    return float(np.abs(gap) @ np.diff(at))
