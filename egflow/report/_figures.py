"""The report's figures: energies, samples side by side, loss. matplotlib is imported when they are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from egflow.report._record import TiltReport
from egflow.weights import normalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by every kind of colour vision
DATA, TARGET, MADE = "#7f7f7f", "#0072B2", "#D55E00"
_SCATTER = 4000  # with fewer points than this a panel shows points, else a density
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.dpi": 130,
    "legend.frameon": False,
}


def save_figures(
    report: TiltReport, folder: str | Path, history: Sequence[Mapping[str, Any]] | None = None
) -> list[Path]:
    """Write energy.png, samples.png and, where there is a history, loss.png into a folder.

    Args:
        report: a report made in this process (a loaded one has no evidence to draw: loss.png alone is written then).
        folder: made if need be.
        history: rows of metrics.csv, with `stage`, `step`, `loss` and `held_out_loss` (may be missing or empty).

    Returns:
        The files written.
    """
    import matplotlib

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Figure] = {}
    with matplotlib.rc_context(_STYLE):
        if report.evidence is not None:
            drawn["energy.png"] = energy_figure(report)
            drawn["samples.png"] = samples_figure(report)
        if history and (loss := loss_figure(history)) is not None:
            drawn["loss.png"] = loss
        for name, figure in drawn.items():
            figure.savefig(folder / name, bbox_inches="tight")
    return [folder / name for name in drawn]


def _figure(columns: int, width: float, height: float, share: bool = False) -> tuple[Figure, list[Any]]:
    """A figure of the Agg canvas, made without pyplot: no display, no global state, nothing to close."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(np.atleast_1d(figure.subplots(1, columns, sharex=share, sharey=share)))


def _span(*parts: np.ndarray, quantile: float = 0.001) -> tuple[float, float]:
    """A common range that all parts fit in but for their farthest 0.1 % on each side, never empty."""
    ends = [np.quantile(part, (quantile, 1 - quantile)) for part in parts if len(part)]
    low, high = (min(e[0] for e in ends), max(e[1] for e in ends)) if ends else (0.0, 1.0)
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def energy_figure(report: TiltReport) -> Figure:
    """Histograms of the energy over data, weighted data and samples, in the same bins; finite energies only."""
    evidence = report.evidence
    assert evidence is not None
    allowed = ~evidence.energies.forbidden
    data, share = evidence.energies.values[allowed].numpy(), normalise(evidence.log_w)[allowed].numpy()
    made = evidence.sample_energies.values[~evidence.sample_energies.forbidden].numpy()
    low, high = _span(data, made)
    count = int(np.clip(math.sqrt(min(len(data), max(len(made), 1), max(report.n_eff, 1) * 4)) * 1.2, 8, 80))
    bins = np.linspace(low, high, count + 1)
    figure, (axis,) = _figure(1, 6.4, 3.6)
    for values, weight, colour, label, fill in (
        (data, np.full(len(data), 1 / len(data)), DATA, "data (p)", True),
        (data, share, TARGET, "weighted data (target q)", False),
        (made, np.full(len(made), 1 / max(len(made), 1)), MADE, "generated", False),
    ):
        heights = np.histogram(values, bins, weights=weight)[0] / (bins[1] - bins[0])
        axis.stairs(heights, bins, color=colour, label=label, fill=fill, alpha=0.35 if fill else 1, linewidth=1.8)
    axis.set(xlabel=f"energy  ({report.energy})", ylabel="density", xlim=(low, high))
    axis.set_ylim(bottom=0)
    axis.set_title(f"Energies at beta = {report.beta:g}" if isinstance(report.beta, float) else "Energies")
    axis.legend(loc="best")
    return figure


def _plane(report: TiltReport) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """Data and samples in two coordinates, (N, 2) and (m, 2), with the axes' names."""
    evidence = report.evidence
    assert evidence is not None
    data, made = evidence.data.flatten(1).double(), evidence.samples.flatten(1).double()
    if data.shape[1] <= 2:
        return data.numpy(), made.numpy(), ("x[0]", "x[1]")
    # axes of the target, from up to 2,000 draws of it
    share = normalise(evidence.log_w)
    drawn = torch.multinomial(share, 2000, replacement=True, generator=torch.Generator().manual_seed(0))
    part = data[drawn]
    centre = part.mean(0)
    _, scale, axes = torch.linalg.svd(part - centre, full_matrices=False)
    explained = scale.square() / scale.square().sum().clamp_min(1e-300)
    names = tuple(f"principal component {i + 1} ({explained[i]:.0%} of variance)" for i in range(2))
    # the largest loading is positive, so that pictures of two runs can be laid side by side
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()
    return ((data - centre) @ axes.T).numpy(), ((made - centre) @ axes.T).numpy(), (names[0], names[1])


def samples_figure(report: TiltReport) -> Figure:
    """Data, weighted data and samples side by side on the same axes: points, or a density where there are many."""
    evidence = report.evidence
    assert evidence is not None
    data, made, names = _plane(report)
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
    spans = [_span(data[share > 0, axis], data[seen, axis], made[:, axis]) for axis in range(2)]
    figure, axes = _figure(3, 10.2, 3.7, share=True)
    dense = min(n, m) >= _SCATTER
    cells = int(np.clip(0.5 * math.sqrt(min(n, m)), 30, 120))
    bins = [np.linspace(*span, cells + 1) for span in spans]
    for axis, (points, weight, title, colour) in zip(axes, panels, strict=True):
        if dense and (weight is not share or report.n_eff >= 1000):
            heights = np.histogram2d(points[:, 0], points[:, 1], bins, weights=weight)[0].T
            top = np.quantile(heights[heights > 0], 0.995) if (heights > 0).any() else 1.0
            axis.imshow(
                # the square root shows thin regions beside dense ones; empty cells stay white
                np.ma.masked_equal(np.sqrt(heights / top).clip(0, 1), 0),
                origin="lower",
                extent=(spans[0][0], spans[0][1], spans[1][0], spans[1][1]),
                cmap="magma_r",
                aspect="auto",
                interpolation="nearest",
            )
        else:
            shown = points[seen] if weight is share else points[:_SCATTER]
            dots = float(np.clip(6000 / len(shown), 3.5, 14))
            axis.scatter(shown[:, 0], shown[:, 1], s=dots, c=colour, alpha=0.4, linewidths=0, rasterized=True)
        axis.set(xlim=spans[0], ylim=spans[1], title=title)
        if data.shape[1] == 2 and evidence.data.flatten(1).shape[1] == 2:
            axis.set_aspect("equal", adjustable="box")
    figure.supxlabel(names[0], fontsize=10)
    axes[0].set_ylabel(names[1])
    return figure


def _one_dimension(panels: Sequence[tuple[np.ndarray, np.ndarray, str, str]]) -> Figure:
    """Three histograms of one coordinate, in the same bins."""
    low, high = _span(*(points[:, 0] for points, *_ in panels))
    bins = np.linspace(low, high, int(np.clip(math.sqrt(min(len(p) for p, *_ in panels)), 8, 100)) + 1)
    figure, axes = _figure(3, 10.2, 3.2, share=True)
    for axis, (points, weight, title, colour) in zip(axes, panels, strict=True):
        heights = np.histogram(points[:, 0], bins, weights=weight)[0] / (bins[1] - bins[0])
        axis.stairs(heights, bins, color=colour, fill=True, alpha=0.7)
        axis.set(title=title, xlabel="x[0]", xlim=(low, high))
    axes[0].set_ylabel("density")
    return figure


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and finite values of one column; metrics.csv has empty cells and text."""
    steps, values = [], []
    for row in rows:
        try:
            step, value = float(row["step"]), float(row[key])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value):
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
    stages = {name: rows for name, rows in stages.items() if len(_series(rows, "loss")[0])}
    if not stages:
        return None
    figure, axes = _figure(len(stages), 5.2 * len(stages) + 0.8, 3.4)
    for axis, (name, rows) in zip(axes, stages.items(), strict=True):
        step, loss = _series(rows, "loss")
        axis.plot(step, loss, color=TARGET, alpha=0.25, linewidth=0.8)
        axis.plot(step, _smooth(loss), color=TARGET, linewidth=1.8, label="training loss")
        step, held = _series(rows, "held_out_loss")
        if len(step):
            axis.plot(step, held, color=MADE, linewidth=1.4, marker="o", markersize=3.5, label="held-out loss")
            loss = np.concatenate((loss, held))
        low, high = _span(loss, quantile=0.01)  # the first steps would flatten all that follows
        axis.set(xlabel="step", ylabel="loss", title=name, ylim=(low, high))
        axis.legend(loc="upper right")
    return figure
