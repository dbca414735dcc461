"""The toy domain's picture: the plane as four histograms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from egflow.report import Evidence

BINS = 128


def density_figure(evidence: Evidence, folder: Path) -> Path:
    """Draw ``folder/density.png``: mean energy of a bin, then p, q (weighted data) and generated points.

    The three densities share one scale, so that brightness can be compared between q and what was generated.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data, samples = evidence.data.double(), evidence.samples.double()
    weights = torch.softmax(evidence.log_w, dim=0)
    low, high = _frame(torch.cat([data, samples]))
    counts = _histogram(data, torch.ones(len(data), dtype=torch.float64), low, high)
    energies = evidence.energies.values
    allowed = ~evidence.energies.forbidden
    seen = _histogram(data[allowed], torch.ones(int(allowed.sum()), dtype=torch.float64), low, high)
    mean_energy = _histogram(data[allowed], energies[allowed], low, high) / seen
    share = torch.full((len(samples),), 1 / len(samples), dtype=torch.float64)
    target, generated = _histogram(data, weights, low, high), _histogram(samples, share, low, high)
    panels = [
        ("energy", mean_energy, "viridis_r", None),
        ("p: data", counts / len(data), "magma", None),
        ("q: data, weighted", target, "magma", float(target.max())),
        ("generated", generated, "magma", float(target.max())),
    ]
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    for axes, (title, values, colours, top) in zip(figure.subplots(1, 4), panels, strict=True):
        image = axes.imshow(values.T.numpy(), origin="lower", extent=extent, cmap=colours, vmax=top, aspect="equal")
        axes.set(title=title, xticks=[], yticks=[])
        if title == "energy":
            figure.colorbar(image, ax=axes, shrink=0.8)
    file = folder / "density.png"
    figure.savefig(file, dpi=120)
    return file


def _frame(points: Tensor) -> tuple[Tensor, Tensor]:
    """A square that holds all but the outermost thousandth of the points on each side."""
    ordered = points.sort(dim=0).values
    cut = len(points) // 1000
    low, high = ordered[cut], ordered[len(points) - 1 - cut]
    centre, half = (low + high) / 2, float((high - low).max()) * 0.55 + 1e-6
    return centre - half, centre + half


def _histogram(points: Tensor, weights: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Sum of the weights in each of BINS x BINS bins; points outside are left out."""
    cell = ((points - low) / (high - low) * BINS).floor()
    inside = ((cell >= 0) & (cell < BINS)).all(dim=1)
    index = (cell[inside, 0] * BINS + cell[inside, 1]).long()
    total = torch.zeros(BINS * BINS, dtype=torch.float64).index_add(0, index, weights[inside])
    return total.reshape(BINS, BINS)
