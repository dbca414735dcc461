"""`tilt`: from p to q_beta(x | c) ∝ p(x | c) · exp(−beta · E(x, c)), with the report of how close it came."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from egflow._account import ReportOptions, account
from egflow._fit import new_flow, train_flow, warm_start
from egflow._group import evaluate_together, group
from egflow._inputs import N_MIN, pick_device
from egflow._kinds import as_number, check_flag, check_kind, shown
from egflow._search_tilt import can_search, tilt_by_search
from egflow._tilt_inputs import (
    N_FROM_BASE,
    Energy,
    Ranges,
    draw_from_base,
    read_beta,
    read_energies,
    read_inputs,
    solve,
    weigh,
)
from egflow._twist import can_twist, check_twistable, twist
from egflow.energy import EnergyValues
from egflow.flow import Flow, TokenFlow
from egflow.network import with_beta
from egflow.objective import METHODS
from egflow.training import TrainingOptions, check_count, check_options, mix
from egflow.weights import Draw, Resample, make_draw

_METHODS = (*METHODS, "twist", "trajectory_balance")


def tilt(
    base: Flow | None,
    energy: Energy | Sequence[Energy],
    beta: float | str | Sequence[float] | Sequence[Sequence[float]],
    *,
    data: Tensor | None = None,
    condition: Tensor | None = None,
    sample_weight: Tensor | None = None,
    method: str | None = None,
    weights: str | Draw = "resample",
    per_condition: bool = False,
    rounds: str | int | None = None,
    target_ess: float | None = None,
    log_p: Callable[[Tensor], Tensor] | None = None,
    max_calls: int | None = None,
    cache: str | Path | None = None,
    steps: int = 5_000,
    batch_size: int = 512,
    device: str | torch.device | None = None,
    seed: int = 0,
    options: TrainingOptions | None = None,
    network: torch.nn.Module | None = None,
    energies: Sequence[EnergyValues] | None = None,
    draws: int = N_FROM_BASE,
    reporting: ReportOptions | None = None,
) -> Flow:
    """Tilt p by an energy: energy-weighted flow matching (arXiv 2503.04975), warm-started from the base.

    All energies are evaluated and checked before the first step. With conditions, the field is right for every c, but
    weighting over (x, c) tilts the marginal of c to p(c)·Z(c); ``per_condition`` normalises within each label instead.

    Args:
        base: the flow of p; None trains from scratch on ``data``. It is not changed.
        energy: (batch, *event) -> (batch,), low is good, +inf is forbidden. For a score, where high is good, pass
            ``-egflow.as_energy(fn)``. Several: a list, q ∝ p·exp(−Σ_j beta_j·E_j), with a range of beta for each.
        beta: on the energy's own scale; "auto" solves for ``target_ess``. Negative prefers high energy. A range
            (low, high) trains one model of every beta in it, to be sampled at any: ``sample(n, beta=…)``.
        data: (N, *event) samples of p; None draws them from the base, and p then means the base.
        condition: (N,) long or (N, k) float, of the data.
        sample_weight: (N,) weights multiplied in.
        method: "cefm" (velocity objective), "ced" (noise objective, on the vp path), "twist" (a head that forecasts the
            energy, on a frozen base of tokens, see `egflow.network.Twisted`), or "trajectory_balance" (with ``rounds``,
            a search from a base of tokens); None is "twist" where p means a base that can be twisted,
            "trajectory_balance" where rounds start from a base of tokens that p means, else "cefm".
        weights: "resample", "global", "softmax", or one of `egflow.weights`' classes with its settings.
        per_condition: normalise the weights within each discrete condition.
        rounds: "auto", or the most rounds allowed: reach beta in steps that keep the points effective, each from fresh
            samples of the flow so far; for a beta at which the data have hardly an effective point.
        target_ess: the fraction of effective points that ``beta="auto"`` solves for, or that each round keeps; .3 if
            None.
        log_p: with ``rounds``: log p up to a constant, (batch, *event) -> (batch,); None: p means the data as far as
            they reach, then the density fitted to them there.
        max_calls: with ``rounds``: the most evaluations of the energy, those of the data included; a search, which
            needs a limit, takes 10,000 where there is none.
        cache: folder of a persistent cache of energies.
        steps, batch_size, device, seed, options: as in `egflow.fit`.
        network: for ``base=None``, as in `egflow.fit`.
        energies: the data's energies where they are known already, one record for each energy.
        draws: where ``data`` is None, the samples of the base to train on, and as many to report on; with ``max_calls``
            at most a quarter of it.
        reporting: how the report is made.

    Returns:
        The flow of q; its ``report`` is the `TiltReport`.

    Raises:
        ValueError: for bad input, naming the argument; `egflow.energy.EnergyError` with the energy's own message.
        TypeError: where ``energy`` is no function, naming what it is.
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
    if base is not None:
        check_kind("base", base, Flow, "a flow of p, as egflow.fit makes it, or None")
    check_flag("per_condition", per_condition)
    weights = make_draw(weights)
    resampled = weights == Resample()
    if method is None:
        plain = data is None and rounds is None and resampled and not per_condition
        searched = data is None and rounds is not None and log_p is None and can_search(base)
        method = "twist" if plain and can_twist(base) else "trajectory_balance" if searched else "cefm"
    if not isinstance(method, str) or method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {shown(method)}")
    if method == "twist":
        check_twistable(base)
        if rounds is not None or not resampled or per_condition:
            raise ValueError("method='twist' takes no rounds=, weights= or per_condition=: leave them out")
    if base is not None and method == "ced" and base.path.name != "vp":
        raise ValueError(f"method='ced' is the noise objective on path vp, but the base's path is {base.path.name}")
    check_count("steps", steps)
    check_count("batch_size", batch_size)
    options = check_options(options)
    if method == "twist" and options.compile:
        raise ValueError("compile=True is for a network trained whole, and method='twist' trains a head: leave it out")
    if network is not None:
        check_kind("network", network, torch.nn.Module, "an nn.Module, called as network(x, t, condition), or None")
    if options.stage == "train":
        options = replace(options, stage="tilt")
    reporting = (
        ReportOptions() if reporting is None else check_kind("reporting", reporting, ReportOptions, "ReportOptions")
    )
    if rounds is not None and group().size > 1:
        raise ValueError("rounds= runs in one process: start it without torchrun")
    models = read_energies(energy, base)
    wanted = read_beta(beta, len(models))  # before the energies, which may be dear
    _check_rounds(rounds, wanted, target_ess, log_p, max_calls, weights, per_condition, condition, base)
    if max_calls is not None and data is not None and energies is None and max_calls < len(data):
        raise ValueError(
            f"max_calls={max_calls} is below the calls of the data alone, {len(data)}: raise it, or give less data"
        )
    if method == "trajectory_balance":
        if rounds is None or data is not None or log_p is not None or not can_search(base):
            raise ValueError(
                "method='trajectory_balance' is for rounds= from a base of tokens on path 'sequential' without "
                "conditions, which p means: leave out data= and log_p="
            )
        for name, value in (("sample_weight", sample_weight), ("energies", energies), ("target_ess", target_ess)):
            if value is not None:
                raise ValueError(f"{name}= has no part in a search, where p is the base: leave it out")
        assert base is not None and isinstance(wanted, float)
        start = base if device is None else copy.deepcopy(base).to(device)
        assert isinstance(start, TokenFlow)
        return tilt_by_search(
            start,
            models[0],
            wanted,
            rounds=rounds,
            max_calls=max_calls,
            cache=cache,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            options=options,
            reporting=reporting,
        )
    check_count("draws", draws)
    draws = draws if max_calls is None else max(N_MIN, min(draws, max_calls // 4))
    inputs = read_inputs(base, models, data, condition, sample_weight, energies, cache, seed, draws)
    place = base.device if base is not None and device is None else pick_device(device)
    if base is not None and base.device != place:
        base = copy.deepcopy(base).to(place)  # the caller's own stays where it is
    if rounds is not None:
        from egflow._rounds import tilt_in_rounds

        assert base is not None and isinstance(wanted, float)
        return tilt_in_rounds(
            base,
            inputs,
            wanted,
            rounds=rounds,
            target_ess=target_ess,
            log_p=log_p,
            max_calls=max_calls,
            method=method,
            cache=cache,
            steps=steps,
            batch_size=batch_size,
            seed=seed,
            options=options,
            reporting=reporting,
        )

    chosen = solve(wanted, inputs, target_ess)
    weighting = weigh(inputs, chosen, weights, per_condition)
    if method == "twist":
        assert base is not None
        flow: Flow = twist(base, inputs, chosen, steps=steps, batch_size=batch_size, seed=seed, options=options)
    else:
        if base is None:
            path = "vp" if method == "ced" else None
            flow = new_flow(inputs.x, inputs.condition, network=network, path=path, device=place, seed=seed)
        else:
            flow = warm_start(base)
        if isinstance(chosen, tuple):
            flow.network, flow.beta_range = with_beta(flow.network, len(chosen)), chosen
        train_flow(flow, inputs.x, inputs.condition, weighting, METHODS[method], steps, batch_size, seed, options)
    flow.base, flow.energy = base, models[0] if len(models) == 1 else models
    flow.beta = None if isinstance(chosen, tuple) else chosen
    notes = dict(inputs.notes)
    if not isinstance(chosen, tuple) and chosen < 0:
        notes["beta"] = "negative: high energy is preferred"
    if inputs.reference == "base":
        count = len(inputs.x)
        x = group().first(lambda: draw_from_base(base, None, count, mix(seed, 8)))  # fresh: the others were trained on
        inputs = replace(inputs, x=x, values=[evaluate_together(model, x, cache=cache) for model in models])
        notes["data"] = f"p means the base flow: {len(x)} samples drawn from it to train on, as many to report on"
    flow.report = account(
        flow,
        models,
        inputs.x,
        inputs.values,
        condition=inputs.condition,
        sample_weight=inputs.weight,
        per_condition=per_condition,
        options=reporting,
        facts={"method": method, "seed": seed, "reference": inputs.reference},
        notes={**notes, **flow.notes},
    )
    return flow


def _check_rounds(
    rounds: str | int | None,
    beta: float | str | Ranges,
    target_ess: float | None,
    log_p: Callable[[Tensor], Tensor] | None,
    max_calls: int | None,
    weights: Draw,
    per_condition: bool,
    condition: Tensor | None,
    base: Flow | None,
) -> None:
    """Whether the arguments of rounds go together, before anything is evaluated."""
    if target_ess is not None and rounds is None and beta != "auto":
        raise ValueError("target_ess solves for beta='auto' or paces rounds=: pass one of them, or leave it out")
    if target_ess is not None and not 0.0 < as_number("target_ess", target_ess) < 1.0:
        raise ValueError(f"target_ess must be a fraction between 0 and 1, got {target_ess}")
    if rounds is None:
        for name, value in (("log_p", log_p), ("max_calls", max_calls)):
            if value is not None:
                raise ValueError(f"{name} is for rounds: pass rounds='auto' with it, or leave it out")
        return
    named = isinstance(rounds, str) and rounds == "auto"
    if not named and (isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1):
        raise ValueError(f"rounds must be 'auto' or a whole number of at least 1, got {shown(rounds)}")
    if max_calls is not None:
        check_count("max_calls", max_calls)
    if not isinstance(beta, float):
        raise ValueError("rounds reach one beta: give a number, not a range or 'auto'")
    if base is None:
        raise ValueError("rounds start from a flow of p: pass base=egflow.fit(data)")
    if condition is not None or per_condition:
        raise ValueError("rounds are for flows without conditions: leave out condition= and per_condition=")
    if weights != Resample():
        raise ValueError(f"rounds draw x_1 ∝ w: weights must be 'resample', got {weights!r}")
