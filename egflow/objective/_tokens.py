"""The objective on tokens: cross-entropy, per sample and before weighting.

    L(θ) = E[ w(x_1) · Σ_i share_i · (−log p_θ(x_1^i | x_t)) ] / E[w]

Its minimiser is the conditional of q ∝ p·w, for any w(x_1) ≥ 0 and any corruption of x_1 into x_t that knows nothing of
w. Given x_t, the loss is a sum over tokens a of  −P(x_t) · E[w 1{x_1^i = a} | x_t] · log p_θ(a | x_t), least where

    p_θ(a | x_t) = E[w(x_1) 1{x_1^i = a} | x_t] / E[w(x_1) | x_t] = q(x_1^i = a | x_t)

by Gibbs' inequality: the proof of arXiv 2503.04975, theorem 3.3, with log-probabilities in place of velocities. How
positions are hidden, and their shares, are the path's: see `egflow.path`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from egflow.path import TokenPoint


def cross_entropy(log_p: Tensor, point: TokenPoint) -> Tensor:
    """Σ_i share_i · (−log p_θ(x_1^i | x_t)): log_p (batch, length, outputs) -> (batch,), nats a position."""
    told = log_p.gather(2, point.x_1[..., None])[..., 0]
    return -torch.where(point.share > 0, point.share * told, 0.0).sum(1)  # what is not asked for may be impossible
