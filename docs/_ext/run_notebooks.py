"""Runs notebooks of the docs from their text, each in a folder of its own, and says how long each took.

What they print in full is kept in docs/tutorials/outputs, which is what the site shows.

python docs/_ext/run_notebooks.py                                         all tutorials, in full
EGFLOW_DOCS_SHORT=1 python docs/_ext/run_notebooks.py docs/tutorials/first_energy.md     one, with few steps
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from kept_outputs import OUTPUTS, kept
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

DOCS = Path(__file__).resolve().parents[1]


def notebooks() -> list[Path]:
    """Every page that has cells to run."""
    pages = [*DOCS.glob("*.md"), *DOCS.glob("*/*.md")]
    return sorted(page for page in pages if "\n```{code-cell}" in page.read_text(encoding="utf-8"))


def run(page: Path) -> float:
    """Run one page's cells in an empty folder, and keep what they print unless it was a short run. Returns the seconds.

    Raises:
        CellExecutionError: for a cell that fails, with what was printed until then (a ``!command`` says why it failed).
    """
    notebook = read_myst_markdown_notebook(page.read_text(encoding="utf-8"), path=page)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            NotebookClient(notebook, timeout=None, resources={"metadata": {"path": folder}}).execute()
        except CellExecutionError as error:
            outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
            error.add_note("".join(output.get("text", "") for output in outputs)[-4_000:])
            raise
    seconds = time.perf_counter() - started
    if os.environ.get("EGFLOW_DOCS_SHORT") != "1":
        OUTPUTS.mkdir(exist_ok=True)
        text = json.dumps(kept(notebook, seconds, where()), indent=1, ensure_ascii=False, sort_keys=True)
        (OUTPUTS / f"{page.stem}.json").write_text(text + "\n", encoding="utf-8")
    return seconds


def where() -> str:
    """When and on what this is."""
    today = datetime.date.today()
    return f"{today.day} {today:%B %Y}, egflow {version('egflow')}, torch {version('torch')}, {os.cpu_count()} cores"


def main(files: list[str]) -> int:
    """Run the named pages, or all; the exit code."""
    failed = 0
    for page in map(Path, files) if files else notebooks():
        try:
            print(f"{page.name:<28} {run(page):6.1f} s", flush=True)
        except CellExecutionError as error:
            failed += 1
            print(f"{page.name:<28} failed\n{error}", *error.__notes__, sep="\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
