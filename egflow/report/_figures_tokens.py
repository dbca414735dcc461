"""Sequences have no coordinates: what is drawn of them is their lengths, alone and against the energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from egflow.report._canvas import DATA, MADE, TARGET, canvas, histograms
from egflow.report._record import Evidence, TiltReport
from egflow.report._tokens import lengths
from egflow.weights import normalise

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def lengths_of(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of data and samples, (N,) and (m,)."""
    return lengths(evidence.data, evidence.pad_id).numpy(), lengths(evidence.samples, evidence.pad_id).numpy()


def length_bins(*parts: np.ndarray) -> np.ndarray:
    """One bin a length, or a few lengths where there are many."""
    low, high = min(int(part.min()) for part in parts), max(int(part.max()) for part in parts)
    step = max(1, -(-(high - low) // 60))
    return np.arange(low, high + step + 1, step) - 0.5


def lengths_figure(report: TiltReport) -> Figure | None:
    """Histograms of the lengths, and the mean energy at each length; None where all sequences are of one length."""
    evidence = report.evidence
    assert evidence is not None
    data, made = lengths_of(evidence)
    if min(data.min(), made.min()) == max(data.max(), made.max()):
        return None
    share = normalise(evidence.log_w).numpy()
    bins = length_bins(data, made)
    figure, axes = canvas(1, 2, 10.2, 3.5, sharex=True)
    parts = [
        (data, None, DATA, "data (p)", True),
        (data, share, TARGET, "weighted data (target q)", False),
        (made, None, MADE, "generated", False),
    ]
    histograms(axes[0, 0], bins, parts)
    axes[0, 0].set(xlabel="length (tokens)", ylabel="share", title="Lengths")
    axes[0, 0].legend(loc="best")
    middle = (bins[1:] + bins[:-1]) / 2
    energy, made_energy = evidence.energies.values.numpy(), evidence.sample_energies.values.numpy()
    allowed = (~evidence.sample_energies.forbidden).numpy().astype(float)
    for values, at, weight, colour, label in (
        (energy, data, share, TARGET, "weighted data"),
        (made_energy, made, allowed, MADE, "generated"),
    ):
        mass = np.histogram(at, bins, weights=weight)[0]
        mean = np.histogram(at, bins, weights=weight * values)[0] / np.where(mass > 0, mass, np.nan)
        axes[0, 1].plot(middle, mean, color=colour, marker="o", markersize=3.5, linewidth=1.4, label=label)
    axes[0, 1].set(xlabel="length (tokens)", ylabel="mean energy", title="Energy at each length")
    axes[0, 1].legend(loc="best")
    return figure
