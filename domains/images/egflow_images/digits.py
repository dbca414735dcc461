"""Scikit-learn's handwritten digits: 1,797 real 8x8 pictures that come inside its wheel.

They are the test part of "Optical Recognition of Handwritten Digits" (UCI, Alpaydin and Kaynak, 1998): grey values 0
to 16. Quantised values have no density, so noise is added: (value + u) / 17 with u uniform in [0, 1), drawn once from a
fixed seed. So every run has the same pictures, in [0, 1), and a density exists.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DEQUANTISE_SEED = 20250304
LEVELS = 17


def digits() -> tuple[Tensor, Tensor]:
    """The dequantised pictures, (1797, 1, 8, 8) float32 in [0, 1), and their labels, (1797,) long."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    values = torch.from_numpy(pixels).reshape(-1, 1, 8, 8)
    noise = torch.rand(values.shape, generator=torch.Generator().manual_seed(_DEQUANTISE_SEED), dtype=torch.float64)
    return ((values + noise) / LEVELS).float().clamp(max=1 - 2**-24), torch.from_numpy(labels).long()
