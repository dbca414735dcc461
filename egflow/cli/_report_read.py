"""A run's folder as the HTML report shows it: read with care, for it may come from a stranger."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egflow._untrusted import MOST_BYTES, member
from egflow.cli._compose import Arguments, Settings, compose, flatten
from egflow.cli._folder import load_settings
from egflow.cli._quote import show
from egflow.page import Chart, Picture, loss_charts, rounds_charts, trend_charts
from egflow.report import TiltReport
from egflow.report._markup import cells

_PLACES = ("run_dir", "resume", "device")  # of the run, no part of what it is
_MOST_ROWS = 100_000  # of metrics.csv


@dataclass(frozen=True, slots=True)
class Told:
    """What a run's folder tells.

    Attributes:
        path: the folder.
        settings: of config.yaml; `text` is the file itself.
        report: of report.json.
        table: the terminal's own table of the report: its columns' names, its rows, its caption.
        charts: along a range, and of rounds; losses: of metrics.csv.
        figures: of figures/, by name, smallest first.
        repeat: the command that makes such a run.
        notes: what is missing, and why.
    """

    path: Path
    settings: Settings
    text: str
    report: TiltReport
    table: tuple[list[str], list[list[str]], str]
    charts: list[Chart]
    losses: list[Chart]
    figures: dict[str, Picture]
    repeat: str
    notes: list[str]


def read_run(text: str) -> Told:
    """The run that ``run=`` names.

    Raises:
        FileNotFoundError: if the folder holds no run, or one that is not finished.
        ValueError: if its config or report is damaged.
    """
    path = Path(text)
    settings = load_settings(path)
    if not (path / "report.json").is_file():
        raise FileNotFoundError(
            f"run={text} has no report yet: finish it with  python -m egflow.train run_dir={text} resume=true"
        )
    report = TiltReport.load(member(path, "report.json"))
    notes: list[str] = []
    try:
        table = report.table()
        header, rows = cells(table)
        charts = [*trend_charts(report), *rounds_charts(report)]
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"{path / 'report.json'} is damaged: {type(error).__name__}: {error}") from error
    return Told(
        path,
        settings,
        member(path, "config.yaml").read_text(encoding="utf-8"),
        report,
        (header, rows, str(table.caption or "")),
        charts,
        loss_charts(_history(path, notes)),
        _figures(path, notes),
        _repeat(settings, notes),
        notes,
    )


def _history(path: Path, notes: list[str]) -> list[dict[str, str]]:
    try:
        file = member(path, "metrics.csv")
        if file.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than the {MOST_BYTES:,} bytes allowed")
        with file.open(encoding="utf-8", newline="") as stream:
            return [row for row, _ in zip(csv.DictReader(stream), range(_MOST_ROWS), strict=False)]
    except FileNotFoundError:
        notes.append("No metrics.csv in the folder: the loss is not shown.")
    except (OSError, ValueError, csv.Error) as error:
        notes.append(f"metrics.csv cannot be read, and the loss is not shown: {error}")
    return []


def _figures(path: Path, notes: list[str]) -> dict[str, Picture]:
    found: dict[str, Picture] = {}
    try:
        folder = member(path, "figures")
    except ValueError as error:
        notes.append(f"The run's figures are left out: {error}")
        return found
    files = sorted(folder.glob("*.png"), key=lambda file: file.name) if folder.is_dir() else []
    for file in files:
        try:
            if member(folder, file.name).stat().st_size <= MOST_BYTES:
                found[file.name] = Picture(file.read_bytes(), f"The run's figure {file.name}")
        except (OSError, ValueError) as error:
            notes.append(f"figures/{file.name} is left out: {error}")
    if not found:
        notes.append("No figures in the folder.")
    return dict(sorted(found.items(), key=lambda item: len(item[1].content)))


def _repeat(settings: Settings, notes: list[str]) -> str:
    """The command with every setting that is not its domain's usual one."""
    domain = settings["domain"]
    try:
        usual: Mapping[str, Any] = flatten(compose("train", Arguments({"domain": domain})))
    except ValueError as error:
        notes.append(f"The command repeats every setting: {error}")
        usual = {}
    own = {k: v for k, v in flatten(settings).items() if k not in _PLACES and (k not in usual or usual[k] != v)}
    words = [f"domain={domain}", *(f"{key}={show(value)}" for key, value in own.items() if key != "domain")]
    return " ".join(["python -m egflow.train", *(shlex.quote(_printable(word)) for word in words)])


def _printable(text: str) -> str:
    """A text on one line, as it is typed: a sign that cannot be seen is shown as one that can."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)
