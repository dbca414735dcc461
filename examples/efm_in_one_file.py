"""Energy-weighted flow matching in one file, from nothing but torch.

There are samples of a density p, here eight Gaussians on a circle, and an energy E, any function of a sample; low is
good. Wanted is a generator of

    q(x)  ∝  p(x) · exp(−beta · E(x)).

Ordinary flow matching learns the velocity that carries noise x_0 at t = 0 to data x_1 at t = 1 along straight lines
x_t = (1 − t)·x_0 + t·x_1, by regression on x_1 − x_0. To reach q instead of p it is enough to draw x_1 from the data in
proportion to its weight w = exp(−beta · E(x_1)): the same loss, the same network, the same price of a sample, and no
gradient of E anywhere. (Energy-weighted flow matching, arXiv 2503.04975; its t counts the other way.)

    python examples/efm_in_one_file.py          # about half a minute on one core
    python examples/efm_in_one_file.py 200      # fewer steps, for a look
"""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn

BETA = 3.0
N_DATA, N_SAMPLES = 200_000, 20_000
STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000
BATCH = 512

# --- the data and the energy -----------------------------------------------------------------------------------------

torch.manual_seed(0)
angles = torch.arange(8) * math.pi / 4
centres = torch.stack([angles.cos(), angles.sin()], dim=1) * 2.83


def sample_p(n: int) -> Tensor:
    """(n, 2) draws of p."""
    return centres[torch.randint(8, (n,))] + 0.35 * torch.randn(n, 2)


def energy(x: Tensor) -> Tensor:
    """(n, 2) -> (n,): 0, −1/7, −2/7, … −1 around the circle. It has no useful gradient, and needs none."""
    return -torch.cdist(x, centres).argmin(dim=1) / 7


data = sample_p(N_DATA)

# --- the weights -----------------------------------------------------------------------------------------------------
# In float64 and as logarithms: exp(−beta·E) of a large beta leaves float32. What decides how well q can be learned is
# not N but the effective number of samples, n_eff = (Σw)² / Σw².

log_w = -BETA * energy(data).double()
share = torch.softmax(log_w, dim=0)
n_eff = 1 / share.square().sum()
cumulative = share.cumsum(dim=0)


def draw_weighted(n: int) -> Tensor:
    """(n, 2) draws of x_1 in proportion to w: invert the cumulative weights at n evenly spread points (systematic)."""
    points = (torch.arange(n) + torch.rand(1)).double() / n
    return data[torch.searchsorted(cumulative, points).clamp(max=N_DATA - 1)]


# --- the network: velocity v(x, t) -----------------------------------------------------------------------------------


class Velocity(nn.Module):
    """A residual MLP on (x, t, sin and cos of t)."""

    def __init__(self, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        self.inlet = nn.Linear(2 + 5, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.outlet = nn.Linear(width, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(batch, 2) and (batch,) -> (batch, 2)."""
        waves = [f(k * math.pi * t) for k in (1, 2) for f in (torch.sin, torch.cos)]
        h = self.inlet(torch.cat([x, torch.stack([t, *waves], dim=1)], dim=1))
        for layer in self.hidden:
            h = h + layer(nn.functional.silu(h))
        return self.outlet(nn.functional.silu(h))


# --- training: one regression ----------------------------------------------------------------------------------------

velocity = Velocity()
average = torch.optim.swa_utils.AveragedModel(
    velocity, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(max(0.0, min(0.999, 1 - 10 / STEPS)))
)
optimiser = torch.optim.Adam(velocity.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)

for step in range(1, STEPS + 1):
    x_1 = draw_weighted(BATCH)  # the only line that differs from ordinary flow matching
    x_0 = torch.randn_like(x_1)
    t = ((torch.randperm(BATCH) + torch.rand(BATCH)) / BATCH).clamp(max=1.0)  # evenly spread over [0, 1]
    x_t = (1 - t[:, None]) * x_0 + t[:, None] * x_1
    loss = (velocity(x_t, t) - (x_1 - x_0)).square().sum(dim=1).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
    average.update_parameters(velocity)
    if step % max(STEPS // 8, 1) == 0:
        print(f"step {step:5d}   loss {loss.item():.3f}")

# --- sampling: the ordinary differential equation dx/dt = v(x, t) from t = 0 to 1, by Runge–Kutta of order 4 ----------


@torch.no_grad()
def sample_q(n: int, steps: int = 20) -> Tensor:
    """(n, 2) draws of q, 4·steps evaluations of the network."""
    x, h = torch.randn(n, 2), 1 / steps
    for i in range(steps):
        start, middle, end = (torch.full((n,), (i + part) * h) for part in (0.0, 0.5, 1.0))
        k_1 = average(x, start)
        k_2 = average(x + h / 2 * k_1, middle)
        k_3 = average(x + h / 2 * k_2, middle)
        k_4 = average(x + h * k_3, end)
        x = x + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return x


samples = sample_q(N_SAMPLES)

# --- how close? ------------------------------------------------------------------------------------------------------
# What the mean of E under q must be is known from the weighted data, with a standard error; fresh data, so that nothing
# learned by heart counts.

fresh = energy(sample_p(N_DATA)).double()
weights = torch.softmax(-BETA * fresh, dim=0)
target = (weights * fresh).sum()
target_error = (weights.square() * (fresh - target).square()).sum().sqrt()
found = energy(samples).double()
print(f"effective samples    {n_eff:.0f} of {N_DATA}")
print(f"mean energy of p     {fresh.mean():.4f}")
print(f"mean energy of q     {target:.4f} ± {target_error:.4f}   from the weighted data")
print(f"mean energy          {found.mean():.4f} ± {found.std() / math.sqrt(N_SAMPLES):.4f}   generated")
