"""`egflow.report`: how close the samples of any generator came to q ∝ p·exp(−beta·E), from data, energy and samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from egflow.energy import EnergyModel, EnergyValues, as_energy, evaluate
from egflow.report._compare import Comparison, Reference, compare
from egflow.report._density import LogProb
from egflow.report._inputs import LEAST_DATA, check_condition, check_one_beta, check_points, versions
from egflow.report._inspect import Shape, inspect_density, inspect_memory, inspect_shape
from egflow.report._record import Evidence, TiltReport
from egflow.report._split import held_out_split
from egflow.report._verdict import FEW_EFFECTIVE, NO_ERROR_BAR, REMEDY, Account, verdict
from egflow.weights import log_weights, log_z, max_weight, n_eff, per_condition_weights

REFERENCES = ("data", "base", "density")
_KEYS = ("domain", "method", "seed", "nfe", "seconds", "device", "rounds", "domain_metrics")


def report(
    samples: Tensor,
    energy: EnergyModel | Callable[..., Tensor],
    beta: float,
    data: Tensor,
    *,
    condition: Tensor | None = None,
    sample_condition: Tensor | None = None,
    sample_weight: Tensor | None = None,
    energies: EnergyValues | None = None,
    sample_energies: EnergyValues | None = None,
    per_condition: bool = False,
    log_q: LogProb | None = None,
    log_base: LogProb | None = None,
    reference: str = "data",
    against_data: tuple[Tensor, EnergyValues] | None = None,
    notes: Mapping[str, str] | None = None,
    energy_name: str | None = None,
    **facts: Any,
) -> TiltReport:
    """The account of a tilt, for any sampler's output: energies, distance and floor, memorising, coverage, verdict.

    Target, KS, W1 and distance are against the tenth of the data that `held_out_split` holds out, weighted by
    exp(−beta·E) (self-normalised importance sampling); a model that was trained on that tenth as well is judged too
    kindly. With `reference="base"` the data are the base's own fresh draws, and all of them are held out.

    Args:
        samples: (m, *event) generated points.
        energy: an EnergyModel, or a function (batch, *event) -> (batch,); low is good, +inf is forbidden.
        beta: the inverse temperature asked for, on the energy's own scale.
        data: (N, *event) samples of p, N at least 20.
        condition: (N, …) conditions of the data; what is compared is the joint over all of them.
        sample_condition: (m, …) conditions of the samples, drawn from the weighted marginal.
        sample_weight: (N,) weights that multiply exp(−beta·E).
        energies: the data's energies where they are known already.
        sample_energies: the samples' energies where they are known already.
        per_condition: weights normalised within each discrete condition.
        log_q: log density of the generator, (x, condition) -> (batch,), for `achieved_beta`.
        log_base: log density of p, likewise.
        reference: what p means: "data", "base" or "density".
        against_data: with "base": (x, energies) of the user's own data, for a second block of the same figures.
        notes: reasons of the caller, by key, that are to stand in `notes` (they win).
        energy_name: what the energy is called in the report; None asks the energy itself.
        facts: domain, method, seed, nfe, seconds, device, rounds, domain_metrics; any other goes to `settings`.

    Returns:
        `TiltReport`; what cannot be had is None, with its reason in `notes`.

    Raises:
        ValueError: for samples or data with NaN, of another shape or dtype, too few data, or a beta that is not finite.
        EnergyError: where the energy fails or returns what it must not.

    Example:
        >>> x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
        >>> made = report(x[:500] - 0.5, lambda x: x[:, 0], 0.5, x)
        >>> made.findings
        []
    """
    beta = check_one_beta(beta)
    data, samples = check_points(data, "data", LEAST_DATA), check_points(samples, "samples")
    if data.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"samples have event shape {tuple(samples.shape[1:])} and data {tuple(data.shape[1:])}: they must be equal"
        )
    condition = check_condition(condition, "condition", len(data))
    sample_condition = check_condition(sample_condition, "sample_condition", len(samples))
    if (condition is None) != (sample_condition is None):
        raise ValueError("condition (of the data) and sample_condition must be given both, or neither")
    if per_condition and condition is None:
        raise ValueError("per_condition=True needs condition and sample_condition")
    if reference not in REFERENCES:
        raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {reference!r}")
    if energies is not None and len(energies) != len(data):
        raise ValueError(f"energies must be those of the {len(data)} data, got {len(energies)}")
    if sample_energies is not None and len(sample_energies) != len(samples):
        raise ValueError(f"sample_energies must be those of the {len(samples)} samples, got {len(sample_energies)}")
    model = energy if isinstance(energy, EnergyModel) else as_energy(energy)
    values = evaluate(model, data, condition) if energies is None else energies
    log_w = log_weights(values, beta, sample_weight)  # before the samples' energies: its errors are the user's
    if sample_energies is None:
        sample_energies = evaluate(model, samples, sample_condition, allow_all_forbidden=True)
    log_s = log_weights(values, 0.0, sample_weight)
    if per_condition and condition is not None:
        log_w, log_s = (per_condition_weights(w, condition.cpu(), sample_weight) for w in (log_w, log_s))

    said: dict[str, str] = {}
    whole = Reference(data.cpu().flatten(1), values, log_w, log_s)
    made = samples.cpu().flatten(1)
    train, held_out = (None, torch.arange(len(data))) if reference == "base" else held_out_split(len(data))
    held = whole.at(held_out)
    effective = n_eff(log_w)
    trusted = effective >= NO_ERROR_BAR
    seen = compare(held, made, sample_energies)
    shape = inspect_shape(held, whole.at(train) if train is not None else held, made, sample_energies, seen, effective)
    if per_condition:  # the data at another beta would have other weights in each condition
        shape = replace(shape, matched=None, resembles=False, missed_at_matched=False)
    remembered = inspect_memory(whole, train, held, made, seen.distance, said)
    density = inspect_density(data, held, held_out, beta, log_q, log_base, condition, said)
    log_norm, log_norm_error = log_z(log_w, sample_weight)
    if per_condition:
        said["log_z"] = "weights are normalised within each condition: there is no single Z"
    _explain(said, effective, len(data), held, seen, shape, sample_energies, beta)
    if per_condition:
        said["matched_beta"] = "weights are normalised within each condition: the mean energy alone tells no beta"
    calls = _calls(values, sample_energies, said)
    forbidden = {
        "data": float(values.forbidden.double().mean()),
        "generated": float(sample_energies.forbidden.double().mean()),
    }
    account = Account(
        beta=beta,
        n_eff=effective,
        n_held=n_eff(held.log_w) if held.alive else 0.0,
        n_samples=len(samples),
        base=seen.base,
        target=seen.target,
        generated=seen.generated,
        base_std=seen.base_std,
        ks=seen.ks,
        ks_noise=seen.ks_noise,
        distance=seen.distance,
        coverage=shape.coverage,
        memory=remembered.nearest,
        forbidden=forbidden["generated"],
        matched=shape.matched,
        resembles=shape.resembles,
        missed_at_matched=shape.missed_at_matched,
    )
    findings, words = verdict(account)
    other = None
    if against_data is not None:
        other = _against(against_data, beta, made, sample_energies)
    return TiltReport(
        energy=energy_name or model.describe(),
        beta=beta,
        reference=reference,
        verdict=words,
        findings=findings,
        n_data=len(data),
        n_held_out=len(held_out),
        n_samples=len(samples),
        n_eff=effective,
        ess_fraction=effective / len(data),
        max_weight=max_weight(log_w),
        log_z=None if per_condition else log_norm,
        log_z_stderr=None if per_condition else log_norm_error,
        energy_mean=seen.means(trusted),
        energy_ks=seen.ks,
        energy_w1=seen.w1,
        distance=seen.distance.block() if seen.distance else None,
        distance_train=remembered.distance,
        nearest_in_train=remembered.nearest.block() if remembered.nearest else None,
        coverage=shape.coverage.block() if shape.coverage else None,
        forbidden=forbidden,
        matched_beta=shape.matched[0] if shape.matched else None,
        matched_beta_stderr=shape.matched[1] if shape.matched and trusted else None,
        achieved_beta=density[0] if density else None,
        tilt_r2=density[1] if density else None,
        versions=versions(),
        energy_calls=calls,
        against_data=other,
        settings={key: value for key, value in facts.items() if key not in _KEYS},
        notes=said | dict(notes or {}),
        evidence=Evidence(data.cpu(), log_w, values, samples.cpu(), sample_energies, held_out),
        **{key: value for key, value in facts.items() if key in _KEYS and value is not None},
    )


def _against(against: tuple[Tensor, EnergyValues], beta: float, made: Tensor, energies: EnergyValues) -> dict[str, Any]:
    """The same figures against the user's own data, where p is the base flow."""
    x = check_points(against[0], "against_data").cpu().flatten(1)
    if x.shape[1] != made.shape[1] or len(x) != len(against[1]):
        raise ValueError(
            f"against_data must be (x, energies) of the samples' event shape, got {tuple(x.shape)}, {len(against[1])}"
        )
    own = Reference(x, against[1], log_weights(against[1], beta), log_weights(against[1], 0.0))
    return compare(own, made, energies).block(n_eff(own.log_w) >= NO_ERROR_BAR)


def _calls(data: EnergyValues, made: EnergyValues, said: dict[str, str]) -> dict[str, int]:
    """Counts of both evaluations; a failure is told, never silent."""
    if data.failed or made.failed:
        first = data.failure or made.failure
        said["energy_calls"] = f"{data.failed + made.failed} items failed and count as forbidden; the first: {first}"
    return {
        "calls": data.calls + made.calls,
        "failed": data.failed + made.failed,
        "cached": data.cached + made.cached,
    }


def _explain(
    said: dict[str, str],
    effective: float,
    n: int,
    held: Reference,
    seen: Comparison,
    shape: Shape,
    made: EnergyValues,
    beta: float,
) -> None:
    """Notes on what is missing or weak, beside those that the parts left."""
    if effective < FEW_EFFECTIVE:
        said["n_eff"] = f"only {effective:.0f} of {n:,} points are effective, under {FEW_EFFECTIVE}: {REMEDY}"
    if effective < NO_ERROR_BAR:
        said["energy_mean"] = f"target_stderr: under {NO_ERROR_BAR} effective points have no trustworthy standard error"
        said["coverage"] = "too few effective points"
    elif shape.coverage is None:
        said["coverage"] = "fewer than 60 effective held-out points: no cells to compare"
    if not held.alive:
        said["distance"] = said["energy_ks"] = said["energy_w1"] = "no held-out point carries weight"
        said["energy_mean"] = "no held-out point carries weight: every one is forbidden"
    elif seen.distance is None:
        said["distance"] = "a half of the held-out part has fewer than two effective points, or there is one sample"
    elif seen.distance.few_samples:
        said["distance"] = f"only {len(made)} samples: n is their number, and the floor is of as few reference points"
    if seen.generated is None:
        said["energy_mean"] = said["energy_ks"] = said["energy_w1"] = "every generated sample is forbidden"
    if shape.matched is None:
        said["matched_beta"] = "no beta gives the data the samples' mean energy with ten effective points"
    elif effective < NO_ERROR_BAR:
        said["matched_beta_stderr"] = f"under {NO_ERROR_BAR} effective points"
    if beta < 0:
        said["beta"] = "negative: high energies are preferred"
