"""A range of beta: one report for each beta looked at, made into one whose figures are the upper end's."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from egflow.report._record import Beta, TiltReport
from egflow.report._verdict import REMEDY

RUN_WIDE = frozenset({
    "schema", "domain", "energy", "method", "seed", "reference", "n_data", "device", "versions", "settings", "rounds",
    "per_beta", "domain_metrics", "evidence",
})  # fmt: skip
"""Keys that are the whole run's; every other is in each block of `per_beta`."""


def combine(reports: Sequence[TiltReport], beta: Beta) -> TiltReport:
    """One report of a range from the reports of single betas.

    Args:
        reports: one for each beta looked at, all of one run; for several energies `beta` of each is a list.
        beta: the range trained, [low, high], or one such for each energy.

    Returns:
        A report with `beta` the range and `per_beta` the blocks in order of beta. Its other figures are those of the
        upper end (of the last corner, for several energies), and its findings are those of all.

    Raises:
        ValueError: without reports, or with two of the same beta.

    Example:
        >>> import torch
        >>> from egflow.report import report
        >>> x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0))
        >>> made = combine([report(x[:900] - b, lambda x: x[:, 0], b, x) for b in (0.0, 0.5)], [0.0, 0.5])
        >>> made.beta, [block["beta"] for block in made.per_beta]
        ([0.0, 0.5], [0.0, 0.5])
    """
    if not reports:
        raise ValueError("combine needs a report for each beta of the range, got none")
    ordered = sorted(reports, key=lambda one: _place(one.beta))
    places = [_place(one.beta) for one in ordered]
    if len(set(places)) < len(places):
        raise ValueError(f"combine needs each beta once, got {', '.join(_words(one.beta) for one in ordered)}")
    top = ordered[-1]
    findings = list(dict.fromkeys(code for one in ordered for code in one.findings))
    evidence = top.evidence
    if evidence is not None:
        parts = tuple(replace(one.evidence, beta=_plain(one.beta)) for one in ordered if one.evidence is not None)
        evidence = replace(evidence, per_beta=parts)
    notes = {key: text for key, text in top.notes.items() if key != "beta"}
    return replace(
        top,
        beta=_plain(beta),
        verdict=range_verdict(ordered),
        findings=findings,
        per_beta=[block(one) for one in ordered],
        notes={**notes, "beta": f"a range: the figures outside of per_beta are those of beta {_words(top.beta)}"},
        energy_calls=_calls(ordered),
        evidence=evidence,
    )


def _plain(beta: Any) -> Any:
    """Betas as JSON has them: floats and lists of them."""
    return [_plain(b) for b in beta] if isinstance(beta, Sequence) else float(beta)


def block(report: TiltReport) -> dict[str, Any]:
    """The entry of `per_beta` for one beta: every key of its report that is not the whole run's."""
    names = [field.name for field in dataclasses.fields(report) if field.name not in RUN_WIDE]
    return {name: getattr(report, name) for name in names}


def _calls(reports: Sequence[TiltReport]) -> dict[str, int]:
    """Calls of all reports; the data, which they share, are counted once."""
    total = {key: sum(one.energy_calls.get(key, 0) for one in reports) for key in reports[0].energy_calls}
    shared = reports[0].evidence.energies if reports[0].evidence is not None else None
    return total if shared is None else {k: v - (len(reports) - 1) * getattr(shared, k) for k, v in total.items()}


def range_verdict(reports: Sequence[TiltReport]) -> str:
    """What holds over the range, in words: betas of which the same is found are named together."""
    if not any(one.findings for one in reports):
        if any(one.distance is None for one in reports):
            return "; ".join(f"beta {_words(one.beta)}: {one.verdict}" for one in reports)
        return f"within noise of the target at every beta looked at ({_listed(reports)}): {_ratios(reports)}"
    groups: dict[tuple[str, ...], list[TiltReport]] = {}
    for one in reports:
        groups.setdefault(tuple(one.findings), []).append(one)
    return "; ".join(f"beta {_listed(same)}: {_found(codes, same)}" for codes, same in groups.items())


def _found(codes: Sequence[str], reports: Sequence[TiltReport]) -> str:
    if len(reports) == 1 and codes:
        return reports[0].verdict
    if not codes:
        return f"within noise of the target, {_ratios(reports)}"
    parts = [_code(code, reports) for code in codes]
    if set(codes) <= {"few_effective", "few_samples"}:
        parts.append("no difference beyond the error bars was seen, which does not show that there is none")
    elif "distance" not in codes and (ratios := _ratios(reports)):
        parts.append(ratios)
    return ", ".join(parts)


def _code(code: str, reports: Sequence[TiltReport]) -> str:
    """One finding with its figures, of one or several betas."""
    means = [one.energy_mean for one in reports]
    apart = f"mean energy {_span([m['generated'] for m in means])}, target {_span([m['target'] for m in means])}"
    matched = _span([one.matched_beta for one in reports])
    missed = _span([one.coverage["missed_mass"] if one.coverage else None for one in reports], ".1%")
    near = _span([one.nearest_in_train["share"] if one.nearest_in_train else None for one in reports], ".1%")
    return {
        "few_samples": f"too few generated samples ({_span([float(one.n_samples) for one in reports], '.0f')})",
        "few_effective": f"too few effective samples (n_eff {_span([one.n_eff for one in reports], '.0f')}: {REMEDY})",
        "ignores_energy": f"ignores the energy ({apart})",
        "wrong_beta": f"energies of beta ≈ {matched} (inferred; {apart})",
        "energy": "misses the target's energies"
        if reports[0].each_energy
        else f"misses the target's energies ({apart}, KS {_span([one.energy_ks for one in reports])})",
        "misses": f"misses {missed} of the target's mass",
        "memorised": f"repeats the training data (nearest to {near} of the samples is a trained-on point)",
        "forbidden": f"{_span([one.forbidden['generated'] for one in reports], '.1%')} of the samples are forbidden",
        "distance": f"away from the target ({_ratios(reports)})",
    }.get(code, code)


def _ratios(reports: Sequence[TiltReport]) -> str:
    found = [one.distance["value"] / one.distance["floor"] for one in reports if one.distance and one.distance["floor"]]
    return f"distance {_span(found, '.2f')} x its floor" if found else ""


def _span(values: Sequence[float | None], style: str = ".3g") -> str:
    """One figure, or the least and the greatest of several."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = format(min(known), style), format(max(known), style)
    return low if low == high else f"{low} to {high}"


def _listed(reports: Sequence[TiltReport]) -> str:
    return ", ".join(_words(one.beta) for one in reports)


def _words(beta: Beta) -> str:
    if isinstance(beta, int | float):
        return f"{beta:g}"
    return "(" + ", ".join(_words(b) for b in beta) + ")"


def _place(beta: Beta) -> tuple[float, ...]:
    """Betas in order of their sum, then of each: the last corner of a grid is its upper end."""
    flat = [float(beta)] if isinstance(beta, int | float) else [float(b) for b in beta if isinstance(b, int | float)]
    return (math.fsum(flat), *flat)
