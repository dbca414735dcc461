"""How beta is spent: renewal as published, rounds of a fixed total, and one shot, at equal total beta and equal steps.

All start from the same behaviour and use the same frozen critic (those of the suite `offline_rl`); beta is on Q's own
scale. `renewal` spends a quarter of the total at each of four renewals, so that its product is the total too; `renewal,
beta each` is the published use, the total at every renewal. `rounds` are of target_ess .5, at most four. `achieved` is
the slope of log π − log μ on Q within states, `σ_Q` the spread of Q in the behaviour's support. `return` is of 20
episodes, `best of 8` that of acting by the best of eight draws by Q.

Cells are kept in `offline_rl_ablation_cells/`: stopped and started again, it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _offline_rl_cell import OPTIONS, Cell, result
from offline_rl import row

TITLE = "Offline RL: one shot, rounds of a fixed total, and renewal, at equal total beta"
DATA = [("Hopper-v5", "medium-replay")]
TOTALS = (1.0, 4.0)
SEEDS = (1,)


def schedules(total: float) -> dict[str, tuple[str, float, dict[str, Any]]]:
    """Label -> method, its beta, options."""
    quarter = OPTIONS["policy_steps"] // 4
    return {
        "one shot": ("qipo", total, {"rounds": 1, "normalize": "none"}),
        "rounds": ("qipo", total, {"rounds": 4, "normalize": "none"}),
        "renewal": ("qipo_ot", total / 4, {"renew_every": quarter}),
        "renewal, beta each": ("qipo_ot", total, {"renew_every": quarter}),
    }


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each data set, total and schedule. quick: one total on a handful of rows."""
    cells = out / "offline_rl_ablation_cells"
    for data in DATA[:1] if quick else DATA:
        for total in TOTALS[:1] if quick else TOTALS:
            for name, (method, beta, changed) in schedules(total).items():
                label = f"{name} {total:g}"
                seeds = SEEDS[:1] if quick else SEEDS
                made = [result(Cell(data, method, label, seed, beta, changed), cells, quick) for seed in seeds]
                found = row(made)
                for key in ("normalized", "Q to return"):
                    found.pop(key)
                yield {"data": " ".join(data), "schedule": name, "total": total, "seeds": len(made)} | found
