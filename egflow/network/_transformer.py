"""A transformer for tokens, causal or looking both ways."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from egflow.network._context import ContextEmbedding, check_tokens
from egflow.network._embedding import TIME_FEATURES, time_features


@dataclass(frozen=True, slots=True)
class TransformerState:
    """Where a causal `Transformer` stands after some tokens: a cache of keys and values.

    A step writes into the cache, so a state is good for one step; `Transformer.select` copies.

    Attributes:
        cache: (depth, 2, batch, heads, length, head size): keys and values of each block, filled up to ``position``.
        position: number of tokens seen.
        context: (batch, width) from condition and beta, or None.
    """

    cache: Tensor
    position: int
    context: Tensor | None


class Transformer(nn.Module):
    """Pre-norm transformer (Vaswani et al., arXiv 1706.03762) with rotary positions (Su et al., arXiv 2104.09864).

    Each position also has a learnt vector of its own: sequences begin at position 0 and have one length, and rotary
    positions alone, which are relative, give the same logits everywhere where all inputs are masked. Condition, beta
    and, if ``timed``, t are added to every position.

    Args:
        inputs: number of token ids that may come in: 0 … inputs − 1.
        outputs: number of tokens that are predicted: logits over 0 … outputs − 1.
        length: largest number of positions.
        width: of the residual stream; the blocks' hidden layers are four times as wide.
        depth: number of blocks.
        heads: of the attention; width must be an even multiple of it.
        causal: position i sees inputs 0 … i only, and predicts the token after input i.
        timed: t is an input (the uniform path needs it; on the masked path the masks tell the time).
        condition_dim: length of a vector condition, or 0.
        num_classes: number of condition labels, or 0.
        beta_dim: number of energies whose beta is an input, or 0.

    Raises:
        ValueError: for a size below 1, or a width that is no even multiple of heads.

    Example:
        >>> net = Transformer(inputs=6, outputs=5, length=4, width=16, heads=2)
        >>> net(torch.zeros(3, 4, dtype=torch.long), torch.zeros(3)).shape
        torch.Size([3, 4, 5])
    """

    rotation: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        length: int,
        width: int = 128,
        depth: int = 3,
        heads: int = 4,
        causal: bool = False,
        timed: bool = False,
        condition_dim: int = 0,
        num_classes: int = 0,
        beta_dim: int = 0,
    ) -> None:
        super().__init__()
        self.config = {
            "inputs": inputs,
            "outputs": outputs,
            "length": length,
            "width": width,
            "depth": depth,
            "heads": heads,
            "causal": causal,
            "timed": timed,
            "condition_dim": condition_dim,
            "num_classes": num_classes,
            "beta_dim": beta_dim,
        }
        for name in ("inputs", "outputs", "length", "width", "depth", "heads"):
            if self.config[name] < 1:
                raise ValueError(f"{name}={self.config[name]} must be at least 1")
        if width % (2 * heads):
            raise ValueError(f"width={width} must be a multiple of 2 x heads = {2 * heads}: a rotation turns pairs")
        self.length, self.causal = length, causal
        self.embed, self.place = nn.Embedding(inputs, width), nn.Parameter(torch.randn(length, width))
        self.time = nn.Linear(TIME_FEATURES, width) if timed else None
        self.context = ContextEmbedding(width, condition_dim, num_classes, beta_dim)
        self.blocks = nn.ModuleList(Block(width, heads, depth) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        nn.init.normal_(self.head.weight, std=width**-0.5)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("rotation", rotation(torch.arange(length), width // heads).float(), persistent=False)

    def forward(
        self, x: Tensor, t: Tensor | None = None, condition: Tensor | None = None, beta: Tensor | None = None
    ) -> Tensor:
        """Tokens (batch, length) long -> logits at every position, (batch, length, outputs).

        Args:
            x: inputs, at most ``length`` positions.
            t: (batch,), used only if the network is timed.
            condition: (batch,) labels or (batch, condition_dim).
            beta: (batch, beta_dim), scaled to [0, 1].

        Raises:
            ValueError: for x that is no batch of tokens or too long, or a missing t, condition or beta.
        """
        check_tokens(x, self.length)
        positions = x.shape[1]
        h, context = self.embed(x) + self.place[:positions], self.context(condition, beta)
        if context is not None:
            h = h + context[:, None]
        if self.time is not None:
            if t is None:
                raise ValueError("t is None, and this network was built with timed=True: pass t (batch,)")
            h = h + self.time(time_features(t.to(h.dtype)))[:, None]
        for block in self.blocks:
            h = block(h, self.rotation[:, :positions], self.causal)
        return self.head(self.norm(h))

    def start(self, batch: int, condition: Tensor | None = None, beta: Tensor | None = None) -> TransformerState:
        """The state of ``batch`` empty sequences; condition and beta as in `forward`.

        Raises:
            ValueError: for a network that is not causal, or is timed.
        """
        if not self.causal or self.time is not None:
            raise ValueError("token by token works with causal=True and timed=False only: later tokens change the rest")
        width, heads, depth = self.config["width"], self.config["heads"], self.config["depth"]
        device = self.place.device
        half = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if half else self.place.dtype
        cache = torch.empty(depth, 2, batch, heads, self.length, width // heads, dtype=dtype, device=device)
        return TransformerState(cache, 0, self.context(condition, beta))

    @torch.no_grad()
    def step(self, token: Tensor, state: TransformerState) -> tuple[Tensor, TransformerState]:
        """One more token (batch,) long -> logits of the one after it, (batch, outputs), and the state.

        What `forward` gives at that position, up to rounding, without gradients. The old state's cache is written on.

        Raises:
            ValueError: past ``length`` tokens.
        """
        at = state.position
        if at >= self.length:
            raise ValueError(f"this network was built for length={self.length} tokens, and all were given")
        h = self.embed(token) + self.place[at]
        if state.context is not None:
            h = h + state.context
        h = h[:, None]
        for block, cache in zip(self.blocks, state.cache, strict=True):
            h = block.step(h, self.rotation[:, at : at + 1], cache, at)  # type: ignore[operator]
        return self.head(self.norm(h[:, 0])), TransformerState(state.cache, at + 1, state.context)

    def select(self, state: TransformerState, rows: Tensor) -> TransformerState:
        """A copy of the state of some rows (k,) long, in that order."""
        depth, two, _, heads, length, size = state.cache.shape
        cache = state.cache.new_empty(depth, two, len(rows), heads, length, size)
        cache[..., : state.position, :] = state.cache[..., : state.position, :][:, :, rows]
        return TransformerState(cache, state.position, None if state.context is None else state.context[rows])


class Block(nn.Module):
    """h + attention(norm(h)), then h + W_2 gelu(W_1 norm(h)).

    Args:
        width: of h, (batch, positions, width).
        heads: of the attention.
        depth: number of blocks; what each adds starts smaller by √(2·depth), as in GPT-2.
    """

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        with torch.no_grad():
            for layer in (self.out, self.narrow):
                layer.weight /= (2 * depth) ** 0.5

    def forward(self, h: Tensor, turn: Tensor, causal: bool) -> Tensor:
        """h (batch, positions, width), turn (2, positions, head size / 2) -> as h."""
        query, key, value = self._project(h, turn)
        return self._finish(h, attend(query, key, value, causal))

    def step(self, h: Tensor, turn: Tensor, cache: Tensor, at: int) -> Tensor:
        """One position h (batch, 1, width) after those in cache (2, batch, heads, length, head size), which gets it."""
        query, key, value = self._project(h, turn)
        cache[0, :, :, at : at + 1], cache[1, :, :, at : at + 1] = key, value
        keys, values = cache[:, :, :, : at + 1]
        return self._finish(h, attend(query, keys, values, causal=False))

    def _project(self, h: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.qkv(self.norm_attention(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return rotate(qkv[0], turn), rotate(qkv[1], turn), qkv[2]

    def _finish(self, h: Tensor, attended: Tensor) -> Tensor:
        h = h + self.out(attended.transpose(1, 2).flatten(2))
        return h + self.narrow(F.gelu(self.widen(self.norm_mlp(h))))


def rotation(position: Tensor, size: int) -> Tensor:
    """(positions,) -> (2, positions, size/2) float64: cos and sin of position · 10000^(−2i/size), i < size/2."""
    frequency = 10_000.0 ** (-torch.arange(0, size, 2, dtype=torch.float64, device=position.device) / size)
    angle = position[:, None] * frequency
    return torch.stack([angle.cos(), angle.sin()])


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the pairs (x_i, x_{i + size/2}) of x (…, positions, size) by the angles of `rotation`.

    Products of two turned vectors depend on their positions' difference only (arXiv 2104.09864, equation 16).
    """
    (a, b), (cos, sin) = x.chunk(2, -1), turn.to(x.dtype)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> Tensor:
    """softmax(q·k/√size)·v for (batch, heads, positions, size); causal: only over positions up to the query's.

    In bfloat16 on a CPU the backward of torch's fused form takes 8 to 14 times as long as that of the plain products
    (measured at 24 to 128 positions); in float32, and without gradients, the fused form is as fast or faster.
    """
    if query.device.type != "cpu" or query.dtype != torch.bfloat16 or not query.requires_grad:
        return F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    if causal:
        later = torch.full(scores.shape[-2:], -torch.inf, dtype=scores.dtype, device=scores.device).triu(1)
        scores = scores + later
    return scores.softmax(-1).to(value.dtype) @ value
