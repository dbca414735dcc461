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


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _error(value: float | None, error: float | None) -> str:
    return _number(value) + ("" if value is None or error is None else f" ± {error:.2g}")


def _rows(report: TiltReport) -> list[tuple[str, str, str]]:
    mean, notes, forbidden = report.energy_mean, report.notes, report.forbidden
    few = "few: see verdict" if report.n_eff < 1000 else ""
    rows = [
        (
            "beta",
            _beta(report.beta, report.each_energy is not None),
            f"energy {report.energy}; p is the {report.reference}",
        ),
        ("n_eff", f"{report.n_eff:,.0f}", few or f"{report.ess_fraction:.2%} of {report.n_data:,} data"),
        ("largest weight", f"{report.max_weight:.2%}", "share of one point"),
        ("log Z", _error(report.log_z, report.log_z_stderr), notes.get("log_z", "")),
        ("mean energy: base", _number(mean["base"]), "untilted, held out"),
        (
            "    target",
            _error(mean["target"], mean["target_stderr"]),
            "weighted, held out" if mean["target_stderr"] is not None else notes.get("energy_mean", ""),
        ),
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
    if report.energy_calls.get("failed"):
        rows.append(("energy failures", f"{report.energy_calls['failed']:,}", notes.get("energy_calls", "")))
    return rows


def _beta(beta: Beta, several: bool) -> str:
    if isinstance(beta, int | float):
        return _number(beta)
    if not several:
        return " to ".join(_number(b) for b in beta if not isinstance(b, list))
    return ", ".join(_beta(b, False) for b in beta)


def table(report: TiltReport) -> Table:
    """The figures of a report with the verdict as title, a rich table."""
    good = report.verdict.startswith("within noise")
    title = Text(report.verdict, style="bold green" if good else "bold yellow", justify="left")
    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    made.add_column("figure", no_wrap=True)
    made.add_column("value", no_wrap=True)
    made.add_column("held against, or why it is missing", style="dim")
    for row in _rows(report):
        made.add_row(*(Text(cell) for cell in row))
    return made


def as_text(renderable: Table) -> str:
    """A rich table as plain text of 110 columns, without colour."""
    out = io.StringIO()
    Console(file=out, width=110, color_system=None, force_terminal=False, legacy_windows=False).print(renderable)
    return out.getvalue().rstrip()
