"""``egflow benchmark``: run one suite of ``benchmarks/`` and write its rows and its table.

A suite is a module beside the checkout with ``TITLE`` and ``run(out, quick)``, which returns or yields its rows; its
docstring says what is measured and what the columns are, and stands on the page. It is loaded by its file, for
benchmarks are no part of the package.
"""

from __future__ import annotations

import csv
import importlib.util
import inspect
import io
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from egflow._files import write_text
from egflow.cli._compose import Arguments, Settings
from egflow.cli._outcome import RunFailed, one_line


def benchmark(settings: Settings, arguments: Arguments) -> int:
    """Run a suite. A quick run shows that it works and leaves the docs alone."""
    folder = benchmarks_folder()
    suite = load_suite(folder, settings["suite"])
    out = Path(settings["out"]) if settings["out"] else folder / "results" / ("quick" if settings["quick"] else "")
    out.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, Any]] = []
    more = {key: settings[key] for key in ("n", "hours") if settings[key] is not None}
    for key in more.keys() - inspect.signature(suite.run).parameters.keys():
        raise ValueError(f"{key}={settings[key]} means nothing to suite={settings['suite']}: leave it out")
    try:
        for row in suite.run(out=out, quick=settings["quick"], **more):
            rows.append(row)
            write_rows(rows, out, settings["suite"])  # as they come, where the suite yields them
    except (ValueError, RuntimeError, OSError) as error:
        raise RunFailed(f"suite {settings['suite']}: {one_line(error)}") from error
    if not rows:
        raise RunFailed(f"suite {settings['suite']} gave no rows")
    table = markdown(rows)
    print(f"{suite.TITLE}\n\n{table}\nRows are in {out / settings['suite']}.csv and .json")
    if not settings["quick"] and settings["out"] is None:
        command = " ".join([f"suite={settings['suite']}", *(f"{key}={value}" for key, value in more.items())])
        file = folder.parent / "docs" / "benchmarks" / f"{settings['suite']}.md"
        write_text(file, page(suite, rows, command, f"on {date.today():%Y-%m-%d}, {machine()}"))
        print(f"The table is in {file}")
    return 0


def benchmarks_folder() -> Path:
    """``benchmarks/`` of the checkout this package runs from.

    Raises:
        FileNotFoundError: where egflow was installed as a wheel.
    """
    folder = Path(__file__).resolve().parents[2] / "benchmarks"
    if not folder.is_dir():
        raise FileNotFoundError("benchmarks are in the repository, not in the installed package: run from a checkout")
    return folder


def load_suite(folder: Path, name: str) -> ModuleType:
    """The module of a suite. Raises ValueError that names the nearest, for a name that is none."""
    names = sorted(file.stem for file in folder.glob("*.py") if not file.stem.startswith("_"))
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"suite={name} is not in benchmarks/.{hint} Suites: {', '.join(names) or 'none'}")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # suites share modules that begin with _
    spec = importlib.util.spec_from_file_location(f"egflow_benchmark_{name}", folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def page(suite: ModuleType, rows: Sequence[Mapping[str, Any]], command: str, made: str) -> str:
    """A suite's page of the docs: how, when and where it was made, what it measures, its table."""
    said = inspect.getdoc(suite) or ""
    return f"# {suite.TITLE}\n\n`python -m egflow.benchmark {command}`, {made}.\n\n{said}\n\n{markdown(rows)}"


def machine() -> str:
    """Where figures are made, in words.

    >>> "torch" in machine()
    True
    """
    file = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.*)", file.read_text()) if file.is_file() else None
    words = f"{os.cpu_count()} cores of {named[1] if named else platform.processor() or platform.machine()}"
    if torch.cuda.is_available():
        words += f" and {torch.cuda.get_device_name()}"
    return f"{words}, torch {torch.__version__}"


def write_rows(rows: Sequence[Mapping[str, Any]], out: Path, name: str) -> None:
    """``<name>.csv`` and ``<name>.json``, whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(out / f"{name}.csv", text.getvalue())
    write_text(out / f"{name}.json", json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n")


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns of rows that may differ, in the order of first sight."""
    return list(dict.fromkeys(key for row in rows for key in row))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table.

    >>> print(markdown([{"a": 1, "b": 0.12345678}]))
    | a | b |
    | --- | --- |
    | 1 | 0.1235 |
    <BLANKLINE>
    """
    names = columns(rows)
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    lines += ["| " + " | ".join(_cell(row.get(name, "")) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
