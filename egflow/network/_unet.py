"""A small U-Net for square pictures."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network._embedding import BetaEmbedding, ConditionEmbedding

GROUPS = 8


class UNet(nn.Module):
    """U-Net of residual blocks (GroupNorm, SiLU, 3x3 convolutions) over `levels` resolutions.

    Each block is shifted and scaled by the embedding of t and of the condition. Resolutions change by folding 2x2
    pixels into channels and back, so nothing is thrown away on the way down. The output starts at zero. The layout is
    that of Ronneberger et al. (arXiv 1505.04597) as diffusion models use it (Dhariwal and Nichol, arXiv 2105.05233).

    Args:
        channels: of the picture.
        size: height and width, a multiple of 2^(levels − 1).
        width: channels of the first resolution, a multiple of 8; doubled at the second and kept from there on.
        levels: number of resolutions.
        blocks: residual blocks at each resolution, on the way down and on the way up.
        condition_dim: length of a vector condition, or 0.
        num_classes: number of condition labels, or 0.
        beta_dim: number of betas the field is a function of, or 0.
        attention: whether the pixels of the last resolution attend to each other; for a GPU.
        patch: the first resolution takes patch x patch pixels as one, of patch² times the channels.

    Raises:
        ValueError: for a size that cannot be folded and halved that often, or a width that is no multiple of 8.

    Example:
        >>> net = UNet(channels=1, size=8, width=16)
        >>> net(torch.zeros(5, 1, 8, 8), torch.rand(5)).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self,
        channels: int = 1,
        size: int = 8,
        width: int = 32,
        levels: int = 2,
        blocks: int = 1,
        condition_dim: int = 0,
        num_classes: int = 0,
        beta_dim: int = 0,
        attention: bool = False,
        patch: int = 1,
    ) -> None:
        super().__init__()
        part = patch * 2 ** max(levels - 1, 0)
        if size < 1 or levels < 1 or patch < 1 or size % part:
            folded = f"cut into patches of {patch} and " if patch != 1 else ""
            raise ValueError(
                f"size={size} cannot be {folded}halved {levels - 1} times: "
                f"pad the pictures to a multiple of {part}, or pass fewer levels"
            )
        if width < GROUPS or width % GROUPS:
            raise ValueError(f"width={width} must be a multiple of {GROUPS}: the number of groups of GroupNorm")
        self.config = {
            "channels": channels,
            "size": size,
            "width": width,
            "levels": levels,
            "blocks": blocks,
            "condition_dim": condition_dim,
            "num_classes": num_classes,
            "beta_dim": beta_dim,
            "attention": attention,
            "patch": patch,
        }
        widths = [width * min(2**level, 2) for level in range(levels)]
        embedding = 4 * width
        self.time = nn.Sequential(nn.Linear(2 * width, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        conditional = condition_dim + num_classes > 0
        self.condition = ConditionEmbedding(embedding, condition_dim, num_classes) if conditional else None
        self.beta = BetaEmbedding(embedding, beta_dim) if beta_dim else None
        self.inlet = nn.Conv2d(channels * patch**2, width, 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(ResidualBlock(inner, inner, embedding) for _ in range(blocks)) for inner in widths
        )
        self.fold = nn.ModuleList(nn.Conv2d(4 * outer, inner, 1) for outer, inner in pairwise(widths))
        self.middle = ResidualBlock(widths[-1], widths[-1], embedding)
        self.attention = SelfAttention(widths[-1]) if attention else nn.Identity()
        self.up = nn.ModuleList(
            nn.ModuleList(
                ResidualBlock(2 * inner if block == 0 else inner, inner, embedding) for block in range(blocks)
            )
            for inner in widths
        )
        self.unfold = nn.ModuleList(nn.Conv2d(inner, 4 * outer, 1) for outer, inner in pairwise(widths))
        self.outlet = nn.Conv2d(width, channels * patch**2, 3, padding=1)
        self.norm = nn.GroupNorm(GROUPS, width)
        nn.init.zeros_(self.outlet.weight)
        nn.init.zeros_(_bias(self.outlet))

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None, beta: Tensor | None = None) -> Tensor:
        """x (batch, c, h, w), t (batch,), condition (batch,) or (batch, condition_dim), beta -> (batch, c, h, w)."""
        channels, size = self.config["channels"], self.config["size"]
        if x.shape[1:] != (channels, size, size):
            raise ValueError(f"x has shape {tuple(x.shape)}, this U-Net takes (batch, {channels}, {size}, {size})")
        embedding = self.time(wave_features(t, 2 * self.config["width"]))
        if self.condition is not None:
            if condition is None:
                raise ValueError("condition is None, and this U-Net was built with one: pass condition=")
            embedding = embedding + self.condition(condition)
        if self.beta is not None:
            embedding = embedding + self.beta(beta)
        embedding = F.silu(embedding)
        patch = self.config["patch"]
        h, kept = self.inlet(rearrange(x, "b c (h i) (w j) -> b (c i j) h w", i=patch, j=patch)), []
        for level, blocks in enumerate(self.down):
            if level:
                h = self.fold[level - 1](rearrange(h, "b c (h i) (w j) -> b (c i j) h w", i=2, j=2))
            for block in blocks:  # pyright: ignore[reportGeneralTypeIssues]  a ModuleList inside a ModuleList
                h = block(h, embedding)
            kept.append(h)
        h = self.attention(self.middle(h, embedding))
        for level in reversed(range(len(self.up))):
            h = torch.cat([h, kept[level]], dim=1)
            for block in self.up[level]:  # pyright: ignore[reportGeneralTypeIssues]  as above
                h = block(h, embedding)
            if level:
                h = rearrange(self.unfold[level - 1](h), "b (c i j) h w -> b c (h i) (w j)", i=2, j=2)
        h = self.outlet(F.silu(self.norm(h)))
        return rearrange(h, "b (c i j) h w -> b c (h i) (w j)", i=patch, j=patch)


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x))))·(1 + scale) + shift)), scale and shift from the embedding.

    The second convolution starts at zero, so a new block is the identity (or a 1x1 convolution where widths differ).
    """

    def __init__(self, inner: int, outer: int, embedding: int) -> None:
        super().__init__()
        self.norm_in, self.conv_in = nn.GroupNorm(GROUPS, inner), nn.Conv2d(inner, outer, 3, padding=1)
        self.norm_out, self.conv_out = nn.GroupNorm(GROUPS, outer), nn.Conv2d(outer, outer, 3, padding=1)
        self.modulate = nn.Linear(embedding, 2 * outer)
        self.skip = nn.Identity() if inner == outer else nn.Conv2d(inner, outer, 1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(_bias(self.conv_out))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x (batch, inner, h, w), embedding (batch, embedding) -> (batch, outer, h, w)."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        scale, shift = rearrange(self.modulate(embedding), "b (two c) -> two b c 1 1", two=2)
        return self.skip(x) + self.conv_out(F.silu(self.norm_out(h) * (1 + scale) + shift))


class SelfAttention(nn.Module):
    """x + the attention of pixels to each other, in heads of 16 channels, or 8; zero at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // math.gcd(width, 16)
        self.norm, self.qkv, self.out = (
            nn.GroupNorm(GROUPS, width),
            nn.Conv2d(width, 3 * width, 1),
            nn.Conv2d(width, width, 1),
        )
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(_bias(self.out))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width, h, w) -> the same."""
        q, k, v = rearrange(
            self.qkv(self.norm(x)), "b (three n c) h w -> three b n (h w) c", three=3, n=self.heads
        ).contiguous()
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(mixed, "b n (h w) c -> b (n c) h w", h=x.shape[-2]))


def wave_features(t: Tensor, size: int) -> Tensor:
    """(batch,) -> (batch, size): cos and sin of t times frequencies spaced geometrically from 1 to 100.

    The sinusoidal embedding of "Attention Is All You Need" (arXiv 1706.03762); t in [0, 1] needs no higher ones.
    """
    half = size // 2
    frequencies = torch.exp(torch.linspace(0, math.log(100), half, device=t.device, dtype=t.dtype))
    angle = t[:, None] * frequencies
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def _bias(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
