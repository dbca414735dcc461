"""QIPO and its peers on data made here, in one harness: the same rows, networks' sizes, steps and evaluation.

Data: 100,000 transitions (20,000 of Pendulum) of `python -m egflow_offline_rl.make_data`, seed 0, made first if there
are none. Each method is trained from three seeds and evaluated in 20 episodes from fixed resets, last networks, never
the best; `return` and `normalized` (by the data's own reference scores, x 100) are mean ± standard deviation of seeds.
`data return` is the mean of the data's episodes. Scores on these data are not D4RL's, and stand in no table with them.

Behaviour flow 8,000 steps of 256 rows; critics, td3bc, iql, fql and guided_actor 15,000 updates of 256; policies 6,000
steps. The settings were chosen on seed 0 of Hopper and Pendulum medium-replay, which the table does not hold. beta is 4
in units of 1/σ_Q (`normalize=global_std`) for `qipo`; as published (3, at every renewal) for `qipo_ot`, `qipo_diff` and
`qgpo`. `beta` in the table is the total asked for, on Q's own scale, `achieved` what the densities show.
`σ_Q` is the spread of Q within a support at the end, `Q to return` the correlation of Q with the returns of the data.
`best of 8` acts by the best of eight draws by Q. Cells marked "not run" were not, for want of time. What a run costs is
measured by `suite=offline_rl_cost`.

Cells are kept in `offline_rl_cells/`: stopped and started again, it goes on.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _offline_rl_cell import BETA, Cell, result

TITLE = "Offline RL: QIPO and its peers on data made here"
DATA = [
    ("Hopper-v5", "medium-replay"),
    ("Pendulum-v1", "medium-replay"),
    ("Walker2d-v5", "medium-replay"),
    ("HalfCheetah-v5", "medium-replay"),
    ("Hopper-v5", "medium"),
    ("Hopper-v5", "medium-expert"),
    ("HalfCheetah-v5", "medium"),
    ("HalfCheetah-v5", "medium-expert"),
    ("Walker2d-v5", "medium"),
    ("Walker2d-v5", "medium-expert"),
    ("PointMaze_Medium-v3", "medium"),
]
METHODS: dict[str, dict[str, Any]] = {
    "bc": {"beta": 0.0},
    "qipo": {"beta": BETA, "changed": {"normalize": "global_std"}},
    "qipo_ot": {"beta": 3.0},
    "qipo_diff": {"beta": 3.0},
    "td3bc": {"beta": 0.0},
    "iql": {"beta": 0.0},
    "fql": {"beta": 0.0},
    "guided_actor": {"beta": BETA, "changed": {"normalize": "global_std"}},
    "qgpo": {"beta": 3.0},
}
SEEDS = (1, 2, 3)
# What was run, in the order it is run in; the rest is marked.
FIRST = ("bc", "qipo", "qipo_ot", "qipo_diff", "td3bc", "iql")
PLAN: list[tuple[tuple[str, str], str, tuple[int, ...]]] = [
    *[(DATA[k], method, SEEDS) for k in (0, 1) for method in FIRST],
]


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each data set and method. quick: two methods on a handful of rows."""
    plan = [(("Pendulum-v1", "medium-replay"), method, (0,)) for method in ("bc", "qipo")] if quick else PLAN
    cells = out / "offline_rl_cells"
    for data in [("Pendulum-v1", "medium-replay")] if quick else DATA:
        left = []
        for method in METHODS:
            seeds = [seed for where, name, some in plan if where == data and name == method for seed in some]
            made = [result(Cell(data, method, method, seed, **METHODS[method]), cells, quick) for seed in seeds]
            if made:
                yield {"data": " ".join(data), "method": method, "seeds": len(made)} | row(made)
            else:
                left.append(method)
        if left and not quick:
            yield {"data": " ".join(data), "method": ", ".join(left), "seeds": "not run"}


def row(made: list[dict[str, Any]]) -> dict[str, object]:
    """Cells of several seeds as one row."""

    def mean(key: str) -> float | None:
        known = [one[key] for one in made if one[key] is not None]
        return statistics.mean(known) if known else None

    def spread(key: str, digits: int) -> str | None:
        known = [one[key] for one in made if one[key] is not None]
        if not known:
            return None
        around = f" ± {statistics.stdev(known):.{digits}f}" if len(known) > 1 else ""
        return f"{statistics.mean(known):.{digits}f}{around}"

    return {
        "return": spread("return", 0),
        "normalized": spread("normalized", 1),
        "data return": round(made[0]["data return"]),
        "best of 8": spread("best of 8", 0),
        "beta": mean("beta"),
        "achieved": mean("achieved beta"),
        "σ_Q": mean("sigma_q"),
        "Q to return": mean("q to return"),
    }
