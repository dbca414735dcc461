"""Every notebook of the docs runs from its text, with few steps, in an empty folder."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = ROOT / "docs" / "_ext" / "run_notebooks.py"
NOTEBOOKS = sorted(page for page in ROOT.glob("docs/**/*.md") if "\n```{code-cell}" in page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", NOTEBOOKS, ids=[page.stem for page in NOTEBOOKS])
def test_notebook_runs(page: Path) -> None:
    """In a process of its own: the kernel's threads and warnings are not ours."""
    pytest.importorskip("nbclient")
    environment = {**os.environ, "EGFLOW_DOCS_SHORT": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, RUN, page], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert page.name in done.stdout


@pytest.mark.parametrize("page", NOTEBOOKS, ids=[page.stem for page in NOTEBOOKS])
def test_visible_cells_can_be_copied(page: Path) -> None:
    """A reader of the site does not see the hidden cells, which make the page short for tests."""
    cells = re.findall(r"\n```\{code-cell\}.*?\n(.*?)\n```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    visible = "\n".join(cell for cell in cells if "remove-cell" not in cell)
    assert "SHORT" not in visible
    assert "os." not in visible or "import os" in visible


@pytest.mark.parametrize("page", NOTEBOOKS, ids=[page.stem for page in NOTEBOOKS])
def test_the_site_shows_what_today_s_code_printed(page: Path) -> None:
    """A tutorial whose code was changed is shown without outputs until it is run again, in full: minutes."""
    pytest.importorskip("myst_nb")
    ours = importlib.import_module("kept_outputs")
    file = ours.OUTPUTS / f"{page.stem}.json"
    again = f"run it: python docs/_ext/run_notebooks.py {page.relative_to(ROOT)}"
    assert file.exists(), again
    found = json.loads(file.read_text(encoding="utf-8"))
    notebook = ours.read_myst_markdown_notebook(page.read_text(encoding="utf-8"), path=page)
    assert found["code"] == ours.code_of(notebook), again
    assert any(found["outputs"])
    assert ours.put(notebook, found).cells[1].source.startswith("# "), "the title is the first that is seen"
