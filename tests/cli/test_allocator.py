"""A command's process keeps the memory it frees: pages are asked of the system once, not at every step."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys, torch
from egflow.cli._door import enter
if sys.argv[1] == "keep":
    try:
        enter("train", ["--version"])
    except SystemExit:
        pass
torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(10_000_000)  # 40 MB, 9,766 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc alone can be told")
def test_freed_memory_is_used_again() -> None:
    assert faults("keep") < 3 * 9_766
    assert faults("leave") > 19 * 9_766
