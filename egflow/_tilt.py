"""`tilt`: from p to q_beta(x | c) ∝ p(x | c) · exp(−beta · E(x, c)), with the report of how close it came."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from egflow._account import ReportOptions, account
from egflow._fit import new_flow, train_flow
from egflow._inputs import check_condition, check_data, pick_device
from egflow.energy import EnergyModel, EnergyValues, as_energy, evaluate
from egflow.flow import Flow
from egflow.objective import METHODS
from egflow.training import TrainingOptions, check_count, mix
from egflow.weights import (
    Draw,
    check_beta,
    check_sample_weight,
    log_weights,
    make_draw,
    per_condition_weights,
    solve_beta,
)

_N_FROM_BASE = 20_000  # samples drawn from the base where the user gives no data
_AUTO_ESS = 0.3


def tilt(
    base: Flow | None,
    energy: EnergyModel | Callable[..., Tensor],
    beta: float | str,
    *,
    data: Tensor | None = None,
    condition: Tensor | None = None,
    sample_weight: Tensor | None = None,
    method: str = "cefm",
    weights: str | Draw = "resample",
    per_condition: bool = False,
    target_ess: float | None = None,
    cache: str | Path | None = None,
    steps: int = 5_000,
    batch_size: int = 512,
    device: str | torch.device | None = None,
    seed: int = 0,
    options: TrainingOptions | None = None,
) -> Flow:
    """Tilt p by an energy: energy-weighted flow matching (arXiv 2503.04975), warm-started from the base.

    All energies are evaluated and checked before the first step. With conditions, the field is right for every c, but
    weighting over (x, c) tilts the marginal of c to p(c)·Z(c); ``per_condition`` normalises within each label instead.

    Args:
        base: the flow of p; None trains from scratch on ``data``. It is not changed.
        energy: (batch, *event) -> (batch,), low is good, +inf is forbidden. For a score, where high is good, pass
            ``-egflow.as_energy(fn)``.
        beta: on the energy's own scale; "auto" solves for ``target_ess``. Negative prefers high energy.
        data: (N, *event) samples of p; None draws 20,000 from the base, and p then means the base.
        condition: (N,) long or (N, k) float, of the data.
        sample_weight: (N,) weights multiplied in.
        method: "cefm" (velocity objective) or "ced" (noise objective, on the vp path).
        weights: "resample", "global", "softmax", or one of `egflow.weights`' classes with its settings.
        per_condition: normalise the weights within each discrete condition.
        target_ess: the fraction of effective points ``beta="auto"`` solves for; .3 if None.
        cache: folder of a persistent cache of energies.
        steps, batch_size, device, seed, options: as in `egflow.fit`.

    Returns:
        The flow of q; its ``report`` is the `TiltReport`.

    Raises:
        ValueError: for bad input, naming the argument; `egflow.energy.EnergyError` with the energy's own message.
        egflow.training.TrainingError: if the loss stops being finite.

    Example:
        >>> import egflow
        >>> quiet = TrainingOptions(progress="quiet")
        >>> x = torch.randn(500, 1)
        >>> base = egflow.fit(x, steps=20, options=quiet)
        >>> guided = tilt(base, lambda x: x[:, 0], beta=1.0, data=x, steps=20, options=quiet)
        >>> guided.report.beta
        1.0
    """
    return tilt_flow(
        base,
        energy,
        beta,
        data=data,
        condition=condition,
        sample_weight=sample_weight,
        method=method,
        weights=weights,
        per_condition=per_condition,
        target_ess=target_ess,
        cache=cache,
        steps=steps,
        batch_size=batch_size,
        device=device,
        seed=seed,
        options=options,
    )


def tilt_flow(
    base: Flow | None,
    energy: EnergyModel | Callable[..., Tensor],
    beta: float | str,
    *,
    data: Tensor | None = None,
    condition: Tensor | None = None,
    sample_weight: Tensor | None = None,
    method: str = "cefm",
    weights: str | Draw = "resample",
    per_condition: bool = False,
    target_ess: float | None = None,
    cache: str | Path | None = None,
    steps: int = 5_000,
    batch_size: int = 512,
    device: str | torch.device | None = None,
    seed: int = 0,
    options: TrainingOptions | None = None,
    network: torch.nn.Module | None = None,
    energies: EnergyValues | None = None,
    reporting: ReportOptions | None = None,
) -> Flow:
    """`tilt` with what the command line adds: a network for ``base=None``, known energies, the report's size."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if base is None and data is None:
        raise ValueError("base=None trains from scratch, which needs data=")
    if base is not None and method == "ced" and base.path.name != "vp":
        raise ValueError(f"method='ced' is the noise objective on path vp, but the base's path is {base.path.name}")
    draw = make_draw(weights)
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    options = options or TrainingOptions()
    if options.stage == "train":
        options = replace(options, stage="tilt")
    reporting = reporting or ReportOptions()
    model = energy if isinstance(energy, EnergyModel) else as_energy(energy)

    notes: dict[str, str] = {}
    if data is None:
        assert base is not None
        if base.condition_shape is not None:
            raise ValueError("data=None cannot draw from a base with conditions: pass data= and condition=")
        if sample_weight is not None:
            raise ValueError("sample_weight are weights of data=, which is None here: draws of the base are equal")
        x = base.sample(_N_FROM_BASE, seed=mix(seed, 7)).cpu()
    else:
        x = check_data(data, "data")
    if base is not None and tuple(x.shape[1:]) != base.event_shape:
        raise ValueError(f"data must have the base's event shape {base.event_shape}, got {tuple(x.shape[1:])}")
    condition = check_condition(condition, len(x))
    if base is not None:
        _check_base(base, condition)
    if per_condition and condition is None:
        raise ValueError("per_condition=True needs condition=")
    _check_beta(beta, target_ess)  # before the energies, which may be dear
    weight = None if sample_weight is None else check_sample_weight(sample_weight, len(x))
    values = evaluate(model, x, condition, cache=cache) if energies is None else energies
    if isinstance(beta, str):
        beta = solve_beta(values, _AUTO_ESS if target_ess is None else target_ess, weight)
    log_w = log_weights(values, beta, weight)
    if per_condition:
        assert condition is not None
        log_w = per_condition_weights(log_w, condition, weight)
    log_s = log_weights(values, 0.0, weight)

    place = base.device if base is not None and device is None else pick_device(device)
    if base is None:
        path = "vp" if method == "ced" else None
        flow = new_flow(x, condition, network=network, path=path, device=place, seed=seed)
    else:
        if base.device != place:
            base = copy.deepcopy(base).to(place)  # the caller's own stays where it is
        flow = Flow(
            copy.deepcopy(base.network),
            base.event_shape,
            path=base.path,
            prediction=base.prediction,
            shift=base.shift,
            scale=base.scale,
        )
        flow.condition_shape, flow.num_classes = base.condition_shape, base.num_classes
    train_flow(flow, x, condition, log_w, log_s, draw, METHODS[method], steps, batch_size, seed, options)
    flow.base, flow.energy, flow.beta = base, model, beta
    if beta < 0:
        notes["beta"] = "negative: high energy is preferred"
    facts = {"method": method, "seed": seed, "reference": "base" if data is None else "data"}
    if data is None:
        assert base is not None
        x = base.sample(_N_FROM_BASE, seed=mix(seed, 8)).cpu()  # fresh ones: those above were trained on
        values = evaluate(model, x, cache=cache)
        notes["data"] = f"p means the base flow: {_N_FROM_BASE} samples drawn from it to train on, as many to report on"
    flow.report = account(
        flow,
        model,
        x,
        values,
        condition=condition,
        sample_weight=weight,
        per_condition=per_condition,
        options=reporting,
        facts=facts,
        notes={**notes, **flow.notes},
    )
    return flow


def _check_base(base: Flow, condition: Tensor | None) -> None:
    """Whether the base can be trained on, and takes the data's conditions."""
    if not isinstance(base.network, torch.nn.Module):
        raise ValueError(f"base must have an nn.Module as network to train, got {type(base.network).__name__}")
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


def _check_beta(beta: float | str, target_ess: float | None) -> None:
    if not isinstance(beta, str):
        check_beta(beta)
        if target_ess is not None:
            raise ValueError("target_ess solves for beta: pass beta='auto' with it, or leave it out")
    elif beta != "auto":
        raise ValueError(f"beta must be a number or 'auto', got {beta!r}")
