"""The example runs as a user would run it, and even a short training moves the energy most of the way to its target."""

import re
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).parents[2] / "examples" / "efm_in_one_file.py"


def test_the_example_runs_and_reaches_for_the_target() -> None:
    done = subprocess.run([sys.executable, "-W", "error", FILE, "300"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    base, target, generated = (float(number) for number in re.findall(r"^mean energy.*? (-\d\.\d+)", done.stdout, re.M))
    assert target < base - 0.2
    assert abs(generated - target) < 0.2 * (base - target)
