"""The loss on the held-out part: the same draws each time, so that two looks differ by the network alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from egflow.training._draws import StepDraws
from egflow.training._problem import Problem, Splits

BATCH = 2_048
_RISE = 4.0  # standard errors of the paired difference that make a rise worth a word


class HeldOutLoss:
    """Losses of one fixed held-out batch, and the lowest so far."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._batch: Splits | None = None
        if problem.held_out is not None:
            # a constant seed: the batch is the same for every seed and stage, and across a resume
            draws = StepDraws.at(0, -1, BATCH, torch.Generator())
            self._batch = problem.batch(draws, problem.held_out)
        self._best: Tensor | None = None
        self._best_step = 0
        self._last: Tensor | None = None

    @torch.no_grad()
    def look(self, step: int, network: nn.Module) -> float | str:
        """The mean held-out loss now, or "" where nothing is held out."""
        if self._batch is None:
            return ""
        was_training = network.training
        losses = self._problem.losses(network.eval(), self._batch).double().cpu()
        network.train(was_training)
        if self._best is None or losses.mean() < self._best.mean():
            self._best, self._best_step = losses, step
        self._last = losses
        return float(losses.mean())

    @property
    def word(self) -> str:
        """One line if the loss ended well above its lowest, else empty."""
        if self._best is None or self._last is None:
            return ""
        rise = self._last - self._best
        error = float(rise.std()) / len(rise) ** 0.5
        if not float(rise.mean()) > _RISE * error > 0:
            return ""
        return (
            f"rose from {float(self._best.mean()):.4g} at step {self._best_step} to {float(self._last.mean()):.4g} at "
            "the end: the network learns the training data by heart; use fewer steps, more data or a smaller network"
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        both = [None if losses is None else losses.tolist() for losses in (self._best, self._last)]
        return {"best": both[0], "last": both[1], "best_step": self._best_step}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self._best, self._last = (
            None if state[key] is None else torch.tensor(state[key], dtype=torch.float64) for key in ("best", "last")
        )
        self._best_step = state["best_step"]
