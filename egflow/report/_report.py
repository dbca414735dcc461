"""`egflow.report`: how close the samples of any generator came to q ∝ p·exp(−beta·E), from data, energy and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from egflow._kinds import check_kind
from egflow._rows import Rows
from egflow.energy import EnergyValues
from egflow.report._compare import Comparison, Reference, compare
from egflow.report._correction import after_correction, correction_block
from egflow.report._density import LogProb
from egflow.report._given import Energy, Given, known_energies, read
from egflow.report._inputs import check_points, versions
from egflow.report._inspect import Shape, inspect_density, inspect_memory, inspect_shape
from egflow.report._preface import with_preface
from egflow.report._record import Evidence, TiltReport
from egflow.report._several import blocks, each_energy, weighted_sum
from egflow.report._verdict import FEW_EFFECTIVE, NO_ERROR_BAR, REMEDY, Account, verdict
from egflow.weights import log_weights, log_z, max_weight, n_eff

_KEYS = ("domain", "method", "seed", "nfe", "seconds", "device", "rounds", "correction", "domain_metrics")
_VECTOR = "the tilt is Σ beta_k·E_k at beta 1: 1 here means every beta as asked for"


def report(
    samples: Tensor,
    energy: Energy | Sequence[Energy],
    beta: float | Sequence[float],
    data: Tensor,
    *,
    condition: Tensor | None = None,
    sample_condition: Tensor | None = None,
    sample_weight: Tensor | None = None,
    energies: EnergyValues | Sequence[EnergyValues] | None = None,
    sample_energies: EnergyValues | Sequence[EnergyValues] | None = None,
    per_condition: bool = False,
    pad_id: int | None = None,
    log_q: LogProb | None = None,
    log_base: LogProb | None = None,
    reference: str = "data",
    against_data: tuple[Tensor, EnergyValues | Sequence[EnergyValues]] | None = None,
    notes: Mapping[str, str] | None = None,
    energy_name: str | None = None,
    **facts: Any,
) -> TiltReport:
    """The account of a tilt, for any sampler's output: energies, distance and floor, memorising, coverage, verdict.

    Target, KS, W1 and distance are against the tenth of the data that `held_out_split` holds out, weighted by
    exp(−beta·E) (self-normalised importance sampling); a model that was trained on that tenth as well is judged too
    kindly. With `reference="base"` the data are the base's own fresh draws, and all of them are held out.

    Tokens, long (N, length), are seen through fixed features of theirs (`distance` is then ``sliced_w2_tokens``).
    With several energies q ∝ p·exp(−Σ_k beta_k E_k): the figures are those of the sum, at beta 1, and every energy's
    own stand in `each_energy`.

    Args:
        samples: (m, *event) generated points.
        energy: an EnergyModel, or a function (batch, *event) -> (batch,); low is good, +inf is forbidden. Or several.
        beta: the inverse temperature asked for, on the energy's own scale; one for each of several energies.
        data: (N, *event) samples of p, N at least 20.
        condition: (N, …) conditions of the data; what is compared is the joint over all of them.
        sample_condition: (m, …) conditions of the samples, drawn from the weighted marginal.
        sample_weight: (N,) weights that multiply exp(−beta·E).
        energies: the data's energies where they are known already; one record for each of several energies.
        sample_energies: the samples' energies where they are known already, likewise.
        per_condition: weights normalised within each discrete condition.
        pad_id: of tokens, the one that fills up a sequence: lengths are then compared too.
        log_q: log density of the generator, (x, condition) -> (batch,), for `achieved_beta`.
        log_base: log density of p, likewise.
        reference: what p means: "data", "base" or "density".
        against_data: with "base": (x, energies) of the user's own data, for a second block of the same figures.
        notes: reasons of the caller, by key, that are to stand in `notes` (they win).
        energy_name: what the energy is called in the report; None asks the energy itself.
        facts: domain, method, seed, nfe, seconds, device, rounds, correction (with `log_w`, the samples' log-weights,
            its distances are measured here), domain_metrics; any other goes to `settings`.

    Returns:
        `TiltReport`; what cannot be had is None, with its reason in `notes`.

    Raises:
        ValueError: for samples or data with NaN, of another shape or dtype, too few data, or a beta that is not finite.
        EnergyError: where the energy fails or returns what it must not.
        TypeError: where the energy is no function.

    Example:
        >>> import torch
        >>> x = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
        >>> made = report(x[:500] - 0.5, lambda x: x[:, 0], 0.5, x)
        >>> made.findings
        []
    """
    given = read(
        samples,
        energy,
        beta,
        data,
        condition=condition,
        sample_condition=sample_condition,
        sample_weight=sample_weight,
        energies=energies,
        sample_energies=sample_energies,
        per_condition=per_condition,
        reference=reference,
        pad_id=pad_id,
    )
    for name, value, kind, wanted in (
        ("notes", notes, Mapping, "a mapping of keys to words"),
        ("energy_name", energy_name, str, "text"),
        ("against_data", against_data, tuple, "(x, energies)"),
    ):
        if value is not None:
            check_kind(name, value, kind, f"{wanted}, or None")
    said: dict[str, str] = {}
    whole, train, made = given.whole, given.train, given.made
    held = whole.at(given.held_out)
    effective = n_eff(whole.log_w)
    trusted = effective >= NO_ERROR_BAR
    seen = compare(held, made, given.energies)
    each = each_energy(held, [part.at(given.held_out) for part in given.parts], given.sample_parts)
    shape = inspect_shape(held, whole.at(train) if train is not None else held, made, given.energies, seen, effective)
    if per_condition:  # the data at another beta would have other weights in each condition
        shape = replace(shape, matched=None, resembles=False, missed_at_matched=False)
    remembered = inspect_memory(whole, train, held, made, seen.distance, given.same, said)
    density = inspect_density(given, held, log_q, log_base, said)
    log_norm, log_norm_error = log_z(whole.log_w, sample_weight)
    if per_condition:
        said["log_z"] = "weights are normalised within each condition: there is no single Z"
    _explain(said, given, effective, held, seen, shape)
    if per_condition:
        said["matched_beta"] = "weights are normalised within each condition: the mean energy alone tells no beta"
    calls = _calls(given, said)
    forbidden = {
        "data": float(whole.energies.forbidden.double().mean()),
        "generated": float(given.energies.forbidden.double().mean()),
    }
    names = [model.describe() for model in given.models]
    account = Account(
        beta=given.beta,
        n_eff=effective,
        n_held=n_eff(held.log_w) if held.alive else 0.0,
        n_samples=len(made),
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
        each=dict(zip(names, each, strict=True)) if given.several else {},
    )
    findings, words = verdict(account)
    findings, words = with_preface(findings, words, given.beta, facts.get("rounds"), notes or {})
    if "correction" in facts:
        block = correction_block(facts["correction"], held, made)
        facts, words = facts | {"correction": block}, words + (after_correction(block) if findings else "")
    other = None
    if against_data is not None:
        other = _against(against_data, given)
    return TiltReport(
        energy=energy_name or ", ".join(names),
        beta=list(given.betas) if given.several else given.beta,
        reference=reference,
        verdict=words,
        findings=findings,
        n_data=len(whole.x),
        n_held_out=len(given.held_out),
        n_samples=len(made),
        n_eff=effective,
        ess_fraction=effective / len(whole.x),
        max_weight=max_weight(whole.log_w),
        log_z=None if per_condition else log_norm,
        log_z_stderr=None if per_condition else log_norm_error,
        energy_mean=seen.means(trusted),
        energy_ks=seen.ks,
        energy_w1=seen.w1,
        each_energy=blocks(names, each, trusted) if given.several else None,
        distance=seen.distance.block(given.distance_name) if seen.distance else None,
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
        evidence=_evidence(given, pad_id),
        **{key: value for key, value in facts.items() if key in _KEYS and value is not None},
    )


def _evidence(given: Given, pad_id: int | None) -> Evidence:
    return Evidence(
        given.data.cpu(),
        given.whole.log_w,
        given.whole.energies,
        given.samples.cpu(),
        given.energies,
        given.held_out,
        pad_id=pad_id,
        beta=list(given.betas) if given.several else given.beta,
    )


def _against(against: tuple[Tensor, EnergyValues | Sequence[EnergyValues]], given: Given) -> dict[str, Any]:
    """The same figures against the user's own data, where p is the base flow."""
    if len(against) != 2:
        raise ValueError(f"against_data must be (x, energies), got {len(against)} parts")
    x = check_points(against[0], "against_data")
    parts = known_energies(against[1], len(given.models), len(x), "energies of against_data", "against_data") or []
    if x.shape[1:] != given.samples.shape[1:] or len(x) != len(parts[0]) or len(parts) != len(given.models):
        raise ValueError(
            "against_data must be (x, energies) of the samples' event shape, with one record for each energy, got "
            f"{tuple(x.shape)} and {len(parts[0])} energies of {len(parts)}"
        )
    values = weighted_sum(parts, given.betas) if given.several else parts[0]
    own = Reference(
        Rows(x.cpu(), prepare=given.as_points), values, log_weights(values, given.beta), log_weights(values, 0.0)
    )
    found = compare(own, given.made, given.energies)
    distance = found.distance.block(given.distance_name) if found.distance else None
    return found.energies(n_eff(own.log_w) >= NO_ERROR_BAR) | {"distance": distance}


def _calls(given: Given, said: dict[str, str]) -> dict[str, int]:
    """Counts of both evaluations; a failure is told, never silent."""
    data, made = given.whole.energies, given.energies
    if data.failed or made.failed:
        first = data.failure or made.failure
        said["energy_calls"] = f"{data.failed + made.failed} items failed and count as forbidden; the first: {first}"
    return {
        "calls": data.calls + made.calls,
        "failed": data.failed + made.failed,
        "cached": data.cached + made.cached,
    }


def _explain(
    said: dict[str, str], given: Given, effective: float, held: Reference, seen: Comparison, shape: Shape
) -> None:
    """Notes on what is missing or weak, beside those that the parts left."""
    n, m = len(given.whole.x), len(given.made)
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
        said["distance"] = f"only {m} samples: n is their number, and the floor is of as few reference points"
    if seen.generated is None:
        said["energy_mean"] = said["energy_ks"] = said["energy_w1"] = "every generated sample is forbidden"
    if shape.matched is None:
        said["matched_beta"] = "no beta gives the data the samples' mean energy with ten effective points"
    elif effective < NO_ERROR_BAR:
        said["matched_beta_stderr"] = f"under {NO_ERROR_BAR} effective points"
    if any(beta < 0 for beta in given.betas):
        said["beta"] = "negative: high energies are preferred"
    if given.several:
        for key in ("energy_mean", "matched_beta", "achieved_beta"):
            said.setdefault(key, _VECTOR)
