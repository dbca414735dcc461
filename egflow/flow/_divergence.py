"""The divergence ∇·v of a velocity, exact or by Hutchinson's estimator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def divergence(field: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The field at x, and its divergence there.

        exact:      Σ_i ∂v_i/∂x_i                          one backward pass a dimension
        Hutchinson: e_kᵀ (∂v/∂x) e_k, with E[e eᵀ] = I     one backward pass a probe (Hutchinson 1989; FFJORD)

    Args:
        field: (batch, *event) -> (batch, *event), each row a function of its own row only.
        x: (batch, *event).
        probes: (k, batch, *event), or None for the exact divergence.

    Returns:
        v (batch, *event), and the divergence (batch, 1), or (batch, k), one estimate a probe.

    Raises:
        ValueError: where the field does not say how it depends on x, so that it has no divergence to be had.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        v = field(x)
        if not v.requires_grad:
            raise ValueError(
                "the velocity is not differentiable in x, so this flow has no likelihood: its network must not run "
                "under torch.no_grad, in NumPy, or detach its input"
            )
        flat = v.flatten(1)
        columns = []
        if probes is None:
            for i in range(flat.shape[1]):
                (grad,) = torch.autograd.grad(flat[:, i].sum(), x, retain_graph=True)
                columns.append(grad.flatten(1)[:, i])
            columns = [torch.stack(columns, 1).sum(1)]
        else:
            for probe in probes:
                (grad,) = torch.autograd.grad((v * probe).sum(), x, retain_graph=True)
                columns.append((grad * probe).flatten(1).sum(1))
    return v.detach(), torch.stack(columns, 1)
