"""Rows of data that may lie in a file larger than memory: gathered, and prepared, only where they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

_NUMBERS = 2**22  # a chunk's, when all rows are gone through


class Rows:
    """The rows ``prepare(x[index])`` of a tensor, as a sequence that is indexed by tensors and slices.

    Args:
        x: (N, *event), in memory or over a memory-mapped file.
        index: (n,) long, the rows meant; None for all.
        prepare: (k, *event) -> (k, *shape), row by row alike; None leaves them as they are.
        device: where rows are moved to before they are prepared; None leaves them where x is.

    Example:
        >>> rows = Rows(torch.arange(10.0)[:, None], torch.tensor([2, 5, 7]), lambda x: 2 * x)
        >>> rows[torch.tensor([0, 2])].flatten().tolist(), rows.shape
        ([4.0, 14.0], (3, 1))
    """

    def __init__(
        self,
        x: Tensor,
        index: Tensor | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._x, self._prepare, self.device = x, prepare, device or x.device
        self._index = None if index is None else index.to(x.device)
        self.shape = (len(x) if index is None else len(index), *self[:1].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        if isinstance(index, Tensor):
            index = index.to(self._x.device)
        rows = self._x[index if self._index is None else self._index[index]].to(self.device)
        return rows if self._prepare is None else self._prepare(rows)

    def at(self, index: Tensor) -> Rows:
        """The part at index (n,), long or bool; nothing is gathered."""
        index = index.to(self._x.device)
        if self._index is not None:
            index = self._index[index]
        elif index.dtype == torch.bool:
            index = index.nonzero().squeeze(1)
        return Rows(self._x, index, self._prepare, self.device)

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows in order, at most ``size`` at a time."""
        for low in range(0, len(self), size):
            yield self[low : low + size]


def chunks(x: Tensor | Rows) -> Iterator[Tensor]:
    """The rows of x (N, *event) in order, some million numbers at a time: what to go through all data by."""
    return iter(x.split(max(1, _NUMBERS // max(1, x[:1].numel()))))


def mean_and_std(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over rows (k, c, *rest) that come in parts, per c: two (c, 1, …) float64 tensors.

    Parts are joined by the pairwise rule of Chan, Golub and LeVeque (1983), which loses no digits to a large mean.
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        over = (0, *range(2, part.ndim))
        part = part.double()
        n, own = part.numel() // part.shape[1], part.mean(over, keepdim=True)[0]
        gap = own - mean
        squares = squares + (part - own).square().sum(over, keepdim=True)[0] + gap.square() * (count * n / (count + n))
        mean = mean + gap * (n / (count + n))
        count += n
    return mean, (squares / (count - 1)).sqrt()
