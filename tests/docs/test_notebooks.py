"""Every notebook of the docs runs from its text, with few steps, in an empty folder."""

from __future__ import annotations

import os
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
