"""The report's figures: energies, samples side by side, loss. matplotlib is imported when they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from egflow.report._canvas import (
    DATA,
    MADE,
    STYLE,
    TARGET,
    canvas,
    density_image,
    dots,
    energy_bins,
    histograms,
    plane,
    span,
)
from egflow.report._record import TiltReport
from egflow.weights import normalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCATTER = 4000  # with fewer points than this a panel shows points, else a density


def save_figures(
    report: TiltReport, folder: str | Path, history: Sequence[Mapping[str, Any]] | None = None
) -> list[Path]:
    """Write the figures there is something to draw of into a folder.

    energy.png; samples.png (of tokens lengths.png, where lengths differ); for a range strip.png, and tradeoff.png for
    several energies; rounds.png; loss.png where there is a history.

    Args:
        report: a report made in this process (a loaded one has no evidence: what its own keys hold is drawn then).
        folder: made if need be.
        history: rows of metrics.csv, with `stage`, `step`, `loss` and `held_out_loss` (may be missing or empty).

    Returns:
        The files written.
    """
    import matplotlib

    from egflow.report._figures_range import strip_figure, tradeoff_figure
    from egflow.report._figures_rounds import rounds_figure
    from egflow.report._figures_tokens import lengths_figure

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    evidence = report.evidence
    drawn: dict[str, Figure | None] = {}
    with matplotlib.rc_context(STYLE):
        if evidence is not None:
            drawn["energy.png"] = energy_figure(report)
            if evidence.tokens:
                drawn["lengths.png"] = lengths_figure(report)
            else:
                drawn["samples.png"] = samples_figure(report)
            if evidence.per_beta:
                drawn["strip.png"] = strip_figure(evidence.per_beta)
        if report.per_beta:
            drawn["tradeoff.png"] = tradeoff_figure(report)
        if report.rounds:
            drawn["rounds.png"] = rounds_figure(report)
        if history:
            drawn["loss.png"] = loss_figure(history)
        found = {name: figure for name, figure in drawn.items() if figure is not None}
        for name, figure in found.items():
            figure.savefig(folder / name, bbox_inches="tight")
    return [folder / name for name in found]


def energy_figure(report: TiltReport) -> Figure:
    """Histograms of the energy over data, weighted data and samples, in the same bins; finite energies only."""
    evidence = report.evidence
    assert evidence is not None
    allowed = ~evidence.energies.forbidden
    data, share = evidence.energies.values[allowed].numpy(), normalise(evidence.log_w)[allowed].numpy()
    made = evidence.sample_energies.values[~evidence.sample_energies.forbidden].numpy()
    figure, axes = canvas(1, 1, 6.4, 3.6)
    axis = axes[0, 0]
    histograms(
        axis,
        energy_bins(data, made, report.n_eff),
        [
            (data, None, DATA, "data (p)", True),
            (data, share, TARGET, "weighted data (target q)", False),
            (made, None, MADE, "generated", False),
        ],
    )
    several = isinstance(evidence.beta, list)
    axis.set(xlabel=f"Σ beta·E  ({report.energy})" if several else f"energy  ({report.energy})", ylabel="density")
    axis.set_title("Energies" if evidence.beta is None else f"Energies at beta = {beta_text(evidence.beta)}")
    axis.legend(loc="best")
    return figure


def beta_text(beta: float | list[float]) -> str:
    """A beta, or one for each of several energies, as it stands in a title."""
    return f"{beta:g}" if isinstance(beta, int | float) else "(" + ", ".join(f"{b:g}" for b in beta) + ")"


def samples_figure(report: TiltReport) -> Figure:
    """Data, weighted data and samples side by side on the same axes: points, or a density where there are many."""
    evidence = report.evidence
    assert evidence is not None
    seen_in, names = plane(evidence.data, evidence.log_w)
    data, made = seen_in(evidence.data), seen_in(evidence.samples)
    share = normalise(evidence.log_w).numpy()
    n, m = len(data), len(made)
    seen = np.random.default_rng(0).choice(n, size=min(_SCATTER, n), p=share)  # the target as draws of it
    panels = (
        (data, np.full(n, 1 / n), f"data (p), {n:,}", DATA),
        (data, share, f"weighted data (target q), n_eff {report.n_eff:,.0f}", TARGET),
        (made, np.full(m, 1 / m), f"generated, {m:,}", MADE),
    )
    if data.shape[1] == 1:
        return _one_dimension(panels)
    spans = [span(data[share > 0, axis], data[seen, axis], made[:, axis]) for axis in range(2)]
    figure, axes = canvas(1, 3, 10.2, 3.7, sharex=True, sharey=True)
    dense = min(n, m) >= _SCATTER
    for axis, (points, weight, title, colour) in zip(axes[0], panels, strict=True):
        if dense and (weight is not share or report.n_eff >= 1000):
            density_image(axis, points, weight, spans)
        else:
            dots(axis, points[seen] if weight is share else points[:_SCATTER], colour)
        axis.set(xlim=spans[0], ylim=spans[1], title=title)
        if evidence.data[0].numel() == 2:
            axis.set_aspect("equal", adjustable="box")
    figure.supxlabel(names[0], fontsize=10)
    axes[0, 0].set_ylabel(names[1])
    return figure


def _one_dimension(panels: Sequence[tuple[np.ndarray, np.ndarray, str, str]]) -> Figure:
    """Three histograms of one coordinate, in the same bins."""
    low, high = span(*(points[:, 0] for points, *_ in panels))
    bins = np.linspace(low, high, int(np.clip(math.sqrt(min(len(p) for p, *_ in panels)), 8, 100)) + 1)
    figure, axes = canvas(1, 3, 10.2, 3.2, sharex=True, sharey=True)
    for axis, (points, weight, title, colour) in zip(axes[0], panels, strict=True):
        heights = np.histogram(points[:, 0], bins, weights=weight)[0] / (bins[1] - bins[0])
        axis.stairs(heights, bins, color=colour, fill=True, alpha=0.7)
        axis.set(title=title, xlabel="x[0]", xlim=(low, high))
    axes[0, 0].set_ylabel("density")
    return figure


def series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and finite values of one column; metrics.csv has empty cells and text."""
    steps, values = [], []
    for row in rows:
        try:
            step, value = float(row["step"]), float(row[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(step) and math.isfinite(value):
            steps.append(step)
            values.append(value)
    return np.array(steps), np.array(values)


def _smooth(values: np.ndarray) -> np.ndarray:
    """A running mean over about a thirtieth of the values, of equal length."""
    width = max(1, len(values) // 30)
    total = np.concatenate(([0.0], np.cumsum(values)))
    high = np.minimum(np.arange(len(values)) + width // 2 + 1, len(values))
    low = np.maximum(np.arange(len(values)) - (width - 1) // 2, 0)
    return (total[high] - total[low]) / (high - low)


def loss_figure(history: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Training loss (faint, and its running mean) and held-out loss of each stage; None if there is none."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in history:
        stages.setdefault(str(row.get("stage") or "train"), []).append(row)
    stages = {name: rows for name, rows in stages.items() if len(series(rows, "loss")[0])}
    if not stages:
        return None
    columns = min(len(stages), 4)
    lines = -(-len(stages) // columns)
    figure, axes = canvas(lines, columns, 5.2 * columns + 0.8, 3.4 * lines)
    for axis, (name, rows) in zip(axes.flat, stages.items(), strict=False):
        step, loss = series(rows, "loss")
        axis.plot(step, loss, color=TARGET, alpha=0.25, linewidth=0.8)
        axis.plot(step, _smooth(loss), color=TARGET, linewidth=1.8, label="training loss")
        step, held = series(rows, "held_out_loss")
        if len(step):
            axis.plot(step, held, color=MADE, linewidth=1.4, marker="o", markersize=3.5, label="held-out loss")
            loss = np.concatenate((loss, held))
        low, high = span(loss, quantile=0.01)  # the first steps would flatten all that follows
        axis.set(xlabel="step", ylabel="loss", title=name, ylim=(low, high))
        axis.legend(loc="upper right")
    for axis in list(axes.flat)[len(stages) :]:
        axis.set_axis_off()
    return figure
