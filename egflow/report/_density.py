"""The beta a flow achieved, read from its density: log q − log base = −beta·E − log Z(c), for a perfect tilt."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from egflow._rows import Rows

LogProb = Callable[[Tensor, Tensor | None], Tensor]


def no_density(x: Tensor | Rows) -> str | None:
    """The reason why data x (N, dim) have no density, or None.

    Quantised, rounded or clipped data sit on points: log densities of a flow fitted to them say nothing. Looked for in
    up to 2,000 rows: a coordinate with fewer distinct values than half the rows, or one value in over 1 % of them.
    """
    rows = min(len(x), 2000 if x.shape[1] <= 4096 else 500)
    ordered = x[torch.linspace(0, len(x) - 1, rows, dtype=torch.float64).long()].sort(0).values
    apart = ordered.diff(dim=0) != 0
    if bool((apart.sum(0) + 1 < rows / 2).any()):
        return "the data repeat values (quantised, rounded, constant or resampled): they have no density; dequantise"
    run = max(5, rows // 100)
    if rows > run and bool((ordered[run:] == ordered[:-run]).any()):
        return "one value is repeated in over 1 % of the data (clipped?): they have no density; dequantise"
    return None


def tilt_regression(
    energy: Tensor, log_ratio: Tensor, weight: Tensor, group: Tensor | None = None
) -> tuple[float, float]:
    """Weighted least squares of log q − log base (n,) on −E (n,): (slope, R²).

    One intercept, or one for each value of group (n,) long: with conditions, log Z(c) is another for each c.
    """
    share = weight / weight.sum()
    group = torch.zeros(len(energy), dtype=torch.long) if group is None else group
    mass = share.new_zeros(int(group.max()) + 1).index_add_(0, group, share)

    def centred(values: Tensor) -> Tensor:
        return values - (torch.zeros_like(mass).index_add_(0, group, share * values) / mass.clamp_min(1e-300))[group]

    u, v = centred(-energy), centred(log_ratio)
    uu, vv, uv = float(share @ u.square()), float(share @ v.square()), float(share @ (u * v))
    return uv / uu, (uv * uv / (uu * vv) if vv > 0 else 0.0)


def achieved_beta(
    x: Tensor | Rows,
    values: Tensor,
    log_half: Tensor,
    log_q: LogProb,
    log_base: LogProb,
    condition: Tensor | None,
    points: int,
) -> tuple[float, float] | str:
    """Slope and R² at held-out points drawn ∝ exp(−beta·E/2), where both densities have data.

    The draw is systematic and a point drawn twice is asked once and counts twice: likelihoods are what costs.

    Args:
        x: (N, *event) held-out points.
        values: (N,) their energies.
        log_half: (N,) log of the drawing weights, −inf where forbidden.
        log_q: log density of the tilted flow, (batch, *event), condition -> (batch,).
        log_base: that of the base.
        condition: (N, …) or None.
        points: how many to draw.

    Returns:
        (achieved beta, R²), or the reason why there is none.
    """
    cdf = torch.softmax(log_half, 0).cumsum(0)
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points * cdf[-1]
    index, count = torch.searchsorted(cdf, u).clamp_max(len(x) - 1).unique(return_counts=True)
    if len(index) < 10:
        return f"only {len(index)} distinct held-out points could be drawn: too few for a regression"
    energy = values[index]
    at, c = x[index], None if condition is None else condition[index.to(condition.device)]
    group = torch.zeros(len(index), dtype=torch.long)
    if c is not None:
        group = c.unique(dim=0, return_inverse=True)[1].cpu()
        if len(index) - int(group.max()) < 10:
            return "hardly a condition is repeated, and log Z(c) is another for each: no slope can be told from it"
    top, low = (
        torch.zeros(int(group.max()) + 1, dtype=energy.dtype).scatter_reduce(0, group, energy, how, include_self=False)
        for how in ("amax", "amin")
    )
    if float((top - low).max()) <= 1e-12 * float(energy.abs().max()):
        return "the energy is constant over the held-out points: every beta gives the same density"
    with torch.no_grad():
        ratio = (log_q(at, c).double() - log_base(at, c).double()).cpu()
    known = torch.isfinite(ratio)
    if int(known.sum()) < 10:
        return "log q or log base is not finite at the held-out points"
    return tilt_regression(energy[known], ratio[known], count[known].double(), group[known])
