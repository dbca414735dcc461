"""The energy of suite=soak. It stands in a module of its own, where workers find it."""

from __future__ import annotations

import hashlib
import math
import time

from torch import Tensor

FATES = ("exception", "hang", "nan", "forbidden", "finite")


def fate(item: Tensor) -> str:
    """What becomes of an item (2,), by a hash of its bytes: 1 % each of the failures, 2 % forbidden."""
    share = int.from_bytes(hashlib.blake2b(item.numpy().tobytes(), digest_size=4).digest()) / 2**32
    return FATES[0 if share < 0.01 else 1 if share < 0.02 else 2 if share < 0.03 else 3 if share < 0.05 else 4]


def value(item: Tensor) -> float:
    """E(x) = x_0 / 2."""
    return float(item[0]) / 2


def flaky(item: Tensor) -> float:
    """The energy of one item, or what its fate is."""
    found = fate(item)
    if found == "exception":
        raise ArithmeticError("one in a hundred")
    if found == "hang":
        time.sleep(3600)
    return {"nan": math.nan, "forbidden": math.inf}.get(found, value(item))
