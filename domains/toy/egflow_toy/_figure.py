"""The toy domain's picture: where in the plane the energy is low, and where the generated density is off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from egflow.report import Evidence

BINS = 80


def plane_figure(evidence: Evidence, folder: Path) -> Path:
    """Draw ``folder/plane.png``: the mean energy in each cell of the plane, and generated minus target mass there.

    The difference is in per mille of all mass: red is too much, blue too little. What a perfect generator leaves is the
    noise of its finite samples.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    data, samples = evidence.data.double(), evidence.samples.double()
    low, high = _frame(torch.cat([data, samples]))
    allowed = ~evidence.energies.forbidden
    counts = _histogram(data[allowed], torch.ones(int(allowed.sum()), dtype=torch.float64), low, high)
    mean_energy = _histogram(data[allowed], evidence.energies.values[allowed], low, high) / counts
    share = torch.full((len(samples),), 1 / len(samples), dtype=torch.float64)
    target = _histogram(data, torch.softmax(evidence.log_w, dim=0), low, high)
    difference = 1000 * (_histogram(samples, share, low, high) - target)
    top = float(difference.abs().max())

    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    panels = [
        ("energy of the data", mean_energy, "viridis_r", None, None),
        ("generated − target, ‰ of the mass a cell", difference, "RdBu_r", -top, top),
    ]
    for axes, (title, values, colours, least, most) in zip(figure.subplots(1, 2), panels, strict=True):
        image = axes.imshow(values.T.numpy(), origin="lower", extent=extent, cmap=colours, vmin=least, vmax=most)
        axes.set_title(title, loc="left", fontsize=10)
        figure.colorbar(image, ax=axes, shrink=0.85)
    file = folder / "plane.png"
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
