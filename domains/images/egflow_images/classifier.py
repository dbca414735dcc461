"""A small classifier of digits, trained here in seconds, the same each time."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.report import held_out_split
from egflow_images.digits import LEVELS, digits

STEPS = 600
BATCH = 128


class DigitClassifier(nn.Module):
    """Logits (batch, 10) of pictures (batch, 1, 8, 8). Pixels are clipped to [0, 1], so they are finite everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(4 * x.clamp(0, 1).flatten(1) - 2)


@lru_cache(maxsize=1)
def digit_classifier() -> DigitClassifier:
    """The classifier, trained on the training part of the digits only (see `egflow.report.held_out_split`).

    The noise of the dequantisation is drawn anew in each step. The caller's random state is left as it was.
    """
    x, labels = digits()
    kept, _ = held_out_split(len(x))
    values, labels = (x[kept] * LEVELS).floor(), labels[kept]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        model = DigitClassifier()
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            batch = torch.randint(len(values), (BATCH,))
            pictures = (values[batch] + torch.rand(BATCH, 1, 8, 8)) / LEVELS
            loss = F.cross_entropy(model(pictures), labels[batch], label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)
