"""The toy domain: what the command line asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from egflow.data import SUFFIXES, open_samples
from egflow.domain import Data
from egflow_toy._figure import plane_figure
from egflow_toy.densities import DENSITIES, density
from egflow_toy.energies import (
    CLASSIC,
    ClassicEnergy,
    Linear,
    Quadratic,
    nearest_blade,
    nearest_centre,
    nearest_moon,
    nearest_ring,
)

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.report import TiltReport

DEFAULT = "8gaussians"
MODES: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "8gaussians": (nearest_centre, 8),
    "rings": (nearest_ring, 4),
    "moons": (nearest_moon, 2),
    "pinwheel": (nearest_blade, 5),
}
"""Set -> which of its modes a point belongs to, and how many there are."""


def _is_file(name: str | None) -> TypeGuard[str]:
    return isinstance(name, str) and Path(name).suffix.lower() in SUFFIXES


class Toy:
    """Two-dimensional densities, their classic energies, a picture of the densities and the shares of the modes.

    Points of the user's own come from a file, ``data=x.npy`` or ``x.parquet``, (N, dim).

    Args:
        n_data: points drawn from the density as the training data.

    Example:
        >>> Toy(n_data=100).data("moons", seed=0).x.shape
        torch.Size([100, 2])
    """

    def __init__(self, n_data: int = 400_000) -> None:
        if isinstance(n_data, bool) or not isinstance(n_data, int) or n_data < 1:
            raise ValueError(f"toy.n_data must be a positive whole number, got {n_data!r}: write toy.n_data=400000")
        self.n_data = n_data
        self.energies: Mapping[str, Callable[..., EnergyModel]] = {
            **{name: partial(ClassicEnergy, name) for name in CLASSIC},
            "linear": Linear,
            "quadratic": Quadratic,
        }
        self.decoders: Mapping[str, Callable[[Tensor], Any]] = {}
        self.log_densities = {name: one.log_prob for name, one in DENSITIES.items() if one.log_prob is not None}
        self._loaded = DEFAULT

    def data(self, name: str | None, seed: int) -> Data:
        """Draw ``n_data`` points of the density, or map a file of points into memory, see `egflow.data.open_samples`.

        Raises:
            FileNotFoundError, ValueError: for a file that cannot be read, or a name; the nearest density is named.
        """
        if _is_file(name):
            self._loaded = ""
            return Data(x=open_samples(name), info={"data": name})
        chosen = density(DEFAULT if name is None else name)
        self._loaded = chosen.name
        return Data(x=chosen.sample(self.n_data, seed), info={"data": chosen.name})

    def default_energy(self, name: str | None) -> str:
        """The set's classic energy, which has the set's own name; ``linear`` for gaussian; "" for a file."""
        if _is_file(name):
            return ""
        chosen = density(DEFAULT if name is None else name).name
        return chosen if chosen in CLASSIC else "linear"

    def network(self, data: Data) -> nn.Module | None:
        """None: the core's residual MLP is the right network for points in the plane."""
        return None

    def save_samples(self, samples: Tensor, folder: Path) -> Path:
        """Write ``samples.npy``, float32 of shape (n, 2)."""
        file = folder / "samples.npy"
        np.save(file, samples.detach().cpu().float().numpy())
        return file

    def figures(self, report: TiltReport, folder: Path) -> list[Path]:
        """Draw ``plane.png``: the energy over the plane, and where the generated density is above or below q."""
        evidence = report.evidence
        return [plane_figure(evidence, folder)] if evidence is not None and evidence.data[0].numel() == 2 else []

    def metrics(self, report: TiltReport) -> dict[str, Any]:
        """Shares of the modes, weighted data against generated, where the set has modes; else nothing."""
        if report.evidence is None or self._loaded not in MODES:
            return {}
        which, count = MODES[self._loaded]
        weights = torch.softmax(report.evidence.log_w, dim=0)
        target = torch.zeros(count, dtype=torch.float64).index_add(0, which(report.evidence.data), weights)
        samples = report.evidence.samples
        generated = torch.bincount(which(samples), minlength=count).double() / len(samples)
        shares = {"target": target, "generated": generated}
        found = {
            f"mode_{mode}_{kind}": round(float(share[mode]), 6)
            for mode in range(count)
            for kind, share in shares.items()
        }
        return {**found, "mode_share_error": round(float((target - generated).abs().sum() / 2), 6)}
