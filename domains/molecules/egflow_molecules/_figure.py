"""The molecules domain's pictures: properties of prior, target and generated molecules, and what two energies trade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from egflow.report._canvas import DATA, MADE, STYLE, TARGET, canvas, energy_bins, histograms
from egflow.report._figures_tokens import length_bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = {
    "logp": "logP",
    "qed": "QED",
    "sa": "synthetic accessibility (1 easy, 10 hard)",
    "tpsa": "polar surface, TPSA (Å²)",
    "mw": "molecular weight (g/mol)",
    "rings": "rings",
}


class TradeOff(NamedTuple):
    """Two energies over the molecules of one pair of betas: their means and standard deviations."""

    beta_a: float
    beta_b: float
    mean_a: float
    mean_b: float
    sd_a: float
    sd_b: float


def property_figure(
    prior: Mapping[str, Sequence[float]],
    weight: Sequence[float] | np.ndarray,
    made: Mapping[str, Sequence[float]],
    file: Path,
) -> Path:
    """Draw histograms of logP, QED, SA, TPSA, weight and rings: the prior, the prior weighted (the target), generated.

    Args:
        prior: columns over N molecules, as `properties.property_columns` gives them; NaN (no molecule) is left out.
        weight: (N,) exp(−beta·E), up to a factor.
        made: columns over n generated molecules.
        file: the PNG.

    Raises:
        ValueError: if no molecule of one of them is valid, or no valid one of the prior has a weight.
    """
    import matplotlib

    have, got = np.isfinite(prior["mw"]), np.isfinite(made["mw"])
    share = np.asarray(weight, dtype=float)[have]
    if not share.sum() > 0 or not got.any():
        raise ValueError(
            f"there is nothing to compare: of the prior's {len(have)} molecules {(share > 0).sum()} are valid and have "
            f"a weight, of {len(got)} generated {got.sum()} are valid"
        )
    share = share / share.sum()
    effective = 1 / np.square(share).sum()
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(2, 3, 10.2, 5.8)
        for axis, (name, title) in zip(axes.flat, _SHOWN.items(), strict=True):
            data, values = np.asarray(prior[name])[have], np.asarray(made[name])[got]
            whole = name == "rings"
            histograms(
                axis,
                length_bins(data, values) if whole else energy_bins(data, values, effective),
                [
                    (data, None, DATA, f"prior (p), {len(data):,}", True),
                    (data, share, TARGET, f"weighted prior (target q), n_eff {effective:,.0f}", False),
                    (values, None, MADE, f"generated, {len(values):,}", False),
                ],
            )
            axis.set(xlabel=title, yticks=[])
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        for axis in axes[:, 0]:
            axis.set_ylabel("density")
        figure.savefig(file, bbox_inches="tight")
    return file


def trade_off_figure(points: Sequence[TradeOff], names: tuple[str, str], file: Path) -> Path:
    """Draw the mean of one energy against that of another at several pairs of betas, with bars of one deviation.

    Lines join the points of equal beta for one of the two: the surface that the energies trade along.

    Args:
        points: two or more.
        names: of the two energies.
        file: the PNG.

    Raises:
        ValueError: for fewer than two points.
    """
    import matplotlib

    if len(points) < 2:
        raise ValueError(f"there are {len(points)} points; a trade-off shows in two or more")
    with matplotlib.rc_context(STYLE):
        figure, axes = canvas(1, 1, 6.4, 4.6)
        axis: Axes = axes[0, 0]
        for fixed in (0, 1):
            for beta in sorted({one[fixed] for one in points}):
                line = sorted(one for one in points if one[fixed] == beta)
                axis.plot([p.mean_a for p in line], [p.mean_b for p in line], color=MADE, linewidth=0.8, alpha=0.5)
        a, b, sd_a, sd_b = zip(*(one[2:] for one in points), strict=True)
        axis.errorbar(a, b, yerr=sd_b, xerr=sd_a, fmt="o", color=MADE, markersize=5, ecolor=(DATA, 0.5), elinewidth=0.5)
        for one in points:
            label = f"({one.beta_a:g}, {one.beta_b:g})"
            axis.annotate(label, (one.mean_a, one.mean_b), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axis.set(xlabel=f"mean {names[0]} (bars: one deviation)", ylabel=f"mean {names[1]}")
        axis.set_title(f"What is traded, at each (beta of {names[0]}, beta of {names[1]})")
        figure.savefig(file, bbox_inches="tight")
    return file
