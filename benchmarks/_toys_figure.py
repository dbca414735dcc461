"""The figure of the toy table: distance in floors, a row for each method, a column for each set and beta."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

_AWAY = 1e9  # in place of a distance without end


def methods_figure(rows: Sequence[Mapping[str, Any]], file: Path) -> Path:
    """Draw the table's distances; a dash is a method that cannot be used there, ∞ samples that ran away."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = list(dict.fromkeys((row["set"], row["beta"]) for row in rows))
    value = np.full((len(methods), len(cells)), np.nan)
    for row in rows:
        place, found = (methods.index(row["method"]), cells.index((row["set"], row["beta"]))), row["distance / floor"]
        if found != "":
            value[place] = _AWAY if isinstance(found, str) else found

    figure = Figure(figsize=(11, 0.42 * len(methods) + 1.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    # white up to 1.5 floors, what is asked for; darker the farther off
    image = axes.imshow(value, norm=LogNorm(1.5, 60, clip=True), cmap="OrRd", aspect="auto")
    for (i, j), number in np.ndenumerate(value):
        text = "–" if np.isnan(number) else f"{number:.1f}" if number < 9.95 else f"{number:.0f}"
        text = "∞" if number == _AWAY else text
        colour = "white" if number > 20 else "0.15"
        weight = "bold" if number <= 1.5 else "normal"
        axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=colour, fontweight=weight)
    axes.set_yticks(range(len(methods)), [_label(method, rows) for method in methods], fontsize=9)
    axes.set_xticks(range(len(cells)), [f"{beta:g}" for _, beta in cells], fontsize=9)
    axes.set_xlabel("beta", fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    names = [name for name, _ in cells]
    for name in dict.fromkeys(names):
        first, count = names.index(name), names.count(name)
        narrow = count == 1 and len(name) > 6
        text = f"{name[: len(name) // 2 + 1]}-\n{name[len(name) // 2 + 1 :]}" if narrow else name
        axes.text(first + (count - 1) / 2, -0.65, text, ha="center", va="bottom", fontsize=9, linespacing=0.9)
        axes.axvline(first - 0.5, color="white", linewidth=4)
    axes.set_title("sliced W2 to exact draws of q, in floors (bold: ≤ 1.5)", loc="left", fontsize=10, pad=30)
    figure.colorbar(image, ax=axes, shrink=0.8, ticks=[1.5, 3, 10, 30, 60], format="%g").minorticks_off()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    return file


def _label(method: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The method with its median of network passes a sample."""
    passes = [row["passes a sample"] for row in rows if row["method"] == method and row["passes a sample"] != ""]
    return f"{method}  ({median(passes):.0f} passes)" if any(passes) else method
