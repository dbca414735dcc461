"""Peers in environments of their own: made once, kept in the user's cache folder, spoken to over a pipe.

An environment holds the peer and what it needs at import, installed with `--no-deps`; torch, NumPy, SciPy, POT and
torchdiffeq come from the running environment through a .pth file, placed after the environment's own packages. So every
library computes with the same build of torch (a peer's own resolution would bring another torch, and the comparison
would be one of torches), and the running environment is never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class PeerMissing(RuntimeError):
    """A peer that cannot be installed or started here; the words say why."""


def environment(name: str, packages: Sequence[str]) -> Path:
    """The interpreter of an environment with these packages, made where there is none yet.

    Raises:
        PeerMissing: where they cannot be installed.
    """
    shared = sysconfig.get_paths()["purelib"]
    mark = hashlib.sha256("\n".join([sys.version, shared, *packages]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "egflow" / "peers" / f"{name}-{mark}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    try:
        venv.create(folder, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerMissing(f"no environment could be made: {error}") from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
        raise PeerMissing(f"pip could not install it: {words[-1][:200]}")
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "zz_shared_with_egflow.pth").write_text(shared + "\n")
    (folder / "complete").write_text("\n".join(packages) + "\n")
    return python


class Peer:
    """A library's process, see `_libraries_job.serve`.

    Attributes:
        name: of the library.
        solvers: its solvers for each job, once asked for.
    """

    solvers: dict[str, Any]

    def __init__(self, name: str, python: Path, script: Path, folder: Path) -> None:
        self.name, self.solvers = name, {}
        self._words = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`
        self._process = subprocess.Popen(
            [str(python), "-W", "ignore", str(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """The answer to one request. Raises PeerMissing where the process ended, RuntimeError where it failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            self._words.seek(0)
            words = self._words.read().strip().splitlines() or ["without a word"]
            raise PeerMissing(f"its process ended: {words[-1][:200]}")
        reply = json.loads(line)
        if "failed" in reply:
            raise RuntimeError(f"{self.name}, {do} {more}: {reply['failed']}")
        return reply

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(OSError):  # of words that were never read
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._words.close()
