"""Fingerprints of many molecules, and Tanimoto similarities of all pairs of two sets, in blocks.

T(x, y) = |x ∩ y| / (|x| + |y| − |x ∩ y|) of the bits that are set. The intersections of a block are one product of
matrices of 0 and 1, in bfloat16 where the CPU has it: exact up to 256 bits. Memory is a block's, whatever the sets.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import BitVectToBinaryText
from torch import Tensor

from egflow_molecules._metrics_read import MoleculeList, read_valid
from egflow_molecules._rdkit import quiet

BITS = 1024
RADIUS = 2
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(1, dtype=np.uint8)
_ROWS, _COLUMNS = 2048, 4096  # of a block: 32 MB in float32


def fingerprints(molecules: MoleculeList) -> NDArray[np.uint8]:
    """Morgan fingerprints (radius 2, 1,024 bits) of the valid molecules, 8 bits a byte: (n, 128) uint8.

    >>> fingerprints(["CCO", "c1ccccc1"]).shape
    (2, 128)
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    with quiet():
        text = b"".join(BitVectToBinaryText(generator.GetFingerprint(mol)) for mol in read_valid(molecules))
    return np.frombuffer(text, np.uint8).reshape(-1, BITS // 8)


def nearest(bits: NDArray[np.uint8], reference: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The Tanimoto similarity of each fingerprint with the nearest of a reference: (n,).

    T grows with the intersection where |x| and |y| are given: so the largest intersection with each group of
    references with as many bits is all that is needed of it.

    Args:
        bits, reference: (n, 128) and (m, 128), of `fingerprints`.

    Raises:
        ValueError: for an empty reference.
    """
    if not len(reference):
        raise ValueError("there is no nearest molecule in an empty reference: give at least one valid molecule")
    kind = _kind(bits, reference)
    size = _size(reference)
    order = np.argsort(size, kind="stable")
    edges = np.flatnonzero(np.diff(size[order], prepend=-1, append=BITS + 1))
    best = [np.zeros(0)]
    for rows in _blocks(len(bits), _ROWS):
        x, n = _unpack(bits[rows], kind), torch.from_numpy(_size(bits[rows]))
        block = torch.zeros(len(x), dtype=torch.float64)
        for start, stop in pairwise(edges.tolist()):
            m = int(size[order[start]])
            for part in _blocks(stop - start, _COLUMNS):
                both = (x @ _unpack(reference[order[start:stop][part]], kind).T).amax(1).double()
                block = torch.maximum(block, _tanimoto(both, n + m))
        best.append(block.numpy())
    return np.concatenate(best)


def mean_similarity(bits: NDArray[np.uint8], reference: NDArray[np.uint8], p: float = 1.0) -> NDArray[np.float64]:
    """For each fingerprint (mean over the reference of T^p)^(1/p): (n,)."""
    kind = _kind(bits, reference)
    means = [np.zeros(0)]
    for rows in _blocks(len(bits), _ROWS):
        x, n = _unpack(bits[rows], kind), torch.from_numpy(_size(bits[rows])).float()
        total = torch.zeros(len(x), dtype=torch.float64)
        for columns in _blocks(len(reference), _COLUMNS):
            m = torch.from_numpy(_size(reference[columns])).float()
            similar = _tanimoto((x @ _unpack(reference[columns], kind).T).float(), n[:, None] + m)
            total += (similar if p == 1 else similar**p).sum(1, dtype=torch.float64)
        means.append((total / len(reference)).numpy() ** (1 / p))
    return np.concatenate(means)


def _tanimoto(both: Tensor, total: Tensor) -> Tensor:
    """both / (total − both), 1 where neither has a bit."""
    return (both / (total - both)).nan_to_num_(nan=1.0)


def _kind(*sets: NDArray[np.uint8]) -> torch.dtype:
    """What intersections are computed in: bfloat16 counts exactly to 256."""
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    few = all(not len(bits) or _size(bits).max() <= 256 for bits in sets)
    return torch.bfloat16 if fast and few else torch.float32


def _size(bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many bits are set, (n,)."""
    return _ONES[bits].sum(1, dtype=np.int64)


def _unpack(bits: NDArray[np.uint8], kind: torch.dtype) -> Tensor:
    return torch.from_numpy(np.unpackbits(bits, axis=1)).to(kind)


def _blocks(n: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
