"""The report on the terminal: verdict first, then the figures with what each is to be held against."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from egflow.report._record import Beta, TiltReport

_MEANS = {"data": "the data", "base": "the base flow", "density": "the density that log_p gives"}
_AGAINST = {"data": ("held out", "data"), "base": ("draws of the base", "draws"), "density": ("draws", "draws")}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _error(value: float | None, error: float | None) -> str:
    return _number(value) + ("" if value is None or error is None else f" ± {error:.2g}")


def rows(report: TiltReport) -> list[tuple[str, str, str]]:
    mean, notes, forbidden = report.energy_mean, report.notes, report.forbidden
    few = "few: see verdict" if report.n_eff < 1000 else ""
    against = _AGAINST[report.reference]
    rows = [
        ("beta", beta_words(report.beta), f"energy {report.energy}; p is {_MEANS[report.reference]}"),
        *_rounds(report),
        ("n_eff", f"{report.n_eff:,.0f}", few or f"{report.ess_fraction:.2%} of {report.n_data:,} {against[1]}"),
        ("largest weight", f"{report.max_weight:.2%}", "share of one point"),
        ("log Z", _error(report.log_z, report.log_z_stderr), notes.get("log_z", "")),
        ("mean energy: base", _number(mean["base"]), f"untilted, {against[0]}"),
        (
            "    target",
            _error(mean["target"], mean["target_stderr"]),
            f"weighted, {against[0]}" if mean["target_stderr"] is not None else notes.get("energy_mean", ""),
        ),
        *_base_error(report),
        ("    generated", _error(mean["generated"], mean["generated_stderr"]), f"{report.n_samples:,} samples"),
        ("energy KS", _number(report.energy_ks), notes.get("energy_ks", "against the target")),
        ("energy W1", _number(report.energy_w1), notes.get("energy_w1", "in units of the energy")),
    ]
    if report.distance is None:
        rows.append(("distance", "–", notes.get("distance", "")))
    else:
        d = report.distance
        ratio = f" ({d['value'] / d['floor']:.2f} x)" if d["floor"] else ""
        perfect = f"a perfect one: {_number(d['expected'])}, up to {_number(d['limit'])}"
        allowed = f"floor {_number(d['floor'])}{ratio}; {perfect}"
        rows.append(("distance", _number(d["value"]), allowed))
    rows += _correction(report)
    to_train = notes.get("distance_train", "against as many training points")
    rows.append(("    to training data", _number(report.distance_train), to_train))
    if report.nearest_in_train:
        near = report.nearest_in_train
        chance = f"of the samples; chance gives {near['expected']:.1%} ± {near['stderr']:.1%}, copies 100%"
        rows.append(("nearest is trained on", f"{near['share']:.1%}", chance))
    if report.coverage:
        c = report.coverage
        rows.append(("target missed", f"{c['missed_mass']:.1%}", f"in {c['missed_cells']} of {c['cells']} cells"))
    rows += [
        ("forbidden", f"{forbidden['generated']:.2%}", f"of the samples; {forbidden['data']:.2%} of the data"),
        ("achieved beta", _number(report.achieved_beta), notes.get("achieved_beta", f"R² {_number(report.tilt_r2)}")),
        (
            "beta by mean energy",
            _error(report.matched_beta, report.matched_beta_stderr),
            notes.get("matched_beta", "an inference from the energies"),
        ),
    ]
    if report.nfe is not None:
        rows.append(("nfe", _number(report.nfe), "network evaluations a sample"))
    if "samples" in notes:
        rows.append(("samples", "not exact", notes["samples"]))
    if report.energy_calls.get("failed"):
        rows.append(("energy failures", f"{report.energy_calls['failed']:,}", notes.get("energy_calls", "")))
    return rows


def _rounds(report: TiltReport) -> list[tuple[str, str, str]]:
    rounds = report.rounds
    if not rounds:
        return []
    how = "stopped, see verdict" if rounds.get("stopped") else "beta was reached"
    done = f"{how}; {rounds['calls']:,} energies evaluated" if rounds.get("calls") is not None else how
    return [("rounds", str(len(rounds.get("rounds") or [])), done)]


def _base_error(report: TiltReport) -> list[tuple[str, str, str]]:
    """How far the target itself depends on a fitted base, beside the mean energy it is an error of."""
    if not report.rounds or report.reference != "base":
        return []
    error = report.rounds.get("base_error")
    said = "of the target: p's tail is the base's, fitted"
    return [("    base error", "–" if error is None else f"± {error:.2g}", report.notes.get("base_error", said))]


def _correction(report: TiltReport) -> list[tuple[str, str, str]]:
    found = report.correction
    if not found:
        return []
    drawn = found.get("drawn") or found.get("n") or report.n_samples
    rows = [("correction", f"{found['n_eff']:,.0f}", f"n_eff of {drawn:,} drawn, resampled by base·exp(−beta·E)/q")]
    if found.get("distance_after") is not None:
        change = f"{_number(found.get('distance_before'))} → {_number(found['distance_after'])}"
        rows.append(("    distance", change, "before and after, as many samples as are effective"))
    if means := found.get("energy_mean"):
        change = f"{_number(means['generated'])} → {_number(means['corrected'])}"
        rows.append(("    mean energy", change, "before and after"))
    return rows


def range_table(report: TiltReport) -> Table:
    """A row for each beta of a range, the verdict as title."""
    made = _empty(report, _caption(report))
    columns = ("beta", "n_eff", "target", "generated", "KS", "x floor", "achieved", "found")
    for name in columns:
        made.add_column(
            name, no_wrap=name != "found", overflow="fold", justify="left" if name in ("beta", "found") else "right"
        )
    for row in report.per_beta or []:
        mean, distance = row["energy_mean"], row["distance"] or {}
        floor = distance.get("floor")
        cells = [
            beta_words(row["beta"]),
            f"{row['n_eff']:,.0f}",
            _error(mean["target"], mean["target_stderr"]),
            _number(mean["generated"]),
            _number(row["energy_ks"]),
            f"{distance['value'] / floor:.2f}" if floor else "–",
            _number(row["achieved_beta"]),
            ", ".join(row["findings"]) or "within noise",
        ]
        made.add_row(*(Text(cell) for cell in cells))
    return made


def _caption(report: TiltReport) -> str:
    several = ", means are of Σ beta·E" if report.each_energy else ""
    return f"energy {report.energy}{several}; p is {_MEANS[report.reference]}; {report.n_data:,} data"


def beta_words(beta: Beta) -> str:
    """A beta, a range of it, or one of these for each of several energies.

    >>> beta_words(3.0), beta_words([0.0, 8.0]), beta_words([[0.0, 4.0], [0.0, 2.0]])
    ('3', '0, 8', '0 to 4, 0 to 2')
    """
    if isinstance(beta, int | float):
        return _number(beta)
    return ", ".join(" to ".join(f"{b:g}" for b in one) if isinstance(one, list) else f"{one:g}" for one in beta)


def table(report: TiltReport) -> Table:
    """The figures of a report with the verdict as title, a rich table; of a range, a row for each beta."""
    if report.per_beta:
        return range_table(report)
    made = _empty(report, None)
    made.add_column("figure", no_wrap=True)
    made.add_column("value", no_wrap=True)
    made.add_column("held against, or why it is missing", style="dim")
    for row in rows(report):
        made.add_row(*(Text(cell) for cell in row))
    return made


def _empty(report: TiltReport, caption: str | None) -> Table:
    good = not report.findings and "within noise" in report.verdict
    title = Text(report.verdict, style="bold green" if good else "bold yellow", justify="left")
    said = None if caption is None else Text(caption, justify="left")
    return Table(
        title=title,
        title_justify="left",
        caption=said,
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )


def as_text(renderable: Table) -> str:
    """A rich table as plain text of 110 columns, without colour."""
    out = io.StringIO()
    Console(file=out, width=110, color_system=None, force_terminal=False, legacy_windows=False).print(renderable)
    return out.getvalue().rstrip()
