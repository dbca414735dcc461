"""Worker processes: a hanging item is killed, a dying worker is replaced, and each costs its own item only."""

import multiprocessing
import subprocess
import sys
import textwrap
import time
from concurrent.futures import Future
from pathlib import Path

import energy_functions
import pytest
import torch

from egflow.energy import EnergyError, as_energy, evaluate, load_energy
from egflow.energy._pool import Processes
from egflow.energy._run import Call

X = torch.arange(12.0)[:, None].repeat(1, 2)
EXPECTED = (2 * torch.arange(12.0)).tolist()


def test_values_are_those_of_one_process():
    energy = as_energy(energy_functions.total, batch=False, workers=2)
    values = evaluate(2 * energy - 1.0, X, batch_size=7)
    assert values.values.tolist() == [2 * value - 1 for value in EXPECTED]
    assert (values.calls, values.failed) == (12, 0)
    assert not energy.differentiable


def test_batches_and_conditions_reach_the_workers():
    assert evaluate(as_energy(energy_functions.totals, workers=2), X).values.tolist() == EXPECTED
    conditional = as_energy(energy_functions.total_and_condition, batch=False, workers=2)
    assert evaluate(conditional, X, -2 * X[:, 0]).values.tolist() == [0.0] * 12


def test_decorated_functions_and_decoded_objects():
    assert evaluate(energy_functions.decorated, X).values.tolist() == EXPECTED
    words = as_energy(
        energy_functions.text_length, decode=lambda x: [None if r[0] == 1 else "a" * int(r[0]) for r in x],
        batch=False, workers=2,
    )  # fmt: skip
    values = evaluate(words, X)
    assert values.values.tolist() == [0.0, 0.0, *range(2, 12)] and values.forbidden.nonzero().tolist() == [[1]]


def test_a_hanging_item_is_killed_and_costs_itself_only():
    energy = as_energy(energy_functions.hangs_at_five, batch=False, workers=2, time_limit=0.4, on_failure="forbid")
    start = time.monotonic()
    values = evaluate(energy, X)
    assert time.monotonic() - start < 20, "the item sleeps for 60 s"
    assert values.forbidden.nonzero().flatten().tolist() == [5]
    assert values.failed == 1 and "item 5: it took longer than time_limit=0.4 seconds" in str(values.failure)
    assert values.values.tolist() == [0.0 if i == 5 else v for i, v in enumerate(EXPECTED)]


def test_a_hanging_item_raises_by_default():
    energy = as_energy(energy_functions.hangs_at_five, batch=False, workers=2, time_limit=0.4)
    with pytest.raises(EnergyError, match=r"item 5: it took longer than time_limit=0\.4") as caught:
        evaluate(energy, X, batch_size=4)
    assert caught.value.index == 5


def test_a_worker_that_exits_costs_its_item_and_is_replaced():
    energy = as_energy(energy_functions.exits_at_three_and_seven, batch=False, workers=2, on_failure="forbid")
    values = evaluate(energy, X)
    assert values.forbidden.nonzero().flatten().tolist() == [3, 7]
    assert values.values.tolist() == [0.0 if i in (3, 7) else v for i, v in enumerate(EXPECTED)]
    assert values.failed == 2 and "ended its worker process" in str(values.failure)


def test_raise_carries_the_message_and_the_place_in_x():
    energy = as_energy(energy_functions.raises_at_four, batch=False, workers=2)
    with pytest.raises(EnergyError, match="item 4: ArithmeticError: four is not a number I know") as caught:
        evaluate(energy, X, batch_size=3)
    assert caught.value.index == 4


def test_bad_items_of_a_batch_are_found_one_by_one():
    values = evaluate(as_energy(energy_functions.batch_with_bad_items, workers=2, on_failure="forbid"), X)
    assert values.forbidden.nonzero().flatten().tolist() == [2, 4, 9]
    assert values.failed == 3


def test_a_failure_is_remembered_when_its_worker_dies_later_in_the_chunk():
    energy = as_energy(energy_functions.raises_at_one_then_exits_at_two, batch=False, workers=1, on_failure="forbid")
    values = evaluate(energy, X)  # 12 items on one worker go in chunks of three
    assert values.forbidden.nonzero().flatten().tolist() == [1, 2] and values.failed == 2
    assert values.failure is not None
    assert values.failure.startswith("item 1: ArithmeticError: one (energy_functions.py, line ")


def test_everything_dies():
    energy = as_energy(energy_functions.always_exits, batch=False, workers=2, on_failure="forbid")
    with pytest.raises(EnergyError, match=r"all 3 items.*failed for 3 of them"):
        evaluate(energy, X[:3])


def test_no_worker_is_left_behind():
    evaluate(as_energy(energy_functions.total, batch=False, workers=2), X)
    assert not multiprocessing.active_children()


def test_a_new_pool_is_given_time_to_import(monkeypatch):
    """Minutes, from a cold network disk; a pool that was at work and takes up nothing more is given less."""
    pool = Processes(Call(energy_functions.total, "total", False, False), 1, None, 4)
    waiting, running = Future(), Future()
    running.set_running_or_notify_cancel()
    try:
        monkeypatch.setattr("egflow.energy._pool.STALL", 0.0)
        assert not pool.stalled([waiting])
        assert not pool.stalled([waiting, running])
        time.sleep(0.01)
        assert pool.stalled([waiting])
        pool.restart()
        assert not pool.stalled([waiting]), "the workers are new ones"
        monkeypatch.setattr("egflow.energy._pool.FIRST", 0.0)
        pool.restart()
        time.sleep(0.01)
        assert pool.stalled([waiting])
    finally:
        pool.close()


def test_functions_that_no_worker_could_find_are_refused():
    def local(x):
        return 0.0

    for fn, message in ((lambda x: 0.0, "is a lambda"), (local, "inside another function")):
        with pytest.raises(EnergyError, match=message + ".*top level"):
            evaluate(as_energy(fn, batch=False, workers=1), X)
    with pytest.raises(EnergyError, match=r"decoded items cannot be sent"):
        evaluate(as_energy(energy_functions.total, decode=lambda x: [lambda: 0] * len(x), batch=False, workers=1), X)


def test_a_file_of_the_users_own_runs_in_workers(tmp_path):
    (tmp_path / "helper.py").write_text("SCALE = 3.0\n")
    (tmp_path / "mine.py").write_text(
        "def energy(x):\n    import helper\n    return helper.SCALE * float(x.sum())\n\n"
        "def wrong(x):\n    return 1 / 0\n"
    )
    energy = as_energy(load_energy(f"{tmp_path}/mine.py:energy"), batch=False, workers=2)
    assert evaluate(energy, X).values.tolist() == [3 * value for value in EXPECTED]
    with pytest.raises(EnergyError, match=r"mine\.py:wrong failed for item .*ZeroDivisionError: division by zero"):
        evaluate(as_energy(load_energy(f"{tmp_path}/mine.py:wrong"), batch=False, workers=1), X)


SCRIPT = """
import torch
from egflow.energy import as_energy, evaluate

def energy(x):
    return float(x.sum())

torch.set_num_threads(2)
(torch.randn(300, 300) @ torch.randn(300, 300)).exp().sum()  # OpenMP threads are up: a fork might wait for ever
print(evaluate(as_energy(energy, batch=False, workers=2), torch.ones(6, 2)).values.tolist())
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_with_threads_running(tmp_path, guarded):
    head, _, work = SCRIPT.partition("torch.set_num_threads")
    body = "torch.set_num_threads" + work
    if guarded:
        body = "if __name__ == '__main__':\n" + textwrap.indent(body, "    ")
    file = tmp_path / "script.py"
    file.write_text(head + body)
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=60, cwd=Path.cwd())
    if guarded:
        assert done.stdout == f"{[2.0] * 6}\n", done.stderr
    else:
        # workers, which run the script too, may say so after it
        assert done.returncode == 1 and "a script that uses workers starts its work under" in done.stderr, done.stderr
