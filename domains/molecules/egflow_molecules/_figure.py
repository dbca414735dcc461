"""The molecules domain's picture: properties of prior, target and generated molecules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from egflow.report._canvas import DATA, MADE, STYLE, TARGET, canvas, energy_bins, histograms
from egflow.report._figures_tokens import length_bins

_SHOWN = {
    "logp": "logP",
    "qed": "QED",
    "sa": "synthetic accessibility (1 easy, 10 hard)",
    "tpsa": "polar surface, TPSA (Å²)",
    "mw": "molecular weight (g/mol)",
    "rings": "rings",
}


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
