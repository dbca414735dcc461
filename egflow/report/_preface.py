"""What is said before the verdict: rounds that stopped; and beside it, what the figures themselves depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from egflow.report._verdict import REMEDY


def with_preface(
    findings: list[str], verdict: str, beta: float, rounds: Mapping[str, Any] | None, notes: Mapping[str, str]
) -> tuple[list[str], str]:
    """Findings and verdict with a stop of the rounds in front, and the limits of what they speak of behind.

    Args:
        findings, verdict: of the samples at the beta that was reached.
        beta: that beta.
        rounds: the entry of report.json, with `stopped` (a word or None) and `base_error`, or None.
        notes: `rounds` has the stop's reason, `samples` why samples are not exact.

    Example:
        >>> rounds = {"beta_reached": 9.0, "base_error": 0.02, "stopped": "modes"}
        >>> with_preface([], "within noise", 9.0, rounds, {"rounds": "stopped (modes): round 3 lost one"})[1]
        'rounds stopped at beta 9, round 3 lost one; at that beta: within noise; the tail of p leaves its mean ± 0.02'
    """
    if rounds:
        verdict = verdict.replace(REMEDY, "lower beta, or bring more data")  # it went in rounds
        if error := rounds.get("base_error"):
            verdict += f"; the tail of p leaves its mean ± {error:.2g}"
        if word := rounds.get("stopped"):
            reason = notes.get("rounds", "").partition("): ")[2] or str(word)
            verdict = f"rounds stopped at beta {beta:.4g}, {reason}; at that beta: {verdict}"
            findings = ["stopped", *findings]
    if "samples" in notes:
        verdict += f" (samples are not exact: {notes['samples']})"
        findings = [*findings, "not_exact"]
    return findings, verdict
