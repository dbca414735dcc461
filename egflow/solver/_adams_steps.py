"""The arithmetic of variable-step Adams methods: quadrature weights on uneven nodes, and how far the next step may go.

Modified divided differences after Krogh and Shampine-Gordon, as in Hairer, Nørsett, Wanner, *Solving Ordinary
Differential Equations I*, III.5 (equations 5.5 to 5.10). All tables have the order first and the sample last,
`(order, active)`, so that each row is contiguous.
"""

from __future__ import annotations

import torch
from torch import Tensor


def adams_weights(h: Tensor, nodes: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of one step of length h from nodes[0], on each sample's own past times.

    With tau the new time and t_i = nodes[i] the past ones,
    beta_0 = 1, beta_j = prod_{i<j} (tau - t_i) / (t_0 - t_{i+1}), and g_j from the recursion
    c_{0,q} = 1/q, c_{1,q} = 1/(q (q+1)), c_{j,q} = c_{j-1,q} - c_{j-1,q+1} h / (tau - t_{j-1}), g_j = c_{j,1}.

    Arguments:
        h: `(active,)` positive steps. nodes: `(order, active)` past times, latest first, decreasing.
        known: `(active,)` long, how many nodes are real; beta is 0 past them, which lowers the order in the start-up.

    Returns:
        beta `(order, active)` and g `(order + 1, active)`.
    """
    order = len(nodes)
    ahead = h + (nodes[:1] - nodes)
    q = torch.arange(1, order + 2, dtype=h.dtype, device=h.device)[:, None]
    c = 1 / (q * (q + 1))
    g = [torch.ones_like(h), torch.full_like(h, 0.5)]
    for j in range(2, order + 1):
        c = c[:-1] - c[1:] * (h / ahead[j - 1])
        g.append(c[0])
    ratio = ahead[:-1] / (nodes[:1] - nodes[1:])
    beta = torch.cat([torch.ones_like(h)[None], torch.cumprod(ratio, 0)])
    place = torch.arange(order, device=h.device)[:, None]
    return beta * (place < known), torch.stack(g)


def step_factor(error: Tensor, h: Tensor, ahead: Tensor, nodes: Tensor, used: Tensor, goal: float) -> Tensor:
    """The r for which a next step of r*h has the error `goal`, from the nodes it will really stand on.

    The estimate grows as h^3 prod_{i < k} (h + t_0 - t_i): a step that grows out of a short history may grow by much
    more than the textbook's (goal / error)^(1/(k+3)). Two Newton steps on the logarithm, which is convex, are enough.

    Arguments:
        error: `(active,)` estimate of the step just tried. h: `(active,)` its length. ahead: `(order, active)`
        distances from its nodes to its end. nodes: `(order, active)` nodes of the step to come. used: `(active,)` k.

    Returns:
        `(active,)` factors, not yet limited.
    """
    place = torch.arange(len(nodes), device=h.device)[:, None]
    counts = (place < used).to(h.dtype)
    past = nodes[:1] - nodes
    excess = (error.clamp(min=1e-12) / goal).log()
    offset = excess - (ahead.log() * counts).sum(0)
    z = -excess / (used + 3)
    for _ in range(2):
        reach = h * z.exp()
        span = reach + past
        value = offset + 3 * z + (span.log() * counts).sum(0)
        z = z - value / (3 + (reach / span * counts).sum(0))
    return z.exp()
