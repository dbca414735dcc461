"""Several runs side by side: the report's figures, settings and versions, with what differs marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from egflow.report import TiltReport
from egflow.report._table import rows as report_rows


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the comparison: its name, a value for each run ("" where it has none), and whether they differ."""

    name: str
    values: Sequence[str]
    differs: bool


@dataclass(frozen=True, slots=True)
class Part:
    """Lines below one heading."""

    title: str
    lines: Sequence[Line]


def compare(reports: Sequence[TiltReport], settings: Sequence[Mapping[str, str]]) -> list[Part]:
    """The figures of the reports (of a range those of its upper end), what is set differently, and the versions."""
    figures = [{name.strip(): value for name, value, _ in _named(one)} for one in reports]
    changed = [line for line in _lines(settings) if line.differs]
    parts = [
        Part("Figures", _lines(figures)),
        Part("Settings that differ", [line for line in changed if line.name not in ("run_dir", "resume")]),
        Part("Versions", _lines([{key: str(value) for key, value in one.versions.items()} for one in reports])),
    ]
    return [part for part in parts if part.lines]


def _named(report: TiltReport) -> list[tuple[str, str, str]]:
    """The rows of a report's table, each with a name of its own: an indented row takes the one it belongs to."""
    named, above = [], ""
    for name, value, why in report_rows(report):
        inside = name.startswith(" ")
        above = above if inside else name.partition(":")[0]
        named.append((f"{above}: {name.strip()}" if inside else name, value, why))
    return named


def _lines(columns: Sequence[Mapping[str, str]]) -> list[Line]:
    names = dict.fromkeys(name for column in columns for name in column)
    lines = [(name, [column.get(name, "") for column in columns]) for name in names]
    return [Line(name, values, len(set(values)) > 1) for name, values in lines]
