"""Checks of tokens at the boundary, each with one clear line."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from egflow._kinds import as_tensor, shown
from egflow.path import Vocabulary


def check_vocabulary(vocab_size: Any, pad_id: Any) -> Vocabulary:
    """The ids of a user's tokens. Raises ValueError for a size below 1, or ids that are no whole numbers."""
    if isinstance(vocab_size, bool) or not isinstance(vocab_size, int) or vocab_size < 1:
        raise ValueError(f"vocab_size must be a whole number of at least 1, got {shown(vocab_size)}")
    if pad_id is not None and (isinstance(pad_id, bool) or not isinstance(pad_id, int)):
        raise ValueError(f"pad_id must be a whole number, or None where all rows are full, got {shown(pad_id)}")
    if max(vocab_size, abs(pad_id or 0)) >= 2**62:
        raise ValueError(
            f"vocab_size and pad_id must be ids that fit 64 bits, got {shown(vocab_size)}, {shown(pad_id)}"
        )
    if vocab_size == 1 and pad_id == 0:
        raise ValueError("vocab_size=1 with pad_id=0: no token is left beside padding")
    return Vocabulary(vocab_size, pad_id)


def check_tokens(x: Any, vocabulary: Vocabulary, name: str = "x", *, least: int = 1) -> Tensor:
    """Tokens (N, length) as long: ids 0 … vocab_size − 1, padding at the end of a row only.

    Raises:
        ValueError: for another dtype or shape, too few rows, ids outside the vocabulary, or a token after padding.
    """
    x = as_tensor(name, x, "a long tensor (N, length)")
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise ValueError(
            f"{name} must hold tokens, a long tensor (N, length), where vocab_size is given; got {x.dtype}"
        )
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(f"{name} must have shape (N, length), got {tuple(x.shape)}")
    if len(x) < least:
        raise ValueError(f"{name} must hold at least {least} rows, got {len(x)}")
    x = x.detach().long()
    padding = torch.zeros_like(x, dtype=torch.bool) if vocabulary.pad_id is None else x == vocabulary.pad_id
    outside = ~padding & ((x < 0) | (x >= vocabulary.size))
    if bool(outside.any()):
        row, column = (int(i) for i in outside.nonzero()[0])
        also = f", or pad_id={vocabulary.pad_id}" if vocabulary.pad_id is not None else "; is it padding? give pad_id="
        raise ValueError(
            f"{name} must hold tokens 0 … {vocabulary.size - 1} (vocab_size={vocabulary.size}){also}; "
            f"{name}[{row}, {column}] is {int(x[row, column])}"
        )
    late = padding[:, :-1] & ~padding[:, 1:]
    if bool(late.any()):
        row, column = (int(i) for i in late.nonzero()[0])
        raise ValueError(
            f"{name} may hold padding (pad_id={vocabulary.pad_id}) at the end of a row only; "
            f"{name}[{row}, {column + 1}] is a token after padding"
        )
    return x


def check_fixed(fixed: Any, n: int, length: int, vocabulary: Vocabulary, path: str) -> Tensor:
    """What is fixed of a sample, as ids inside (n, length), and MASK where it is free (−1).

    Raises:
        ValueError: for another shape, ids outside the vocabulary, a token after padding, a path that cannot be told
            what is fixed, or (sequential) anything fixed after what is free.
    """
    fixed = as_tensor("fixed", fixed, f"a long tensor ({length},) or ({n}, {length})")
    if fixed.is_floating_point() or fixed.dtype == torch.bool or tuple(fixed.shape) not in ((length,), (n, length)):
        raise ValueError(
            f"fixed must be long of shape ({length},) or ({n}, {length}), with -1 where a position is free; "
            f"got {fixed.dtype} {tuple(fixed.shape)}"
        )
    if path == "uniform":
        raise ValueError("fixed positions need path 'masked' (or 'sequential', for a prefix), this flow is 'uniform'")
    if vocabulary.pad_id == -1:
        raise ValueError("fixed marks free positions by -1, which is this flow's pad_id: fit it with another pad_id")
    fixed = fixed.long().expand(n, length)
    free = fixed == -1
    if path == "sequential" and bool((free[:, :-1] & ~free[:, 1:]).any()):
        raise ValueError("on path 'sequential' only a prefix can be fixed: use a flow of path 'masked' for infilling")
    shown = check_tokens(_without_free(fixed, free, vocabulary), vocabulary, "fixed")
    return vocabulary.encode(shown).masked_fill(free, vocabulary.own)


def _without_free(fixed: Tensor, free: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The free positions as some token, so that what is fixed can be checked as any row: padding once it began."""
    token = next(i for i in (0, 1) if i != vocabulary.pad_id)
    filled = fixed.masked_fill(free, token)
    if vocabulary.pad_id is None:
        return filled
    padded = ((fixed == vocabulary.pad_id) & ~free).cummax(1).values
    return torch.where(padded & free, vocabulary.pad_id, filled)
