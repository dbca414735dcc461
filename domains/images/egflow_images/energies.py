"""Energies of pictures (batch, c, h, w) -> (batch,). Each keeps its unit: grey values in [0, 1], or nats."""

from __future__ import annotations

import torch
from torch import Tensor

from egflow.energy import EnergyModel
from egflow_images.classifier import digit_classifier


class Ink(EnergyModel):
    """E(x) = mean grey value. Low energy is little ink: thin, light strokes. A negative beta asks for bold ones.

    Example:
        >>> Ink()(torch.full((1, 1, 8, 8), 0.5))
        tensor([0.5000])
    """

    def describe(self) -> str:
        return "ink"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x.flatten(1).mean(dim=1)


class Symmetry(EnergyModel):
    """E(x) = mean squared difference between the picture and its left–right mirror image. Low energy is symmetric.

    Example:
        >>> Symmetry()(torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]]))
        tensor([0.])
    """

    def describe(self) -> str:
        return "symmetry"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return (x - x.flip(-1)).square().flatten(1).mean(dim=1)


class DigitClass(EnergyModel):
    """E(x) = −log p(digit | x), in nats, by a small classifier trained on the training part of the digits.

    At beta 1, q ∝ p(x)·p(digit | x) is p(x | digit), if the classifier is right.

    Args:
        digit: 0 to 9.

    Raises:
        ValueError: for anything else.
    """

    def __init__(self, digit: int = 3) -> None:
        super().__init__()
        if isinstance(digit, bool) or not isinstance(digit, int) or not 0 <= digit <= 9:
            raise ValueError(f"digit must be a whole number from 0 to 9, got {digit!r}: write images.digit=3")
        self.digit = digit
        self.classifier = digit_classifier()

    def describe(self) -> str:
        return f"class(digit={self.digit})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return -torch.log_softmax(self.classifier(x), dim=1)[:, self.digit]
