"""What `tilt` is asked, checked and made into tensors: data, energies of all of them, beta."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from egflow._group import evaluate_together, group
from egflow._inputs import N_MIN, check_condition, check_data
from egflow._kinds import as_number, shown
from egflow._token_inputs import check_tokens
from egflow._weighting import Ranged, Weighted, Weighting
from egflow.domain import find_domain
from egflow.energy import EnergyModel, EnergyValues, as_energy, bind_decoders, check_function
from egflow.flow import Flow, TokenFlow
from egflow.training import mix
from egflow.weights import (
    Draw,
    Resample,
    check_beta,
    check_sample_weight,
    log_weights,
    make_draw,
    per_condition_weights,
    solve_beta,
)

N_FROM_BASE = 20_000  # samples drawn from the base where the user gives no data
AUTO_ESS = 0.3
Energy = EnergyModel | Callable[..., Tensor]
Ranges = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class TiltInputs:
    """The data of a tilt.

    Attributes:
        x: (N, *event) samples of p.
        condition: (N, …) or None.
        weight: (N,) float64 sample weights, or None.
        models: the energies, one or several.
        values: the energies of x, one record each.
        reference: what p means: "data", or "base" where x was drawn from it.
        notes: what is worth saying in the report.
    """

    x: Tensor
    condition: Tensor | None
    weight: Tensor | None
    models: list[EnergyModel]
    values: list[EnergyValues]
    reference: str
    notes: dict[str, str] = field(default_factory=dict)


def read_inputs(
    base: Flow | None,
    models: list[EnergyModel],
    data: Tensor | None,
    condition: Tensor | None,
    sample_weight: Tensor | None,
    energies: Sequence[EnergyValues] | None,
    cache: str | Path | None,
    seed: int,
    draws: int = N_FROM_BASE,
) -> TiltInputs:
    """Check the data against the base and evaluate all their energies.

    Raises:
        ValueError: for bad input, naming the argument; `egflow.energy.EnergyError` with the energy's own message.
    """
    if data is None:
        x = group().first(lambda: draw_from_base(base, sample_weight, draws, mix(seed, 7)))
    else:
        x = _check(base, data)
    if base is not None and tuple(x.shape[1:]) != base.event_shape:
        raise ValueError(f"data must have the base's event shape {base.event_shape}, got {tuple(x.shape[1:])}")
    condition = check_condition(condition, len(x))
    if base is not None:
        _check_base(base, condition)
    weight = None if sample_weight is None else check_sample_weight(sample_weight, len(x))
    if energies is None:
        values = [evaluate_together(model, x, condition, cache=cache) for model in models]
    else:
        values = list(energies) if isinstance(energies, Sequence) else []
        known = all(isinstance(one, EnergyValues) for one in values)
        if not known or len(values) != len(models) or any(len(one) != len(x) for one in values):
            raise ValueError(f"energies must be those of the {len(x)} data, one record for each energy")
    return TiltInputs(x, condition, weight, models, values, "base" if data is None else "data")


def draw_from_base(base: Flow | None, sample_weight: Tensor | None, n: int, seed: int) -> Tensor:
    """n samples of the base, which then is p. Raises ValueError where that cannot be."""
    if base is None:
        raise ValueError("base=None trains from scratch, which needs data=")
    if base.condition_shape is not None:
        raise ValueError("data=None cannot draw from a base with conditions: pass data= and condition=")
    if sample_weight is not None:
        raise ValueError("sample_weight are weights of data=, which is None here: draws of the base are equal")
    return base.sample(n, correct=False, seed=seed).cpu()  # p is the base itself, though it may be a tilt


def read_energies(energy: Energy | Sequence[Energy], base: Flow | None = None) -> list[EnergyModel]:
    """One energy or several, as models, with the decoders of the base's domain. Raises ValueError for an empty list."""
    several = list(energy) if isinstance(energy, Sequence) else [energy]
    if not several:
        raise ValueError("energy is an empty list: pass one energy, or several")
    for one in several:
        check_function(one)
    models = [one if isinstance(one, EnergyModel) else as_energy(one) for one in several]
    parts = [part for model in models for part in model.modules()]
    asking = any(getattr(part, "on", None) is not None and getattr(part, "decode", None) is None for part in parts)
    domain = getattr(base, "domain", None)
    if not asking or domain is None:
        return models
    spec = find_domain(domain)
    return [bind_decoders(model, spec.find(spec.decoders)) for model in models] if spec.decoders else models


def read_beta(beta: Any, energies: int) -> float | str | Ranges:
    """A number, "auto", or one (low, high) for each of the energies.

    Raises:
        ValueError: for anything else, or a range that is empty.
    """
    if isinstance(beta, str):
        if beta != "auto" or energies > 1:
            raise ValueError(f"beta must be a number, 'auto' for one energy, or a range (low, high), got {shown(beta)}")
        return beta
    if energies == 1 and not isinstance(beta, Sequence):
        return check_beta(beta)
    pairs = [beta] if energies == 1 and all(isinstance(end, Real) for end in beta) else beta
    if (
        not isinstance(pairs, Sequence)
        or len(pairs) != energies
        or not all(
            isinstance(pair, Sequence) and len(pair) == 2 and all(isinstance(end, Real) for end in pair)
            for pair in pairs
        )
    ):
        wanted = "a number or (low, high)" if energies == 1 else f"{energies} pairs (low, high), one for each energy"
        raise ValueError(f"beta must be {wanted}, got {shown(beta)}")
    ranges = tuple((as_number("beta", low), as_number("beta", high)) for low, high in pairs)
    for low, high in ranges:
        if not low < high:
            raise ValueError(f"beta: the range ({low:g}, {high:g}) is empty: give (low, high) with low < high, finite")
    return ranges


def weigh(
    inputs: TiltInputs,
    beta: float | Ranges,
    weights: str | Draw,
    per_condition: bool,
) -> Weighting:
    """The weights of the data at one beta, or over a range.

    Raises:
        ValueError: for a range with weights or a normalisation it has no exact draws for.
    """
    draw = make_draw(weights)
    if per_condition and inputs.condition is None:
        raise ValueError("per_condition=True needs condition=")
    if isinstance(beta, tuple):
        if per_condition:
            raise ValueError("per_condition=True is for one beta: a range would need its Z(c) at every beta")
        if draw != Resample():
            raise ValueError("a range of beta draws x_1 ∝ w at every beta: weights must be 'resample'")
        forbidden = torch.stack([one.forbidden for one in inputs.values]).any(0)
        if bool(forbidden.all()):
            raise ValueError("every sample is forbidden by one of the energies (+inf): nothing is left to train on")
        log_s = log_weights(inputs.values[0], 0.0, inputs.weight).masked_fill(forbidden, -torch.inf)
        return Ranged(torch.stack([one.values for one in inputs.values], 1), log_s, beta)
    log_w = log_weights(inputs.values[0], beta, inputs.weight)
    if per_condition:
        assert inputs.condition is not None
        log_w = per_condition_weights(log_w, inputs.condition, inputs.weight)
    return Weighted(draw, log_w, log_weights(inputs.values[0], 0.0, inputs.weight))


def solve(beta: float | str | Ranges, inputs: TiltInputs, target_ess: float | None) -> float | Ranges:
    """Beta as it stands, or "auto" solved for."""
    if not isinstance(beta, str):
        return beta
    return solve_beta(inputs.values[0], AUTO_ESS if target_ess is None else target_ess, inputs.weight)


def _check(base: Flow | None, data: Tensor) -> Tensor:
    """Data of the base's kind: tokens of its vocabulary, or points."""
    if isinstance(base, TokenFlow):
        return check_tokens(data, base.vocabulary, "data", least=N_MIN)
    return check_data(data, "data")


def _check_base(base: Flow, condition: Tensor | None) -> None:
    """Whether the base can be trained on, and takes the data's conditions."""
    if not isinstance(base.network, torch.nn.Module):
        raise ValueError(f"base must have an nn.Module as network to train, got {type(base.network).__name__}")
    if base.beta_range is not None:
        raise ValueError("base is a flow of every beta: pass base.at(beta), one of them")
    if (condition is None) != (base.condition_shape is None):
        raise ValueError("condition must be given exactly where the base was trained with one")
    if condition is None:
        return
    shape = base.condition_shape
    wanted = f"labels below {base.num_classes}" if base.num_classes is not None else f"floats of shape (N, *{shape})"
    if condition.is_floating_point() != (base.num_classes is None) or tuple(condition.shape[1:]) != shape:
        raise ValueError(f"condition must hold {wanted}, as the base's, got {condition.dtype} {tuple(condition.shape)}")
    if base.num_classes is not None and int(condition.max()) >= base.num_classes:
        raise ValueError(f"condition must hold {wanted}, as the base's, got the label {int(condition.max())}")
