"""Sequences as points, so that the same distance, cells and nearest neighbours serve tokens.

    f(x) = [ Σ_i a(x_i),  Σ_i b(x_i, x_{i+1}),  Σ_i c(i, x_i),  length ]

a, b and c look up standard normal vectors that never change (by a hash where the table would be too large), as in
count sketches of n-grams (Weinberger et al. 2009). Two different sequences are two different points but for unlucky
hashes, so on a small space the distribution of f(x) tells that of x; on a large one it tells composition, local order
and place. Columns are scaled by their standard deviation over the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow._rows import mean_and_std

COLUMNS = 48
_TOKEN, _PAIR = 12, 16  # columns of a and b; c has what is left beside the length (19 or 20)
_ROWS = 2**16
_SEED = 2208
_CHUNK = 2**14


@dataclass(frozen=True, slots=True, eq=False)
class TokenView:
    """Features of sequences, on the scale of one data set. Make it with `token_view`."""

    shift: Tensor
    scale: Tensor
    pad_id: int | None

    def __call__(self, x: Tensor) -> Tensor:
        """(n, length) long -> (n, 48) float32."""
        return (_raw(x, self.pad_id) - self.shift) / self.scale


def token_view(data: Tensor, pad_id: int | None = None) -> TokenView:
    """The view of data (N, length) long; a length is a column of its own where the padding's id is given."""
    shift, scale = mean_and_std(_raw(rows, pad_id) for rows in data.split(_ROWS))
    # a column that the data hold constant (one length, say) keeps its own scale: samples may differ there
    return TokenView(shift.float(), torch.where(scale > 1e-6 * (1 + shift.abs()), scale, 1.0).float(), pad_id)


def same_rows(x: Tensor) -> Tensor:
    """(n,) long: one number for all rows of x (n, length) that are equal, counted from 0."""
    generator = torch.Generator().manual_seed(_SEED)
    odd = torch.randint(-(2**62), 2**62, (x.shape[1],), generator=generator) * 2 + 1
    key = torch.cat([((part + 1) * odd).sum(1) for part in x.split(_CHUNK)])  # 64 bits, wrapping: no two rows meet
    return key.unique(return_inverse=True)[1]


def lengths(x: Tensor, pad_id: int | None) -> Tensor:
    """(n,) long: tokens of each row that are not padding."""
    return torch.full((len(x),), x.shape[1]) if pad_id is None else (x != pad_id).sum(1)


def _raw(x: Tensor, pad_id: int | None) -> Tensor:
    place = COLUMNS - _TOKEN - _PAIR - (pad_id is not None)
    generator = torch.Generator().manual_seed(_SEED)
    of_token, of_pair, of_place = (torch.randn(_ROWS, k, generator=generator) for k in (_TOKEN, _PAIR, place))
    at = torch.arange(x.shape[1])
    parts = []
    for rows in x.split(_CHUNK):
        found = [_summed(rows, of_token), torch.zeros(len(rows), _PAIR), _summed(at * 2**24 + rows, of_place)]
        if x.shape[1] > 1:
            found[1] = _summed(rows[:, :-1] * 2**24 + rows[:, 1:], of_pair)
        if pad_id is not None:
            found.append(lengths(rows, pad_id).float()[:, None])
        parts.append(torch.cat(found, 1))
    return torch.cat(parts)


def _summed(key: Tensor, vectors: Tensor) -> Tensor:
    """Sum of the vectors (2^16, columns) that a row's keys (n, k) hash to, (n, columns)."""
    mixed = (key + 1) * -7046029254386353131  # 2^64 divided by the golden ratio: Fibonacci hashing, wrapping
    return torch.nn.functional.embedding_bag((mixed >> 40) & (_ROWS - 1), vectors, mode="sum")
