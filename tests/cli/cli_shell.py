"""Commands run as a user runs them: one line, by a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

SMALL = "toy.n_data=2000 trainer.steps=20 n=500"
InProcess = Callable[..., tuple[int, str]]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def restore_signals() -> None:
    """A test suite started in the background ignores Ctrl-C, and its children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one line in a shell."""
    return subprocess.run(line, shell=True, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=300)
