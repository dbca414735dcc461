"""README and docs: their Python runs as written, their commands parse, their links lead somewhere, doctests pass.

Blocks of a page run in order, in one namespace and in an empty folder. A block that begins with ``# name.py`` is
written as that file; where it has a ``__main__`` guard it is run as a script of its own.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from egflow.cli import _benchmark

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(
        page for part in ("benchmarks", "howto", "explain", "tutorials") for page in (ROOT / "docs" / part).glob("*.md")
    ),
    *sorted((ROOT / "domains").glob("*/README.md")),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language on a page."""
    return [code for kind, code in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if kind == language]


@pytest.mark.parametrize("page", [name for name in NAMES if blocks(name, "python")])
def test_python_runs_as_written(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for number, code in enumerate(blocks(page, "python"), 1):
        file = re.match(r"# (\w+\.py)\n", code)
        if file is None:
            exec(compile(code, f"{page}, block {number}", "exec"), names)
            continue
        Path(file[1]).write_text(code, encoding="utf-8")
        if "__main__" in code:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run([sys.executable, file[1]], env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def commands(page: str) -> list[str]:
    """The egflow commands of a page's bash blocks, without those that sweep (they cannot be shown only)."""
    lines = [line for code in blocks(page, "bash") for line in code.splitlines()]
    return [line for line in lines if line.startswith("python -m egflow.") and "--multirun" not in line]


@pytest.mark.parametrize("page", [name for name in NAMES if commands(name)])
def test_commands_are_understood(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is composed and checked, as ``--cfg`` does, and not run."""
    from egflow.cli._door import run

    for line in commands(page):
        words = shlex.split(line, comments=True)
        assert run(words[2].removeprefix("egflow."), [*words[3:], "--cfg"]) == 0, (line, capsys.readouterr().err)


@pytest.mark.parametrize("page", NAMES)
def test_relative_links_exist(page: str) -> None:
    text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    links = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    missing = [link for link in links if link and not ((ROOT / page).parent / link).exists()]
    assert not missing


def modules(package: str) -> list[str]:
    """The modules of a package that hold doctests."""
    found = importlib.import_module(package)
    names = [info.name for info in pkgutil.walk_packages(found.__path__, f"{package}.")]
    files = {name: importlib.util.find_spec(name) for name in names}
    return [
        name for name, spec in files.items() if spec and spec.origin and ">>> " in Path(spec.origin).read_text("utf-8")
    ]


@pytest.mark.parametrize(
    "name",
    [name for part in ("", "_toy", "_images", "_molecules") for name in modules(f"egflow{part}")],
)
def test_doctests(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


SUITES = sorted(file.stem for file in (ROOT / "benchmarks").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", SUITES)
def test_page_of_a_benchmark_says_command_date_machine_and_what_it_measures_and_shows_the_rows(name: str) -> None:
    suite = _benchmark.load_suite(ROOT / "benchmarks", name)
    rows = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    text = (ROOT / "docs" / "benchmarks" / f"{name}.md").read_text()
    head = r"# .*\n\n`python -m egflow.benchmark (suite=.*)`, (on 20\d\d-\d\d-\d\d, \d+ cores of .*)\.\n"
    said = re.match(head, text)
    assert said is not None, text[:200]
    assert suite.__doc__ and len(suite.__doc__.split()) > 15
    assert text == _benchmark.page(suite, rows, said[1], said[2])
