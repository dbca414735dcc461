"""What a command leaves behind: samples, figures and report, each file whole or not there."""

from __future__ import annotations

import csv
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from egflow.cli._energy import Chosen
from egflow.domain import Domain, OwnMethods
from egflow.energy import EnergyValues, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.report import TiltReport, save_figures

_TOP = 100


def whole(folder: Path, write: Callable[[Path], Sequence[Path]]) -> list[Path]:
    """Let ``write`` fill a temporary folder, then rename each of its files into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".writing-"))
    try:
        written = []
        for file in write(temporary):
            with open(file, "rb") as stream:
                os.fsync(stream.fileno())
            os.replace(file, folder / file.name)
            written.append(folder / file.name)
        return written
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_samples(
    domain: Domain | OwnMethods, samples: Any, folder: Path, columns: Mapping[str, Any] | None = None
) -> Path:
    """``folder/samples.*``, in the domain's own format, with what else is known of each where the domain takes it."""
    table = getattr(domain, "save_table", None)

    def write(temporary: Path) -> list[Path]:
        return [domain.save_samples(samples, temporary)] if table is None else table(samples, columns or {}, temporary)

    return whole(folder, write)[0]


def table_of(
    flow: Flow, chosen: Chosen | None, samples: Tensor, known: EnergyValues | None = None
) -> dict[str, Tensor]:
    """What is known of each sample of tokens, for the domain's table: energies (or scores) and log-likelihood.

    Of a flow of every beta the likelihood is that at the upper end. known: the samples' energies, not to ask again.
    """
    if not isinstance(flow, TokenFlow):
        return {}
    at = flow.at([high for _, high in flow.beta_range]) if flow.beta_range else flow
    columns: dict[str, Tensor] = {}
    if chosen is not None:
        word, sign = ("score", -1.0) if chosen.is_score else ("energy", 1.0)
        names = [word] if len(chosen.energies) == 1 else [f"{word}_{i}" for i in range(1, len(chosen.energies) + 1)]
        for name, one in zip(names, chosen.energies, strict=True):
            values = evaluate(one, samples, allow_all_forbidden=True) if known is None else known
            columns[name] = sign * values.energy
    if at.path.likelihood == "exact" and at.condition_shape is None:
        columns["log_likelihood"] = at.log_prob(samples).cpu()
    return columns


def write_calls(domain: Domain, flow: Flow, chosen: Chosen, folder: Path) -> list[Path]:
    """What a search asked: ``calls.csv``, a line a call, and ``top.csv``, its best in the domain's own table."""
    pool = flow.calls
    assert pool is not None
    word, sign = ("score", -1.0) if chosen.is_score else ("energy", 1.0)
    value = sign * pool.energy
    assert isinstance(flow.beta, float)
    top = pool.best(math.copysign(1.0, flow.beta))[:_TOP]
    table = getattr(domain, "save_table", None)

    def write(temporary: Path) -> list[Path]:
        files = [temporary / "calls.csv"]
        with open(files[0], "w", newline="", encoding="utf-8") as stream:
            lines = csv.writer(stream)
            lines.writerow(["call", "round", "origin", word, "item"])
            rows = zip(pool.round.tolist(), pool.edited.tolist(), value.tolist(), pool.key, strict=True)
            for call, (number, edited, one, key) in enumerate(rows, 1):
                lines.writerow([call, number, "edit" if edited else "draw", one, key])
        if table is not None and len(top):
            (temporary / "top").mkdir()
            columns = {word: value[top], "call": top.double() + 1, "round": pool.round[top].double()}
            made = table(pool.x[top], columns, temporary / "top")[0]
            files.append(made.rename(temporary / f"top{made.suffix}"))
        return files

    return whole(folder, write)


def with_domain(report: TiltReport, domain: Domain, info: dict[str, Any]) -> TiltReport:
    """The report with the domain's metrics and the facts of its data."""
    return replace(report, domain_metrics={**info, **domain.metrics(report)})


def write_report(
    report: TiltReport,
    own_figures: Callable[[Path], Sequence[Path]],
    folder: Path,
    history: Sequence[Mapping[str, Any]] | None,
) -> list[Path]:
    """``figures/*.png`` and then ``report.json``, which comes last: where it is, the run is finished."""
    figures = whole(
        folder / "figures",
        lambda temporary: [*save_figures(report, temporary, history), *own_figures(temporary)],
    )
    return [*figures, report.save(folder)]


def show(report: TiltReport) -> None:
    """The table and the verdict on the terminal."""
    Console(width=None if os.isatty(1) else 100).print(report.table())


def tell_written(folder: Path, samples: str, written: Sequence[Path]) -> None:
    """The closing line of a run: what is where."""
    names = ", ".join(str(file.relative_to(folder)) for file in written)
    print(f"\nWritten to {folder}: {samples}, {names}, model/, config.yaml, metrics.csv")
