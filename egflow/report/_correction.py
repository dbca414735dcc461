"""What a correction makes of the samples: resampled by base·exp(−beta·E)/q, how far they are from the target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from egflow.report._compare import Reference
from egflow.report._distance import halved_distance
from egflow.weights import n_eff, normalise, resample

_SEED = 41


def correction_block(correction: Mapping[str, Any] | None, held: Reference, made: Tensor) -> dict[str, Any] | None:
    """The entry of report.json, with the distances before and after where the samples' weights are given.

    Both are of as many samples as the weights leave effective, so that they can be set beside one another; the target
    is that of the report (`reference`), which the base's own tilt, where the correction leads, may differ from.

    Args:
        correction: what the caller says, with `log_w` (m,), the log-weights of the samples, or without; or None.
        held: the weighted reference.
        made: the samples as points (m, dim).
    """
    if correction is None:
        return None
    said = {key: value for key, value in correction.items() if key != "log_w"}
    log_w: Tensor | None = correction.get("log_w")
    if log_w is None:
        return said
    left = n_eff(log_w)
    count = max(2, round(left))
    u = torch.rand(count, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64)
    stratum = torch.randperm(count, generator=torch.Generator().manual_seed(_SEED))
    index = resample(log_w.double().cpu(), (stratum + u) / count)
    share = normalise(held.log_w) if held.alive else None
    before, after = (None if share is None else halved_distance(held.x, share, x) for x in (made[:count], made[index]))
    return {
        "drawn": len(made),
        "n_eff": left,
        "distance_before": before.value if before else None,
        "distance_after": after.value if after else None,
    } | said


def after_correction(block: Mapping[str, Any] | None) -> str:
    """What to add to a verdict on samples that a correction mends, or ""."""
    if not block or not block.get("energy_mean"):
        return ""
    mean, drawn = block["energy_mean"]["corrected"], block.get("drawn") or block["n"]
    return f"; after the correction mean energy {mean:.4g}, {block['n_eff']:,.0f} of {drawn:,} effective"
