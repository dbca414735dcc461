"""The site, built once, and docs/_ext importable as it is for Sphinx."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site; a warning is an error."""
    pytest.importorskip("furo", reason="the extra docs is not installed")
    made = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "--keep-going", "-d", str(made / "trees")]
    done = subprocess.run([*command, str(ROOT / "docs"), str(made / "html")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return made / "html"
