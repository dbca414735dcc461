"""The images domain's picture: a grid of data, weighted data and generated pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor

if TYPE_CHECKING:
    from egflow.report import Evidence, TiltReport

ROWS, COLUMNS = 4, 20


def grid_figure(report: TiltReport, folder: Path) -> Path:
    """Draw ``folder/grid.png``: three blocks of pictures, each a plain random draw, with its mean energy.

    The weighted block is drawn with replacement in proportion to exp(−beta·E), so that few effective samples show as
    repeated pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    evidence = report.evidence
    assert evidence is not None
    weight = f"exp(−{evidence.beta:g}·E)" if isinstance(evidence.beta, float) else "exp(−beta·E)"
    asked = f"what is asked for: data drawn in proportion to {weight}, E = {report.energy}"
    generator, count = torch.Generator().manual_seed(0), ROWS * COLUMNS
    weights = torch.softmax(evidence.log_w, dim=0)
    plain = torch.randperm(len(evidence.data), generator=generator)[:count]
    weighted = torch.multinomial(weights, count, replacement=True, generator=generator)
    energies, allowed = evidence.energies.values, ~evidence.energies.forbidden
    generated_energies = evidence.sample_energies.values[~evidence.sample_energies.forbidden]
    blocks = [
        ("what there is: data", evidence.data[plain], energies[allowed].mean()),
        (asked, evidence.data[weighted], (weights * energies).sum()),
        ("what egflow makes: new pictures", evidence.samples[:count], generated_energies.mean()),
    ]
    figure = Figure(figsize=(COLUMNS * 0.45, 3 * (ROWS * 0.45 + 0.4)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (title, pictures, energy) in zip(figure.subplots(3, 1), blocks, strict=True):
        show(axes, pictures, ROWS, COLUMNS)
        axes.set_title(f"{title}   mean energy {float(energy):.4g}", loc="left", fontsize=10)
        axes.set_axis_off()
    file = folder / "grid.png"
    figure.savefig(file, dpi=130)
    return file


def nearest_figure(evidence: Evidence, folder: Path) -> Path:
    """Draw ``nearest.png``: generated pictures, and under each the training picture that is nearest to it."""
    held_out = torch.zeros(len(evidence.data), dtype=torch.bool)
    held_out[evidence.held_out] = True
    train, made = evidence.data[~held_out], evidence.samples[:COLUMNS]
    near = train[torch.cdist(made.flatten(1), train.flatten(1)).argmin(1)]
    return labelled_rows(folder / "nearest.png", [made, near], ["generated", "nearest trained on"])


def labelled_rows(file: Path, rows: Sequence[Tensor], titles: Sequence[str]) -> Path:
    """Write one picture: a row of pictures (n, c, h, w) beside each title."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(rows[0])
    figure = Figure(figsize=(1.4 + 0.55 * count, 0.65 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, pictures, title in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, titles, strict=True):
        show(axes, pictures, 1, count)
        axes.set_ylabel(title, rotation=0, ha="right", va="center", fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    figure.savefig(file, dpi=130)
    return file


def show(axes: Any, pictures: Tensor, rows: int, columns: int) -> None:
    """Draw pictures (n, c, h, w) side by side; those of the digits' shape as ink on paper."""
    ink = tuple(pictures.shape[1:]) == (1, 8, 8)
    tiled = tile(pictures, rows, columns, 0.15 if ink else 0.85)
    axes.imshow(tiled.numpy(), cmap="gray_r" if ink else "gray", vmin=0, vmax=1, interpolation="nearest")


def tile(pictures: Tensor, rows: int, columns: int, line: float) -> Tensor:
    """(up to rows·columns, c, h, w) in [0, 1] -> one (height, width, c) picture with thin lines in between."""
    pictures = torch.nn.functional.pad(pictures.detach().cpu().float().clamp(0, 1), (0, 1, 0, 1), value=line)
    blank = torch.zeros(rows * columns - len(pictures), *pictures.shape[1:])
    return rearrange(torch.cat([pictures, blank]), "(r k) c h w -> (r h) (k w) c", r=rows)
