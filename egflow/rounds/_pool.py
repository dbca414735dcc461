"""All that a search has evaluated, in the order of the calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from egflow._files import write_atomic

_RANK = 0.01  # k of the weights 1 / (k·N + rank): half of all draws are among the best tenth


class Editor(Protocol):
    """What a domain knows of its sequences; see `egflow.domain.DomainSpec`."""

    def keys(self, x: Tensor) -> list[str | None]:
        """What each row (n, length) stands for: rows of one key are one item, asked for once; None is no item."""
        ...

    def edit(self, parents: Tensor, n: int, seed: int) -> Tensor:
        """Up to n new rows made from parents (k, length), the earlier the likelier; maybe none."""
        ...


class Rows:
    """The `Editor` of sequences that nothing is known of: each is itself, and none is edited."""

    def keys(self, x: Tensor) -> list[str | None]:
        """The ids, as words."""
        return [" ".join(map(str, row)) for row in x.tolist()]

    def edit(self, parents: Tensor, n: int, seed: int) -> Tensor:
        """None."""
        return parents[:0]


@dataclass(slots=True)
class Pool:
    """Items evaluated so far, one call each.

    Attributes:
        length: of a row.
        key: of each.
        x: (N, length) long rows of the user's ids, on the CPU.
        energy: (N,) float64, +inf where forbidden.
        log_p: (N,) float64 log-likelihood under p.
        round: (N,) long, the number of the round that asked, from 1.
        edited: (N,) bool, whether it was made by an edit rather than drawn from the flow.
        failed: calls that failed.
        seen: the place of each key.
    """

    length: int
    key: list[str] = field(default_factory=list)
    x: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))
    energy: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    log_p: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    round: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    edited: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    failed: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.x = self.x.reshape(-1, self.length)
        self.seen = {key: i for i, key in enumerate(self.key)}

    def __len__(self) -> int:
        return len(self.key)

    def new(self, keys: list[str | None], most: int) -> list[int]:
        """Places of the first ``most`` keys that are items, not in the pool, and not twice."""
        places: dict[str, int] = {}
        for place, key in enumerate(keys):
            if key is not None and key not in self.seen and key not in places:
                places[key] = place
        return list(places.values())[: max(most, 0)]

    def add(self, key: list[str], x: Tensor, energy: Tensor, log_p: Tensor, number: int, edited: Tensor) -> None:
        """Rows of new keys, asked for in round ``number``."""
        self.seen |= {one: len(self.key) + i for i, one in enumerate(key)}
        self.key += key
        self.x = torch.cat([self.x, x])
        self.energy = torch.cat([self.energy, energy.double()])
        self.log_p = torch.cat([self.log_p, log_p.double()])
        self.round = torch.cat([self.round, torch.full((len(x),), number)])
        self.edited = torch.cat([self.edited, edited])

    def upto(self, number: int) -> Pool:
        """The pool as it was after a round."""
        n = int((self.round <= number).sum())
        parts = (self.x[:n], self.energy[:n], self.log_p[:n], self.round[:n], self.edited[:n])
        return Pool(self.length, self.key[:n], *parts, failed=self.failed)

    def best(self, sign: float = 1.0) -> Tensor:
        """Places of the allowed items by sign·energy, the lowest first; of equals the earlier first."""
        allowed = self.energy.isfinite().nonzero()[:, 0]
        return allowed[(sign * self.energy[allowed]).argsort(stable=True)]

    def rank_shares(self, sign: float = 1.0) -> tuple[Tensor, Tensor]:
        """`best`, and the weight of each of them, ∝ 1 / (k·N + rank) (Tripp et al. 2020, arXiv 2006.09191, eq. 2)."""
        order = self.best(sign)
        return order, 1 / (_RANK * len(order) + torch.arange(len(order), dtype=torch.float64))

    def save(self, file: Path) -> None:
        """Write the pool, whole or not at all."""
        words = "\n".join(self.key).encode()
        tensors = {"x": self.x.to(torch.int32), "energy": self.energy, "log_p": self.log_p, "round": self.round}
        tensors |= {"edited": self.edited, "key": torch.tensor(list(words), dtype=torch.uint8)}
        tensors["failed"] = torch.tensor(self.failed)
        write_atomic(file, lambda temporary: save_file(tensors, temporary))

    @classmethod
    def load(cls, file: Path, length: int) -> Pool:
        """A pool from its file; an empty one where there is none, or it is damaged."""
        try:
            found = load_file(file)
            key = bytes(found["key"].tolist()).decode().split("\n") if len(found["x"]) else []
            parts = (found["x"].long(), found["energy"], found["log_p"], found["round"], found["edited"])
            return cls(length, key, *parts, failed=int(found["failed"]))
        except (OSError, KeyError, ValueError, SafetensorError):
            return cls(length)
