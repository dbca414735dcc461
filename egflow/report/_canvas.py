"""What all figures share: colours, a canvas without a display, a common range, the plane that points are seen in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from egflow._rows import chunks
from egflow.weights import resample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette: told apart by every kind of colour vision
DATA, TARGET, MADE = "#7f7f7f", "#0072B2", "#D55E00"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.dpi": 130,
    "legend.frameon": False,
}


def canvas(rows: int, columns: int, width: float, height: float, **share: Any) -> tuple[Figure, np.ndarray]:
    """A figure of the Agg canvas and its axes (rows, columns), made without pyplot: no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **share)


def span(*parts: np.ndarray, quantile: float = 0.001) -> tuple[float, float]:
    """A common range that all parts fit in but for their farthest 0.1 % on each side, never empty."""
    ends = [np.quantile(part, (quantile, 1 - quantile)) for part in parts if len(part)]
    low, high = (min(e[0] for e in ends), max(e[1] for e in ends)) if ends else (0.0, 1.0)
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.05
    return low - margin, high + margin


def plane(data: Tensor, log_w: Tensor) -> tuple[Callable[[Tensor], np.ndarray], tuple[str, str]]:
    """How points are seen in two coordinates, and the axes' names: the first two, or principal ones of the target.

    Args:
        data: (N, *event) float.
        log_w: (N,) weights whose target gives the principal components, from up to 2,000 draws of it.

    Returns:
        (n, *event) -> (n, 2) float64, or (n, 1) for one coordinate; names.
    """
    if data[0].numel() <= 2:
        return lambda x: x.flatten(1).double().numpy(), ("x[0]", "x[1]")
    drawn = resample(log_w, torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    part = data[drawn].flatten(1).double()
    centre = part.mean(0)
    _, scale, axes = torch.linalg.svd(part - centre, full_matrices=False)
    explained = scale.square() / scale.square().sum().clamp_min(1e-300)
    names = tuple(f"principal component {i + 1} ({explained[i]:.0%} of variance)" for i in range(2))
    # the largest loading is positive, so that pictures of two runs can be laid side by side
    axes = axes[:2] * axes[:2].gather(1, axes[:2].abs().argmax(1, keepdim=True)).sign()

    def seen(x: Tensor) -> np.ndarray:
        return torch.cat([(rows.flatten(1).double() - centre) @ axes.T for rows in chunks(x)]).numpy()

    return seen, (names[0], names[1])


def density_image(axis: Any, points: np.ndarray, weight: np.ndarray, spans: list[tuple[float, float]]) -> None:
    """The density of weighted points (n, 2) as an image; empty cells stay white."""
    cells = int(np.clip(0.5 * np.sqrt(len(points)), 30, 120))
    bins = [np.linspace(*ends, cells + 1) for ends in spans]
    heights = np.histogram2d(points[:, 0], points[:, 1], bins, weights=weight)[0].T
    top = np.quantile(heights[heights > 0], 0.995) if (heights > 0).any() else 1.0
    axis.imshow(
        # the square root shows thin regions beside dense ones
        np.ma.masked_equal(np.sqrt(heights / top).clip(0, 1), 0),
        origin="lower",
        extent=(*spans[0], *spans[1]),
        cmap="magma_r",
        aspect="auto",
        interpolation="nearest",
    )


def dots(axis: Any, points: np.ndarray, colour: str) -> None:
    """Points (n, 2) as dots, larger where they are few."""
    size = float(np.clip(6000 / max(len(points), 1), 3.5, 14))
    axis.scatter(points[:, 0], points[:, 1], s=size, c=colour, alpha=0.4, linewidths=0, rasterized=True)


def histograms(axis: Any, bins: np.ndarray, parts: list[tuple[np.ndarray, np.ndarray | None, str, str, bool]]) -> None:
    """Histograms as densities in the same bins: (values, weights or None, colour, label, filled) each."""
    for values, weight, colour, label, fill in parts:
        share = np.full(len(values), 1 / max(len(values), 1)) if weight is None else weight
        heights = np.histogram(values, bins, weights=share)[0] / np.diff(bins)
        axis.stairs(heights, bins, color=colour, label=label, fill=fill, alpha=0.35 if fill else 1, linewidth=1.8)
    axis.set_xlim(bins[0], bins[-1])
    axis.set_ylim(bottom=0)


def energy_bins(data: np.ndarray, made: np.ndarray, effective: float) -> np.ndarray:
    """Edges for the energies of data and samples: as fine as the effective points allow."""
    count = int(np.clip(np.sqrt(min(len(data), max(len(made), 1), max(effective, 1) * 4)) * 1.2, 8, 80))
    return np.linspace(*span(data, made), count + 1)
