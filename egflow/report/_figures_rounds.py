"""What the rounds did: beta, effective points and the mean energy, round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from egflow.report._canvas import DATA, MADE, TARGET, canvas
from egflow.report._record import TiltReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rounds_figure(report: TiltReport) -> Figure | None:
    """Beta, n_eff, and mean and best energy over the rounds; None where there is no record of them."""
    rows = (report.rounds or {}).get("rounds") or []
    if all(row.get("mean") is None for row in rows):  # those of a domain's own method: its own pictures show them
        return None
    number = np.arange(1, len(rows) + 1)

    def column(key: str) -> np.ndarray:
        return np.array([np.nan if row.get(key) is None else float(row[key]) for row in rows])

    figure, axes = canvas(1, 3, 10.2, 3.1)
    beta, points, energy = axes[0]
    beta.plot(number, column("beta"), color=TARGET, marker="o")
    beta.set(ylabel="beta", title="Beta reached")
    points.plot(number, column("n_eff"), color=TARGET, marker="o")
    points.set(ylabel="n_eff", title="Effective points", yscale="log")
    energy.plot(number, column("mean"), color=MADE, marker="o", label="mean of the proposals")
    energy.plot(number, column("best"), color=DATA, marker="s", markersize=4, label="best so far")
    target, error = report.energy_mean["target"], (report.rounds or {}).get("base_error")
    if target is not None:
        energy.axhline(target, color=TARGET, linewidth=1.2, linestyle="--", label="target")
        if error:
            energy.axhspan(target - error, target + error, color=TARGET, alpha=0.15, linewidth=0)
    energy.set(ylabel=f"energy  ({report.energy})", title="Energy")
    energy.legend(loc="best", fontsize=8)
    for axis in axes[0]:
        axis.set_xlabel("round")
        axis.set_xticks(number if len(number) <= 12 else number[:: -(-len(number) // 12)])
    return figure
