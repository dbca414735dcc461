"""Commands are run as a user runs them, in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import SMALL, InProcess, shell

from egflow.cli import _door


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which one small run has been made, as ``runs/mine``, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    result = shell(f"python -m egflow.train {SMALL} data=rings beta=2 run_dir=runs/mine", folder)
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """Run a command in this process, in an empty folder: (exit code, stderr). It spares the import of torch."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *argv: str) -> tuple[int, str]:
        code = _door.run(name, argv)
        return code, capsys.readouterr().err

    return call
