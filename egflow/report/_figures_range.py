"""One model at every beta: a strip from low to high, and the trade-off between several energies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from egflow.report._canvas import DATA, MADE, TARGET, canvas, density_image, dots, energy_bins, histograms, plane, span
from egflow.report._figures_tokens import length_bins, lengths_of
from egflow.report._record import Evidence, TiltReport
from egflow.weights import n_eff, normalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6
_SCATTER, _DENSE = 2500, 4000


def strip_figure(parts: Sequence[Evidence]) -> Figure:
    """A column for each beta: samples above, weighted data below them, and the energies of both.

    Sequences have their lengths in place of points. Of several energies' grid of betas the corners are shown.
    """
    parts = _shown(parts)
    tokens = parts[0].tokens
    figure, axes = canvas(2 if tokens else 3, len(parts), 1.95 * len(parts) + 0.6, 4.2 if tokens else 5.6)
    if tokens:
        _lengths(axes[0], parts)
    else:
        _points(axes[:2], parts)
    for axis, part in zip(axes[-1], parts, strict=True):
        effective = n_eff(part.log_w)
        data, made, share = _energies(part)
        histograms(
            axis,
            energy_bins(data, made, effective),
            [
                (data, None, DATA, "data (p)", True),
                (data, share, TARGET, "weighted data", False),
                (made, None, MADE, "generated", False),
            ],
        )
        axis.set_yticks([])
        axis.set_xlabel("Σ beta·E" if isinstance(part.beta, list) else "energy")
    for axis, part in zip(axes[0], parts, strict=True):
        axis.set_title(f"beta {_beta(part)}\nn_eff {n_eff(part.log_w):,.0f}", fontsize=9)
    axes[-1, 0].set_ylabel("energies")
    figure.legend(*axes[-1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return figure


def tradeoff_figure(report: TiltReport) -> Figure | None:
    """Mean of one energy against the mean of another over the grid of betas, target and generated; None for one energy.

    Lines join the target's points of equal beta for one of the two: the surface that one model trades along.
    """
    found = [one for one in report.per_beta or [] if one.get("each_energy") and isinstance(one["beta"], list)]
    if len(found) < 2:
        return None
    pairs = list(combinations(range(len(found[0]["beta"])), 2))[:3]
    figure, axes = canvas(1, len(pairs), 4.8 * len(pairs) + 0.6, 4.2)
    for axis, (a, b) in zip(axes[0], pairs, strict=True):
        for free in (a, b):
            for line in _lines(found, free):
                axis.plot(*_means(line, a, b, "target"), color=TARGET, linewidth=0.8, alpha=0.5)
        axis.plot(
            *_means(found, a, b, "target"), "o", color=TARGET, fillstyle="none", markersize=8, label="weighted data"
        )
        axis.plot(*_means(found, a, b, "generated"), "o", color=MADE, markersize=4, label="generated")
        for one, x, y in zip(found, *_means(found, a, b, "target"), strict=True):
            label = "(" + ", ".join(f"{value:g}" for value in one["beta"]) + ")"
            axis.annotate(label, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=7, color=DATA)
        names = [entry["energy"] for entry in found[0]["each_energy"]]
        axis.set(xlabel=f"mean {names[a]}", ylabel=f"mean {names[b]}")
    axes[0, 0].set_title("What one model trades, at each (beta, beta)")
    axes[0, 0].legend(loc="best")
    return figure


def _shown(parts: Sequence[Evidence]) -> Sequence[Evidence]:
    if len(parts) <= _COLUMNS:
        return parts
    grid = np.array([part.beta for part in parts], dtype=float).reshape(len(parts), -1)
    corner = ((grid == grid.min(0)) | (grid == grid.max(0))).all(1)
    picked = [part for part, is_corner in zip(parts, corner, strict=True) if is_corner]
    return picked if len(picked) <= _COLUMNS else [parts[0], parts[-1]]


def _beta(part: Evidence) -> str:
    return f"{part.beta:.4g}" if isinstance(part.beta, float) else str(part.beta).strip("[]")


def _energies(part: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finite energies of data and samples, and the data's weights."""
    allowed = ~part.energies.forbidden
    made = part.sample_energies.values[~part.sample_energies.forbidden].numpy()
    return part.energies.values[allowed].numpy(), made, normalise(part.log_w)[allowed].numpy()


def _points(axes: np.ndarray, parts: Sequence[Evidence]) -> None:
    """Rows of samples and of weighted data, all on the same axes."""
    last = parts[-1]
    seen_in, names = plane(last.data, torch.where(last.log_w > -torch.inf, 0.0, last.log_w))
    data = seen_in(last.data)
    shares = [normalise(part.log_w).numpy() for part in parts]
    made = [seen_in(part.samples) for part in parts]
    if data.shape[1] == 1:
        _one_dimension(axes, data[:, 0], shares, [x[:, 0] for x in made])
        return
    rng = np.random.default_rng(0)
    drawn = [data[rng.choice(len(data), size=min(_SCATTER, len(data)), p=share)] for share in shares]
    spans = [span(*(x[:, k] for x in (*made, *drawn))) for k in range(2)]
    for column, (samples, share, target) in enumerate(zip(made, shares, drawn, strict=True)):
        above, below = axes[:, column]
        if len(samples) >= _DENSE:
            density_image(above, samples, np.full(len(samples), 1 / len(samples)), spans)
        else:
            dots(above, samples[:_SCATTER], MADE)
        if n_eff(parts[column].log_w) >= _DENSE:
            density_image(below, data, share, spans)
        else:
            dots(below, target, TARGET)
        for axis in (above, below):
            axis.set(xlim=spans[0], ylim=spans[1], xticks=[], yticks=[])
            if last.data[0].numel() == 2:
                axis.set_aspect("equal", adjustable="box")
    axes[0, 0].set_ylabel("generated")
    axes[1, 0].set_ylabel("weighted data")
    if last.data[0].numel() > 2:
        axes[1, 0].set_xlabel(names[0].partition(" (")[0], fontsize=8)


def _one_dimension(axes: np.ndarray, data: np.ndarray, shares: list[np.ndarray], made: list[np.ndarray]) -> None:
    bins = np.linspace(*span(data, *made), 50)
    for column, (samples, share) in enumerate(zip(made, shares, strict=True)):
        histograms(axes[0, column], bins, [(samples, None, MADE, "generated", True)])
        histograms(axes[1, column], bins, [(data, share, TARGET, "weighted data", True)])
        for axis in axes[:, column]:
            axis.set_yticks([])
    axes[0, 0].set_ylabel("generated")
    axes[1, 0].set_ylabel("weighted data")


def _lengths(axes: Sequence[Any], parts: Sequence[Evidence]) -> None:
    """A row of lengths, in the same bins."""
    found = [lengths_of(part) for part in parts]
    bins = length_bins(*(x for pair in found for x in pair))
    for axis, part, (data, made) in zip(axes, parts, found, strict=True):
        share = normalise(part.log_w).numpy()
        histograms(axis, bins, [(data, share, TARGET, "weighted data", False), (made, None, MADE, "generated", False)])
        axis.set_yticks([])
        axis.set_xlabel("length")
    axes[0].set_ylabel("lengths")


def _means(rows: Sequence[dict[str, Any]], a: int, b: int, key: str) -> tuple[list[float], list[float]]:
    def of(row: dict[str, Any], k: int) -> float:
        value = row["each_energy"][k]["energy_mean"][key]
        return float("nan") if value is None else value

    return [of(row, a) for row in rows], [of(row, b) for row in rows]


def _lines(rows: Sequence[dict[str, Any]], free: int) -> list[list[dict[str, Any]]]:
    """Rows that differ in the beta `free` alone, in its order."""
    lines: dict[tuple[float, ...], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["beta"][free]):
        rest = tuple(value for k, value in enumerate(row["beta"]) if k != free)
        lines.setdefault(rest, []).append(row)
    return [line for line in lines.values() if len(line) > 1]
