"""What turns a property into a score in [0, 1], and scores into one: GuacaMol's modifiers and means.

From GuacaMol (arXiv 1811.09621, section "scoring functions"): Gaussian, MinGaussian, MaxGaussian, Thresholded.
"""

from __future__ import annotations

import math


def gaussian(x: float, mu: float, sigma: float) -> float:
    """exp(−((x − mu)/sigma)²/2): 1 at mu.

    >>> gaussian(3.0, 3.0, 0.5)
    1.0
    """
    return math.exp(-0.5 * ((x - mu) / sigma) ** 2)


def at_most(x: float, mu: float, sigma: float) -> float:
    """MinGaussian: 1 up to mu, a Gaussian's fall above it."""
    return gaussian(max(x, mu), mu, sigma)


def at_least(x: float, mu: float, sigma: float) -> float:
    """MaxGaussian: 1 from mu on, a Gaussian's fall below it."""
    return gaussian(min(x, mu), mu, sigma)


def up_to(x: float, threshold: float) -> float:
    """Thresholded (its code says Clipped): min(x / threshold, 1), for x >= 0."""
    return min(x / threshold, 1.0)


def arithmetic(*scores: float) -> float:
    """The arithmetic mean."""
    return sum(scores) / len(scores)


def geometric(*scores: float) -> float:
    """The geometric mean; 0 where any score is.

    >>> geometric(0.25, 1.0), geometric(0.0, 1.0)
    (0.5, 0.0)
    """
    return math.prod(scores) ** (1 / len(scores))
