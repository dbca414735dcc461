"""What an item may take of memory, and what is left of workers however they and their parent end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import energy_functions
import pytest
import torch

from egflow.energy import EnergyError, as_energy, evaluate

X = torch.arange(12.0)[:, None].repeat(1, 2)
SUMS = (2 * torch.arange(12.0)).tolist()
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's limits and signals, of Linux")


@linux
def test_an_item_that_asks_for_too_much_memory_costs_itself_only():
    energy = as_energy(
        energy_functions.takes_four_gigabytes_at_three_and_five,
        batch=False, workers=2, memory_limit=500, on_failure="forbid",
    )  # fmt: skip
    values = evaluate(energy, X)
    assert values.forbidden.nonzero().flatten().tolist() == [3, 5] and values.failed == 2
    assert values.values.tolist() == [0.0 if i in (3, 5) else value for i, value in enumerate(SUMS)]
    assert "item 3" in str(values.failure) and "allocate" in str(values.failure)
    energy = as_energy(energy_functions.takes_four_gigabytes_at_three_and_five, batch=False, workers=1, memory_limit=99)
    with pytest.raises(EnergyError, match=r"item 3: .*allocate") as caught:
        evaluate(energy, X[:4])
    assert caught.value.index == 3


@linux
def test_a_worker_that_filled_up_is_replaced():
    energy = as_energy(
        energy_functions.keeps_twenty_megabytes, batch=False, workers=1, memory_limit=110, on_failure="forbid"
    )
    values = evaluate(energy, X)
    assert values.forbidden.nonzero().flatten().tolist() == [5, 11], "each worker holds what five items left"


@linux
def test_the_least_memory_is_enough_for_a_plain_energy():
    energy = as_energy(energy_functions.multiplies_matrices, batch=False, workers=2, memory_limit=50)
    assert evaluate(energy, X).values.tolist() == SUMS
    # 40 MB of items are no item's own
    batches = as_energy(energy_functions.totals, workers=2, memory_limit=50)
    assert evaluate(batches, torch.ones(40, 250_000)).values.tolist() == [250_000.0] * 40, (
        "40 MB of items are no item's"
    )


def test_limits_that_cannot_be_are_refused():
    for limit in (49.9, 0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"memory_limit is .*number of MB from 50"):
            as_energy(energy_functions.total, workers=1, memory_limit=limit)
    with pytest.raises(ValueError, match="memory_limit=100 needs workers"):
        as_energy(energy_functions.total, memory_limit=100)
    with pytest.raises(ValueError, match="backend is 'threads'; give 'processes'"):
        as_energy(energy_functions.total, workers=1, backend="threads")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="backend='ray' needs workers"):
        as_energy(energy_functions.total, backend="ray")


def test_a_worker_killed_by_the_system_costs_its_item():
    energy = as_energy(energy_functions.killed_at_two_and_crashes_at_six, batch=False, workers=2, on_failure="forbid")
    values = evaluate(energy, X)
    assert values.forbidden.nonzero().flatten().tolist() == [2, 6] and values.failed == 2
    assert values.values.tolist() == [0.0 if i in (2, 6) else value for i, value in enumerate(SUMS)]
    assert f"exit code -{signal.SIGKILL}" in str(values.failure)


SCRIPT = """
import sys, torch, energy_functions
from egflow.energy import as_energy, evaluate

if __name__ == "__main__":
    energy = as_energy(energy_functions.tells_its_process_and_hangs, batch=False, workers=2)
    evaluate(energy, torch.arange(4.0)[:, None])
"""


def descendants(pid: int) -> dict[int, str]:
    """All processes below one and what they run, those that nobody waited for left out."""
    done = subprocess.run(["ps", "-eo", "pid=,ppid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    parents = {int(row[0]): int(row[1]) for row in rows if row[2][0] != "Z"}
    found, more = [], [pid]
    while more:
        more = [one for one, parent in parents.items() if parent in more]
        found += more
    return {int(row[0]): row[-1] for row in rows if int(row[0]) in found and not row[-1].startswith("ps -eo")}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(what: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_its_parent(tmp_path: Path, number: int) -> None:
    """Workers in the middle of items that hang, and the server they are forked from, go when the parent does."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(file)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent), "TELL": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert wait_for(lambda: len(list(tmp_path.glob("worker-*"))) == 2), "two workers are at their items"
    family = descendants(process.pid)
    workers = {int(one.name.partition("-")[2]) for one in tmp_path.glob("worker-*")}
    assert workers <= family.keys()
    process.send_signal(number)
    process.wait(timeout=30)
    assert wait_for(lambda: not any(map(alive, family))), [pid for pid in family if alive(pid)]


@linux
def test_the_server_of_workers_is_killed_and_the_run_goes_on(tmp_path: Path) -> None:
    """As by the kernel, when memory runs out: its workers go with it, their items fail, the others are done."""
    script = """
import torch, energy_functions
import egflow.energy._pool
from egflow.energy import as_energy, evaluate

egflow.energy._pool.STALL = 15.0  # one in ten times an idle worker dies with the lock of the queue
if __name__ == "__main__":
    energy = as_energy(energy_functions.kills_the_server_at_two, batch=False, workers=2, on_failure="forbid")
    values = evaluate(energy, torch.arange(12.0)[:, None])
    print(values.failed, values.forbidden.nonzero().flatten().tolist())
"""
    file = tmp_path / "script.py"
    file.write_text(script)
    done = subprocess.run(
        [sys.executable, str(file)], env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    failed, rest = done.stdout.split(maxsplit=1)
    assert 1 <= int(failed) <= 2 and rest.startswith("[") and "2" in rest, done.stdout
