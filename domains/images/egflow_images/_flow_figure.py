"""Pictures that take the flow itself: what the energy changed, how a sample comes to be, what beta does."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch

from egflow.flow import Flow
from egflow_images._figure import labelled_rows

COLUMNS = 12
_TIMES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
_BETAS = 5
_SHOWN = 6  # trajectories
_TOLERANCE = 1e-3


def same_noise_figure(flow: Flow, folder: Path, seed: int) -> Path:
    """Draw ``same_noise.png``: samples of the base, and under each what the tilted flow makes of the same noise."""
    assert flow.base is not None
    rows = [one.sample(COLUMNS, rtol=_TOLERANCE, atol=_TOLERANCE, seed=seed) for one in (flow.base, flow)]
    return labelled_rows(folder / "same_noise.png", rows, ["base", f"tilted, beta {flow.beta:g}"])


def strip_figure(flow: Flow, folder: Path, seed: int) -> Path:
    """Draw ``beta_strip.png``: what a flow of every beta makes of the same noise, a row for each of five betas."""
    assert flow.beta_range is not None and len(flow.beta_range) == 1
    low, high = flow.beta_range[0]
    betas = [low + (high - low) * k / (_BETAS - 1) for k in range(_BETAS)]
    rows = [flow.sample(COLUMNS, beta=beta, rtol=_TOLERANCE, atol=_TOLERANCE, seed=seed) for beta in betas]
    return labelled_rows(folder / "beta_strip.png", rows, [f"beta {beta:g}" for beta in betas])


def trajectory_figure(flow: Flow, folder: Path, seed: int) -> Path:
    """Draw ``trajectory.png``: some samples at seven times, from noise at t = 0 on."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(_SHOWN, *flow.event_shape, generator=generator).to(flow.shift)
    shown = [z * flow.scale + flow.shift]
    for before, after in pairwise(t * flow.path.t_end for t in _TIMES):
        z = flow.integrate(z, before, after, rtol=_TOLERANCE, atol=_TOLERANCE).y
        shown.append(z * flow.scale + flow.shift)
    return labelled_rows(folder / "trajectory.png", shown, [f"t = {t:g}" for t in _TIMES])
