"""Gradient guidance on the predicted x_1: diffusion posterior sampling (Chung et al. 2023, arXiv 2209.14687, theorem 1)
with exp(−beta·E) as likelihood; universal guidance (Bansal et al. 2023, arXiv 2302.07121) is of the same form.

    ∇log q_t(x_t) ≈ ∇log p_t(x_t) − beta·∇_{x_t} E(x̂_1(x_t)),        x̂_1(x_t) = E[x_1 | x_t]

Exact would be ∇log E[exp(−beta·E(x_1)) | x_t]: the mean is taken inside the energy instead of outside, which leaves
Jensen's gap. It closes as t → 1, and everywhere for a linear energy of a Gaussian p. For p = N(0, 1) and E = x²/2, with
V = sigma²/(alpha² + sigma²) the variance of x_1 given x_t,

    −beta·∇E(x̂_1) = −beta·k·x_t,     exact: −beta·k·x_t / (1 + beta·V),     k = alpha²/(alpha² + sigma²)²

so that the guidance is too strong by 1 + beta·V, at t = 0 by 1 + beta.

No training; a forward and a backward pass of the base's network an evaluation; E must be differentiable. The paper's
step size relative to the residual's norm is left out: here beta has its own meaning.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from egflow.energy import EnergyModel, as_energy
from egflow.flow import Flow
from egflow.guidance._guided import base_velocity, change_of_velocity, check_guided_base, guided_flow, inside
from egflow.weights import check_beta


def gradient_guidance(base: Flow, energy: EnergyModel | Callable[..., Tensor], beta: float) -> Flow:
    """Guide the base by the gradient of the energy at the predicted x_1.

    Args:
        base: the flow of p.
        energy: differentiable, (batch, *event) -> (batch,), a torch graph from x.
        beta: on the energy's own scale.

    Returns:
        The guided flow. It samples q only approximately, however good the base, see the module.

    Raises:
        TypeError: for an energy without a gradient.
        ValueError: for a beta that is not finite, or a base without a velocity.

    Example:
        >>> base = Flow(lambda z, t, condition, beta=None: torch.zeros_like(z), (2,))
        >>> gradient_guidance(base, lambda x: x[:, 0], 1.0).sample(4).shape
        torch.Size([4, 2])
    """
    check_guided_base(base)
    beta = check_beta(beta)
    model = energy if isinstance(energy, EnergyModel) else as_energy(energy)
    if not model.differentiable:
        raise TypeError(
            f"gradient_guidance needs ∇E, and energy {model.describe()} has values but no gradient: "
            "use egflow.tilt, cep or monte_carlo_guidance, which only evaluate it"
        )
    return guided_flow(base, PosteriorMeanVelocity(base, model, beta), model, beta)


class PosteriorMeanVelocity(nn.Module):
    """v + Δv for Δ∇log p_t = −beta·∇E(x̂_1). Two passes: the base's, and back through it."""

    passes = 2

    def __init__(self, base: Flow, energy: EnergyModel, beta: float) -> None:
        super().__init__()
        self.base, self.energy, self.beta = base, energy, beta

    def forward(self, z: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        keep = torch.is_grad_enabled() and z.requires_grad
        with torch.enable_grad():
            y = z if keep else z.detach().requires_grad_()
            v = base_velocity(self.base, y, t, condition)
            z_1 = self.base.path.convert(v, y, t, "velocity", "x_1")
            energy = self.energy(self.base.shift + self.base.scale * z_1, condition)
            allowed = energy[energy != torch.inf].sum()
            if not allowed.requires_grad:
                raise TypeError(f"energy {self.energy.describe()} does not depend on x through torch")
            (gradient,) = torch.autograd.grad(allowed, y, create_graph=keep)
        change = change_of_velocity(self.base.path, -self.beta * gradient.to(v), inside(t), "score_fn")
        return (v if keep else v.detach()) + change
