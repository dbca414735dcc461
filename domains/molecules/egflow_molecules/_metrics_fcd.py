"""The Fréchet ChemNet distance (Preuer et al. 2018, doi 10.1021/acs.jcim.8b00234): two sets as a network sees them.

FCD = ‖m − m'‖² + Tr(C + C' − 2·(C·C')^½)  with means m and covariances C of ChemNet's last hidden layer, 512 numbers
for the canonical SMILES of a molecule. It is biased up by about 1/n: compare sets of one size only, beside the floor
that as many real molecules have. The network and its weights are fcd_torch's, which only this module asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from egflow_molecules._metrics_read import MoleculeList, canonical

PACKAGE = "fcd_torch==1.0.7"
_BATCH = 256
_LETTERS = 350  # ChemNet reads SMILES of one length


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over a set from which its mean and covariance follow; ``+`` joins the sums of two sets.

    Attributes:
        count: n.
        total: Σ x, (512,).
        square: Σ x·xᵀ, (512, 512).
    """

    count: int
    total: NDArray[np.float64]
    square: NDArray[np.float64]

    @classmethod
    def of(cls, x: NDArray[Any]) -> Moments:
        """The sums of rows (n, features)."""
        x = np.asarray(x, dtype=np.float64)
        return cls(len(x), x.sum(0), x.T @ x)

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.square + other.square)

    @property
    def mean(self) -> NDArray[np.float64]:
        """(512,)."""
        return self.total / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """(512, 512), by n − 1."""
        return (self.square - np.outer(self.mean, self.total)) / (self.count - 1)


def moments(molecules: MoleculeList, device: str = "cpu") -> Moments:
    """The sums over the valid molecules of what ChemNet makes of them.

    Raises:
        ImportError: where fcd_torch is not installed, naming the command.
    """
    model, one_hot = _chemnet(device)
    smiles = canonical(molecules)
    sums = Moments.of(np.zeros((0, 512)))
    with torch.inference_mode():
        for start in range(0, len(smiles), _BATCH):
            letters = np.stack([one_hot(one, _LETTERS) for one in smiles[start : start + _BATCH]]).astype(np.float32)
            x = torch.from_numpy(letters / letters.shape[2]).to(device)
            sums += Moments.of(model(x.transpose(1, 2)).cpu().numpy())
    return sums


def frechet(one: Moments, other: Moments) -> float:
    """The squared Fréchet distance of the normal distributions with these moments.

    Tr (C·C')^½ is the sum of the singular values of C^½·C'^½: no root of a matrix that is not symmetric.

    Raises:
        ValueError: for fewer than two molecules in a set.
    """
    if min(one.count, other.count) < 2:
        raise ValueError(f"a covariance takes two molecules at least; got {one.count} and {other.count} valid ones")
    cross = np.linalg.svd(_root(one.covariance) @ _root(other.covariance), compute_uv=False).sum()
    gap = one.mean - other.mean
    return float(gap @ gap + np.trace(one.covariance) + np.trace(other.covariance) - 2 * cross)


def _root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _chemnet(device: str) -> tuple[torch.nn.Module, Any]:
    """ChemNet, and the function that writes a SMILES as rows of 0 and 1."""
    try:
        package, text = import_module("fcd_torch"), import_module("fcd_torch.utils")
    except ImportError as error:
        raise ImportError(f"FCD takes ChemNet's weights:  pip install --no-deps {PACKAGE}  ({error})") from error
    return package.FCD().model.to(device), text.get_one_hot
