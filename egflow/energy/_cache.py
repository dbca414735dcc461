"""A persistent store of energies: one sqlite file in a folder, key -> float64.

Only what an energy returned is stored, finite or +inf; failures never are. Two processes may read and write at once:
every write is one short transaction that takes the lock before it starts, and waits for it.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from egflow.energy._errors import EnergyError

FILE = "energies.sqlite"
TABLE = "CREATE TABLE energy (key BLOB PRIMARY KEY, value REAL) WITHOUT ROWID"
WAIT = 60.0  # seconds for another process's transaction
AT_ONCE = 500  # keys in one query; sqlite's own limit is 999 in old versions


def item_keys(identity: str, x: Tensor, condition: Tensor | None) -> list[bytes]:
    """A 16-byte key for each row: a hash of the energy's identity, and of the item's and the condition's bytes."""
    head = repr((identity, *(layout(part) for part in (x, condition)))).encode()
    start = hashlib.blake2b(head, digest_size=16)
    columns = [rows(part) for part in (x, condition) if part is not None]
    keys = []
    for index in range(x.shape[0]):
        key = start.copy()
        for column in columns:
            key.update(column[index].tobytes())
        keys.append(key.digest())
    return keys


def layout(part: Tensor | None) -> tuple[str, tuple[int, ...]] | None:
    return None if part is None else (str(part.dtype), tuple(part.shape[1:]))


def rows(part: Tensor) -> np.ndarray:
    """The bytes of each row, (batch, bytes)."""
    flat = part.detach().cpu().reshape(part.shape[0], -1).contiguous()
    return flat.view(torch.uint8).numpy()


@contextmanager
def opened(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store of a folder, made where there is none.

    Raises:
        EnergyError: naming the folder where it cannot be made, read or written, or holds something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / FILE, timeout=WAIT, isolation_level=None)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute(TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
            if connection.execute("SELECT sql FROM sqlite_master").fetchall() != [
                (TABLE,)
            ]:  # a view could run for ever
                raise sqlite3.DatabaseError(f"{FILE} holds something else than one table of energies")
            yield connection
        finally:
            connection.close()
    except (sqlite3.Error, OSError) as error:
        raise EnergyError(f"cache={folder}: {error}; give a folder that can be written, or leave cache= out") from error


def look_up(folder: Path, keys: list[bytes]) -> dict[bytes, float]:
    """The stored values of those keys that have one."""
    found: dict[bytes, float] = {}
    with opened(folder) as connection:
        for lo in range(0, len(keys), AT_ONCE):
            part = keys[lo : lo + AT_ONCE]
            marks = ",".join("?" * len(part))
            found.update(connection.execute(f"SELECT key, value FROM energy WHERE key IN ({marks})", part).fetchall())
        if not all(isinstance(value, float) and value > -np.inf for value in found.values()):
            raise sqlite3.DatabaseError(f"{FILE} holds values that are no energies")
    return found


def store(folder: Path, pairs: list[tuple[bytes, float]]) -> None:
    """Add values in one transaction; NaN and −inf are left out, a key that has a value keeps it."""
    good = [(key, value) for key, value in pairs if value > -np.inf]  # False for NaN
    if not good:
        return
    with opened(folder) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT OR IGNORE INTO energy VALUES (?, ?)", good)
        connection.execute("COMMIT")
