"""The pictures of `suite=beta_range`: a strip from low beta to high, and the surface between two energies."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from _beta_range_two import TWO, exact_two
from _toys_target import exact_draws
from egflow_toy.energies import ClassicEnergy
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from egflow import Flow
from egflow.energy import evaluate

STRIP = (0.0, 1.0, 2.0, 4.0, 6.0, 8.0)
SURFACE = (0.0, 1.0, 2.0, 3.0, 4.0)
POINTS = 40_000
GENERATED, TARGET = "#D55E00", "#0072B2"  # Okabe and Ito's palette, as in the report's figures


def strip_figure(flows: Mapping[str, Flow], file: Path) -> None:
    """Densities of one model's samples at beta low … high, above those of exact draws; a pair of rows for each set."""
    figure = Figure(figsize=(1.75 * len(STRIP) + 0.6, 3.6 * len(flows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * len(flows), len(STRIP), squeeze=False)
    for pair, (name, flow) in enumerate(flows.items()):
        energy = ClassicEnergy(name)
        for column, beta in enumerate(STRIP):
            made = flow.sample(POINTS, beta=beta, seed=1).cpu()
            exact = exact_draws(name, energy, beta, POINTS, seed=3)
            for row, points, label in ((2 * pair, made, "generated"), (2 * pair + 1, exact, "target")):
                axis = axes[row][column]
                _density(axis, points)
                if column == 0:
                    axis.set_ylabel(f"{name}\n{label}")
                if row % 2 == 0:
                    axis.set_title(f"beta = {beta:g}", fontsize=10)
    figure.savefig(file, dpi=110)


def _density(axis, points: Tensor) -> None:
    heights, *_ = np.histogram2d(*points.numpy().T, bins=90, range=[[-4.5, 4.5]] * 2)
    shown = np.sqrt(heights / np.quantile(heights[heights > 0], 0.995)).clip(0, 1)
    axis.imshow(np.ma.masked_equal(shown.T, 0), origin="lower", cmap="magma_r", interpolation="nearest", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])


def surface_figure(flow: Flow, file: Path) -> None:
    """Mean E_a against mean E_b over a grid of both betas: one model's samples beside exact draws."""
    n = len(SURFACE)
    made, exact = torch.empty(n, n, 2), torch.empty(n, n, 2)
    for i, a in enumerate(SURFACE):
        for j, b in enumerate(SURFACE):
            for means, points in (
                (made, flow.sample(POINTS // 2, beta=(a, b), seed=1).cpu()),
                (exact, exact_two((a, b), 4 * POINTS, seed=2)),
            ):
                means[i, j] = torch.tensor([float(evaluate(energy, points).values.mean()) for energy in TWO])
    figure = Figure(figsize=(6.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for i in range(n):
        for line in (exact[i], exact[:, i]):
            axis.plot(*line.T.numpy(), color=TARGET, linewidth=1.2, alpha=0.8)
    axis.plot([], [], color=TARGET, label="target, exact")
    axis.scatter(*made.flatten(0, 1).T.numpy(), s=22, color=GENERATED, zorder=3, label="generated, one model")
    for (i, j), place in {(0, 0): (6, 6), (n - 1, 0): (6, 6), (0, n - 1): (6, 6), (n - 1, n - 1): (6, 6)}.items():
        label = f"beta = ({SURFACE[i]:g}, {SURFACE[j]:g})"
        axis.annotate(label, tuple(exact[i, j].tolist()), place, textcoords="offset points", fontsize=8)
    axis.set(xlabel="mean E_a", ylabel="mean E_b", title="8gaussians under two energies")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.savefig(file, dpi=130)
