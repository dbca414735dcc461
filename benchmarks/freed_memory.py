"""CPU seconds with and without what the command line does to glibc's malloc (`egflow.cli._allocator`), one thread.

`default` and `kept`: each job in a process of its own, user and system time together, the median of three; `share`
saved; `peak MB`: resident memory at most, of either. Jobs: 60 training steps of the U-Net of 16x16 pictures, 64 a batch
in bfloat16, and 20,000 samples of a small network on the plane.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TITLE = "Freed memory: kept for the next step, or given back"
JOBS = {
    "U-Net, 60 steps": """
x = shapes(2_000)[0]
network = UNet(channels=3, size=16, width=32)
options = TrainingOptions(autocast=True, progress="quiet")
job = lambda: egflow.fit(x, network=network, steps=STEPS, batch_size=64, options=options)
""",
    "MLP, 20,000 samples": """
flow = egflow.fit(torch.randn(2_000, 2), steps=20, options=TrainingOptions(progress="quiet"))
job = lambda: flow.sample(20_000 * STEPS // 60)
""",
}
SCRIPT = """
import resource, sys
if sys.argv[1] == "kept":
    from egflow.cli._allocator import keep_freed_memory
    keep_freed_memory()
import torch, egflow
from egflow.network import UNet
from egflow.training import TrainingOptions
from egflow_images.shapes import shapes
torch.set_num_threads(1)
STEPS = int(sys.argv[2])
{job}
def used():
    now = resource.getrusage(resource.RUSAGE_SELF)
    return now.ru_utime + now.ru_stime
before = used()
job()
print(used() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each job. quick: once, a few steps."""
    for name, job in JOBS.items():
        found: dict[str, list[list[float]]] = {"default": [], "kept": []}
        for _ in range(1 if quick else 3):
            for how, seen in found.items():
                command = [sys.executable, "-c", SCRIPT.format(job=job), how, "3" if quick else "60"]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seen.append([float(word) for word in done.stdout.split()])
        default, kept = (statistics.median(seconds for seconds, _ in seen) for seen in found.values())
        yield {
            "job": name,
            "default": round(default, 2),
            "kept": round(kept, 2),
            "share": f"{1 - kept / default:.0%}",
            "peak MB": " and ".join(f"{max(memory for _, memory in seen):.0f}" for seen in found.values()),
        }
