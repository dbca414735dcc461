"""What `import egflow` costs beside `import torch`: median of fresh processes that take turns. Goal: ratio < 1.5."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

TITLE = "Import time (goal: ratio < 1.5)"


def run(out: Path, quick: bool = False) -> list[dict[str, object]]:
    """One row: seconds of both, and their ratio."""
    seconds: dict[str, list[float]] = {"torch": [], "egflow": []}
    for _ in range(3 if quick else 11):
        for name, taken in seconds.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], check=True)
            taken.append(time.perf_counter() - start)
    torch_seconds, ours = (statistics.median(taken) for taken in seconds.values())
    return [{"import torch s": torch_seconds, "import egflow s": ours, "ratio": round(ours / torch_seconds, 3)}]
