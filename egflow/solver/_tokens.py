"""What every sampler of tokens takes and gives: a model of what is hidden, a start; the samples, and what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from egflow.path import TokenPath, Vocabulary
from egflow.solver._solution import Solution, SolverError


@dataclass(frozen=True, slots=True)
class TokenSolution(Solution):
    """As `Solution`, of tokens (batch, length).

    Attributes:
        exact: whether a perfect network would have given samples of its distribution.
        word: why not, else empty.
        log_q: (batch,) float64, the log-probability each sample was drawn with, what was fixed left out; None where
            the sampler does not know it.
    """

    exact: bool = True
    word: str = ""
    log_q: Tensor | None = None


class TokenModel(Protocol):
    """A network on a path, as samplers see it; ``rows`` are places in the batch, to look up conditions."""

    @property
    def path(self) -> TokenPath: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    def predict(self, x_t: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        """x_t (active, length), t (active,), rows (active,) -> log-probabilities (active, length, outputs)."""
        ...

    def begin(self, batch: int) -> Any:
        """The state of a causal network before BEGIN."""
        ...

    def step(self, token: Tensor, state: Any) -> tuple[Tensor, Any]:
        """A token (active,) further: log-probabilities of the next (active, outputs), and the state."""
        ...

    def select(self, state: Any, rows: Tensor) -> Any:
        """The state of some of its rows (k,)."""
        ...


class TokenSolver(Protocol):
    """From a start x (batch, length), in which MASK (BEGIN) stands for what is free, to samples.

    Attributes:
        paths: names of the paths it samples.
        inexact: why its samples are not the network's distribution, or nothing.
    """

    @property
    def paths(self) -> tuple[str, ...]: ...

    @property
    def inexact(self) -> str: ...

    def solve_tokens(self, model: TokenModel, x: Tensor, generator: torch.Generator) -> TokenSolution: ...


def draw(log_p: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Draw from log-probabilities (…, outputs), sharpened or flattened: p^(1/temperature). Returns (…) long."""
    log_p = log_p.double()
    if temperature != 1.0:
        log_p = log_p / temperature
        log_p = log_p - log_p.amax(-1, keepdim=True)
    below = log_p.exp().cumsum(-1)
    # by inversion, in float64: a token of probability 0 is never drawn
    if not bool(below[..., -1].isfinite().all()):
        raise SolverError("the network's probabilities are not finite: it was trained to NaN, or given none")
    u = torch.rand(log_p.shape[:-1], generator=generator, dtype=torch.float64).to(log_p.device)
    return (below <= (u * below[..., -1])[..., None]).sum(-1)


def settle(x: Tensor, vocabulary: Vocabulary) -> Tensor:
    """x (batch, length) with END after the first END: what follows is no longer a question."""
    if vocabulary.end is None:
        return x
    return x.masked_fill((x == vocabulary.end).cummax(1).values, vocabulary.end)


def check_temperature(temperature: float) -> None:
    """A positive number. Raises ValueError otherwise."""
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a positive number, got {temperature!r}; 1 samples the flow itself")


def why_inexact(temperature: float, several: str = "") -> str:
    """Why samples are not exact, in words, or nothing."""
    words = [f"temperature {temperature:g}"] if temperature != 1.0 else []
    return " and ".join([*words, several] if several else words)
