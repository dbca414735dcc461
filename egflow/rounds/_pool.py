"""All that a search has evaluated, in the order of the calls."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from egflow._files import write_atomic
from egflow.energy import EnergyValues

_RANK = 0.01  # k of the weights 1 / (k·N + rank): half of all draws are among the best tenth


class Editor(Protocol):
    """What a domain knows of its sequences; see `egflow.domain.DomainSpec`.

    Attributes:
        edits: whether `edit` makes anything; else all of a round is drawn from the flow.
    """

    edits: bool

    def keys(self, x: Tensor) -> list[str | None]:
        """What each row (n, length) stands for: rows of one key are one item, asked for once; None is no item."""
        ...

    def edit(self, parents: Tensor, n: int, seed: int) -> Tensor:
        """Up to n new rows made from parents (k, length), the earlier the likelier; maybe none."""
        ...


class Rows:
    """The `Editor` of sequences that nothing is known of: each is itself, and none is edited."""

    edits = False

    def keys(self, x: Tensor) -> list[str | None]:
        """The ids, as words."""
        return [" ".join(map(str, row)) for row in x.tolist()]

    def edit(self, parents: Tensor, n: int, seed: int) -> Tensor:
        """None."""
        return parents[:0]


@dataclass(slots=True)
class Pool:
    """Items that were evaluated, one call each, in the order of the calls.

    Attributes:
        length: of a row.
        key: of each.
        x: (N, length) long rows of the user's ids, on the CPU.
        energy: (N,) float64, +inf where forbidden.
        log_p: (N,) float64 log-likelihood under p.
        round: (N,) long, the number of the round that asked, from 1.
        edited: (N,) bool, whether it was made by an edit rather than drawn from the flow.
        failed, cached: calls that failed, or were spared by a cache.
        failure: the first failure's words, or None.
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
    cached: int = 0
    failure: str | None = None
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

    def add(self, key: list[str], x: Tensor, values: EnergyValues, log_p: Tensor, number: int, edited: bool) -> None:
        """Rows of new keys with their energies, asked about in round ``number``."""
        self._append(
            key, x, values.energy, log_p.double(), torch.full((len(x),), number), torch.full((len(x),), edited)
        )
        self.failed += values.failed
        self.cached += values.cached
        self.failure = self.failure or values.failure

    def take(self, other: Pool, places: list[int]) -> None:
        """Items of another pool, with all its counts."""
        key = [other.key[place] for place in places]
        fields = (other.x, other.energy, other.log_p, other.round, other.edited)
        self._append(key, *(one[places] for one in fields))
        self.failed, self.cached, self.failure = other.failed, other.cached, other.failure

    def _append(self, key: list[str], *fields: Tensor) -> None:
        self.seen |= {one: len(self.key) + i for i, one in enumerate(key)}
        self.key += key
        mine = (self.x, self.energy, self.log_p, self.round, self.edited)
        joined = (torch.cat(pair) for pair in zip(mine, fields, strict=True))
        self.x, self.energy, self.log_p, self.round, self.edited = joined

    def best(self, sign: float = 1.0) -> Tensor:
        """Places of the allowed items by sign·energy, the lowest first; of equals the earlier first."""
        allowed = self.energy.isfinite().nonzero()[:, 0]
        return allowed[(sign * self.energy[allowed]).argsort(stable=True)]

    def rank_shares(self, sign: float = 1.0) -> tuple[Tensor, Tensor]:
        """`best`, and the weight of each of them, ∝ 1 / (k·N + rank) (Tripp et al. 2020, arXiv 2006.09191, eq. 2)."""
        order = self.best(sign)
        return order, 1 / (_RANK * len(order) + torch.arange(len(order), dtype=torch.float64))

    def save(self, file: Path, facts: Mapping[str, Any]) -> None:
        """Write the pool, whole or not at all, with what it is a function of."""
        words = np.frombuffer(json.dumps(self.key).encode(), dtype=np.uint8).copy()
        tensors = {"x": self.x.to(torch.int32), "energy": self.energy, "log_p": self.log_p, "round": self.round}
        tensors |= {"edited": self.edited, "key": torch.from_numpy(words)}
        counts = {"failed": self.failed, "cached": self.cached, "failure": self.failure}
        metadata = {"facts": json.dumps(dict(facts)), "counts": json.dumps(counts)}
        write_atomic(file, lambda temporary: save_file(tensors, temporary, metadata))

    @classmethod
    def load(cls, file: Path, length: int, facts: Mapping[str, Any]) -> Pool:
        """A pool from its file; an empty one where there is none, or it is damaged.

        Raises:
            ValueError: for the file of another search, naming what differs.
        """
        try:
            with safe_open(file, framework="pt") as stored:
                metadata = stored.metadata()
                found = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
            was, counts = json.loads(metadata["facts"]), json.loads(metadata["counts"])
            key = json.loads(found["key"].numpy().tobytes())
            parts = (found["x"].long(), found["energy"], found["log_p"], found["round"], found["edited"])
            pool = cls(length, key, *parts, **counts)
            whole = isinstance(was, dict) and all(isinstance(one, str) for one in key)
            if not whole or {len(part) for part in (*parts, pool.x)} != {len(key)} or bool(pool.energy.isnan().any()):
                return cls(length)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError):
            return cls(length)
        changed = sorted(name for name in {*was, *facts} if was.get(name) != facts.get(name))
        if changed:
            raise ValueError(f"resume: the search in {file.parent} was made with another {', '.join(changed)}")
        return pool
