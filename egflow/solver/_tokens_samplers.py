"""Samplers of tokens: the chain of a discrete path, an order by entropy, left to right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.solver._tokens import TokenModel, TokenSolution, check_temperature, why_inexact
from egflow.solver._tokens_masked import lowest_of, one_of, told_in_turn
from egflow.solver._tokens_sequential import left_to_right
from egflow.solver._tokens_uniform import noise, refreshed_in_steps, refreshed_in_turn


@dataclass(frozen=True, slots=True)
class CTMC:
    """The continuous-time Markov chain of a discrete path (Campbell et al. 2024, arXiv 2402.04997; Gat et al. 2024).

    By default every jump is taken on its own, and samples are exact: on ``masked`` one evaluation a position, in a
    random order; on ``uniform`` about length · log(100 · length). With ``steps`` the chain leaps, several positions at
    once, and samples are not exact.

    Attributes:
        steps: leaps, even in t; None takes every jump by itself.
        temperature: not 1 draws from p^(1/temperature) at each jump, which samples no known distribution.
    """

    steps: int | None = None
    temperature: float = 1.0
    paths = ("masked", "uniform")

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if self.steps is not None:
            _check_whole("steps", self.steps)

    @property
    def inexact(self) -> str:
        """Why samples are not exact, or nothing."""
        return why_inexact(
            self.temperature, "" if self.steps is None else f"several tokens at each of {self.steps} steps"
        )

    def solve_tokens(self, model: TokenModel, x: Tensor, generator: torch.Generator) -> TokenSolution:
        """As `TokenSolver.solve_tokens`."""
        if model.path.name == "uniform":
            x = noise(model, x, generator)
            if self.steps is None:
                y, nfe = refreshed_in_turn(model, x, self.temperature, generator)
            else:
                y, nfe = refreshed_in_steps(model, x, self.steps, self.temperature, generator)
        else:
            left = iter(range(self.steps or 0, 0, -1))

            def by_chance(log_p: Tensor, hidden: Tensor) -> Tensor:
                u = torch.rand(hidden.shape, generator=generator).to(hidden.device)
                return one_of(u, hidden) if self.steps is None else (u < 1 / next(left)) & hidden

            y, nfe = told_in_turn(model, x, by_chance, self.temperature, generator)
        return _solution(y, nfe, self.inexact)


@dataclass(frozen=True, slots=True)
class EntropyOrdered:
    """On ``masked``: next comes the position whose predicted distribution has the least entropy.

    The entropy is a function of what is told already, so that any one at a time is exact. (Ordering by the probability
    of the token that was drawn, as many do, is not: it prefers likely tokens.)

    Attributes:
        at_once: positions told in one evaluation; more than 1 is not exact.
        temperature: as of `CTMC`.
    """

    at_once: int = 1
    temperature: float = 1.0
    paths = ("masked",)

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        _check_whole("at_once", self.at_once)

    @property
    def inexact(self) -> str:
        """Why samples are not exact, or nothing."""
        return why_inexact(self.temperature, f"{self.at_once} tokens at each step" * (self.at_once > 1))

    def solve_tokens(self, model: TokenModel, x: Tensor, generator: torch.Generator) -> TokenSolution:
        """As `TokenSolver.solve_tokens`."""

        def by_entropy(log_p: Tensor, hidden: Tensor) -> Tensor:
            return lowest_of(torch.special.entr(log_p.exp()).sum(-1), hidden, self.at_once)

        y, nfe = told_in_turn(model, x, by_entropy, self.temperature, generator)
        return _solution(y, nfe, self.inexact)


@dataclass(frozen=True, slots=True)
class Ancestral:
    """Left to right: on ``sequential`` with the network's cached state, on ``masked`` an evaluation a position. Exact.

    Attributes:
        temperature: as of `CTMC`.
    """

    temperature: float = 1.0
    paths = ("sequential", "masked")

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def inexact(self) -> str:
        """Why samples are not exact, or nothing."""
        return why_inexact(self.temperature)

    def solve_tokens(self, model: TokenModel, x: Tensor, generator: torch.Generator) -> TokenSolution:
        """As `TokenSolver.solve_tokens`."""
        if model.path.name == "sequential":
            y, nfe, log_q = left_to_right(model, x, self.temperature, generator)
            return _solution(y, nfe, self.inexact, None if self.inexact else log_q)
        place = torch.arange(x.shape[1], device=x.device).float()
        y, nfe = told_in_turn(
            model, x, lambda log_p, hidden: one_of(place.expand(hidden.shape), hidden), self.temperature, generator
        )
        return _solution(y, nfe, self.inexact)


def _check_whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def _solution(y: Tensor, nfe: Tensor, word: str, log_q: Tensor | None = None) -> TokenSolution:
    return TokenSolution(y, nfe, torch.zeros_like(nfe), exact=not word, word=word, log_q=log_q)
