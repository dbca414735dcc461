"""Samples for the HTML report, drawn from a run's flow with the same noise at every stop of the slider."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from egflow._tilt_inputs import draw_from_base
from egflow.cli._compose import Settings
from egflow.cli._energy import Chosen, choose_energy
from egflow.cli._loaded import Loaded, load_run
from egflow.domain import Data
from egflow.energy import EnergyValues, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.page import Drawn
from egflow.report import weighted_sum
from egflow.training import mix
from egflow.weights import log_weights, per_condition_weights, resample

_SMALL = 64  # numbers of an event up to which many samples are drawn
_TOLERANCE = 1e-3  # a picture's
_MOST_DATA, _MOST_DRAWS = 20_000, 4_000


@dataclass(frozen=True, slots=True)
class _Beside:
    """Data beside the samples: with energies and weights where these are at hand."""

    data: Data
    x: Tensor
    values: list[EnergyValues]


def draw(command: Settings, typed: bool, notes: list[str]) -> Drawn | None:
    """Samples, energies and weighted data of a run, or None where its flow cannot be sampled as it is.

    Args:
        command: of the report, with one run's folder as ``run``.
        typed: whether the command line names the energy; else only a preset is made, and no code is run.
        notes: takes what is left out, and why.

    Raises:
        ValueError: for an energy of the command line that cannot be used.
    """
    run = load_run(command | {"n": None, "beta": None, "solver": {"name": None, "rtol": _TOLERANCE}})
    run.settings["cache"] = None
    chosen = _energy(run, typed, notes)
    stops = _stops(run.flow)
    if stops is None:
        notes.append("A range for so many energies has no slider: the table holds what was found.")
        return None
    beside = _data(run, chosen, notes)
    betas = list(itertools.product(*stops)) if stops else [_fixed(run.flow)]
    log_w = [] if beside is None or not beside.values else [_log_w(run, beside, at) for at in betas]
    if run.flow.condition_shape is not None and not log_w:
        notes.append("The flow has conditions, and what they are distributed like is not at hand: no samples.")
        return None
    n = _count(run.flow, bool(stops))
    samples = []
    for place, at in enumerate(betas):
        condition = None if not log_w else _conditions(beside, log_w[place], n, command["seed"])
        samples.append(_samples(run, at if stops else None, condition, n, command["seed"]))
    models = [] if chosen is None else chosen.energies
    return Drawn(
        stops,
        betas,
        samples,
        energies=[[evaluate(one, x, allow_all_forbidden=True) for one in models] for x in samples] if models else (),
        names=[one.describe() for one in models],
        data=None if beside is None else beside.x,
        data_energies=() if beside is None else beside.values,
        log_w=log_w,
        pad_id=getattr(run.flow, "pad_id", None),
    )


def _stops(flow: Flow) -> list[list[float]] | None:
    """Where the sliders stop: the places of the report among them. Nothing for a flow of one beta."""
    if flow.beta_range is None:
        return []
    if len(flow.beta_range) > 3:
        return None
    alone = 17 if _is_small(flow) else 9
    levels = {1: alone, 2: 5, 3: 3}[len(flow.beta_range)]
    return [[low + (high - low) * k / (levels - 1) for k in range(levels)] for low, high in flow.beta_range]


def _is_small(flow: Flow) -> bool:
    return len(flow.event_shape) == 1 and not isinstance(flow, TokenFlow) and flow.event_shape[0] <= _SMALL


def _count(flow: Flow, ranged: bool) -> int:
    """Samples of a frame: what a page can hold and a processor draws in a moment."""
    if isinstance(flow, TokenFlow):
        return 300 if ranged else 800
    if not _is_small(flow):
        return 40
    return 800 if ranged else 2_000


def _fixed(flow: Flow) -> tuple[float, ...]:
    """The beta of a flow that has one, for each energy."""
    beta: Any = flow.beta
    return tuple(beta) if isinstance(beta, list | tuple) else (float(beta or 0.0),)


def _energy(run: Loaded, typed: bool, notes: list[str]) -> Chosen | None:
    if typed:
        return choose_energy(run.settings, run.domain)
    try:
        return choose_energy(run.settings, run.domain, from_folder=True)
    except ValueError as error:
        notes.append(f"No energies of samples: {error}")
        return None


def _data(run: Loaded, chosen: Chosen | None, notes: list[str]) -> _Beside | None:
    """Data of p: the domain's, or draws of the base where p means that."""
    try:
        found = run.domain.data(run.settings["data"], run.settings["seed"])
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        notes.append(f"No data beside the samples: {error}")
        return None
    x = found.x
    if found.draws is not None:
        if run.flow.base is None:
            notes.append("No data beside the samples: p means the base flow, and the run has none.")
            return None
        x = draw_from_base(run.flow.base, None, min(found.draws, _MOST_DRAWS), mix(run.settings["seed"], 8))
    x = x[:_MOST_DATA]
    if chosen is None:
        return _Beside(found, x, [])
    return _Beside(found, x, [evaluate(one, x, allow_all_forbidden=True) for one in chosen.energies])


def _log_w(run: Loaded, beside: _Beside, at: tuple[float, ...]) -> Tensor:
    weight = None if beside.data.sample_weight is None else beside.data.sample_weight[: len(beside.x)]
    total, beta = (beside.values[0], at[0]) if len(at) == 1 else (weighted_sum(beside.values, at), 1.0)
    log_w = log_weights(total, beta, weight)
    if run.settings["per_condition"] and beside.data.condition is not None:
        log_w = per_condition_weights(log_w, beside.data.condition[: len(beside.x)], weight)
    return log_w


def _conditions(beside: _Beside | None, log_w: Tensor, n: int, seed: int) -> Tensor | None:
    """Conditions from the weighted marginal, those of labels in order, so that few of them change with beta."""
    if beside is None or beside.data.condition is None or beside.data.draws is not None:
        return None
    condition = beside.data.condition[: len(log_w)]
    order = condition.argsort(stable=True) if condition.ndim == 1 else torch.arange(len(condition))
    u = torch.rand(n, generator=torch.Generator().manual_seed(mix(seed, -6)), dtype=torch.float64)
    return condition[order][resample(log_w[order], u)]


def _samples(run: Loaded, beta: tuple[float, ...] | None, condition: Tensor | None, n: int, seed: int) -> Tensor:
    """n samples at one frame, the domain's own way of delivering them first."""
    at = run.flow if beta is None else run.flow.at(beta[0] if len(beta) == 1 else beta)
    own = getattr(run.domain, "deliver", None)
    if own is not None and (made := own(at, n, seed)) is not None:
        return made.cpu()
    return at.sample(n, condition, correct=False, rtol=_TOLERANCE, atol=_TOLERANCE, seed=seed).cpu()
