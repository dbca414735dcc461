"""The cache: hits are counted, versions kept apart, failures never stored, two processes safe."""

import functools
import math
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import energy_functions
import pytest
import torch

from egflow.energy import EnergyError, EnergyModel, as_energy, evaluate, load_energy

X = torch.arange(10.0)[:, None]


def rows(folder):
    with closing(sqlite3.connect(folder / "energies.sqlite")) as connection:
        return connection.execute("SELECT count(*) FROM energy").fetchone()[0]


def counting(calls, bad=()):
    """A function at the top level as far as the cache is concerned, that notes what it is asked for."""

    def count(x):
        calls.append(float(x[0]))
        if float(x[0]) in bad:
            raise ArithmeticError("bad")
        return float(x[0]) ** 2

    count.__qualname__ = "count"
    return count


def test_second_run_is_cached_and_equal(tmp_path):
    calls = []
    energy = as_energy(counting(calls), batch=False, cache=tmp_path / "new" / "folder", version=1)
    first, second = evaluate(energy, X[:6]), evaluate(energy, X)
    assert (first.calls, first.cached) == (6, 0) and (second.calls, second.cached) == (4, 6)
    assert calls == list(range(10)), "each item was asked for once"
    assert torch.equal(second.values, X[:, 0].double() ** 2)


def test_another_version_name_dtype_or_condition_is_another_key(tmp_path):
    def make(version, name="count"):
        fn = counting([])
        fn.__qualname__ = name
        return as_energy(fn, batch=False, cache=tmp_path, version=version)

    assert evaluate(make(1), X).cached == 0
    assert evaluate(make(1), X).cached == 10
    assert evaluate(make(2), X).cached == 0
    assert evaluate(make(1, "other"), X).cached == 0
    assert evaluate(make(1), X.double()).cached == 0
    conditional = as_energy(energy_functions.total_and_condition, batch=False, cache=tmp_path, version=1)
    assert evaluate(conditional, X, X[:, 0]).cached == 0
    assert evaluate(conditional, X, X[:, 0]).cached == 10
    assert evaluate(conditional, X, X[:, 0] + 1).cached == 0


def test_condition_is_not_in_the_key_of_an_energy_that_ignores_it(tmp_path):
    energy = as_energy(energy_functions.total, batch=False, cache=tmp_path, version=1)
    assert evaluate(energy, X, X).cached == 0 and evaluate(energy, X, X + 1).cached == 10


def test_float32_energies_come_back_exactly(tmp_path):
    energy = as_energy(lambda x: torch.sin(x[:, 0]), cache=tmp_path)
    assert torch.equal(evaluate(energy, X).values, evaluate(energy, X).values)
    assert torch.equal(evaluate(energy, X).values, torch.sin(X[:, 0]).double())


def test_forbidden_is_cached_failures_are_not(tmp_path):
    calls = []
    bad = counting(calls, bad=(3.0,))
    fn = functools.wraps(bad)(lambda x: math.inf if x[0] == 5 else bad(x))
    energy = as_energy(fn, batch=False, cache=tmp_path, version=1, on_failure="forbid")
    first, second = evaluate(energy, X), evaluate(energy, X)
    assert first.forbidden.nonzero().flatten().tolist() == second.forbidden.nonzero().flatten().tolist() == [3, 5]
    assert (first.calls, first.failed, first.cached) == (10, 1, 0)
    assert (second.calls, second.failed, second.cached) == (1, 1, 9), "only the failed item is tried again"
    assert rows(tmp_path) == 9


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_nan_and_minus_infinity_are_never_stored(tmp_path, bad):
    energy = as_energy(lambda x: torch.where(x[:, 0] == 2, bad, x[:, 0]), cache=tmp_path)
    for _ in range(2):
        with pytest.raises(EnergyError, match="item 2"):
            evaluate(energy, X)
    assert rows(tmp_path) == (2 if math.isnan(bad) else 9), "a NaN stops the batch, −inf is found at the end"


def test_what_was_paid_for_before_a_failure_is_kept(tmp_path):
    calls = []
    with pytest.raises(EnergyError, match="item 7"):
        evaluate(as_energy(counting(calls, bad=(7.0,)), batch=False, cache=tmp_path, version=1), X)
    assert evaluate(as_energy(counting(calls), batch=False, cache=tmp_path, version=1), X).cached == 7


def test_workers_and_the_cache_together(tmp_path):
    energy = as_energy(energy_functions.raises_at_four, batch=False, workers=2, cache=tmp_path, on_failure="forbid")
    assert evaluate(energy, X).calls == 10
    again = evaluate(energy, X)
    assert (again.calls, again.cached, again.failed) == (1, 9, 1)


def test_equal_items_of_a_batch_are_run_once(tmp_path):
    calls = []
    energy = as_energy(counting(calls, bad=(1.0,)), batch=False, cache=tmp_path, version=1, on_failure="forbid")
    values = evaluate(energy, torch.tensor([[2.0], [1.0], [2.0], [1.0]]))
    assert values.energy.tolist() == [4.0, math.inf, 4.0, math.inf] and calls == [2.0, 1.0]
    assert (values.calls, values.cached, values.failed) == (2, 2, 2)


def test_evaluate_caches_energies_that_have_no_cache(tmp_path):
    tree = 2 * as_energy(energy_functions.totals) + as_energy(energy_functions.total, batch=False)
    assert evaluate(tree, X, cache=tmp_path).cached == 0
    values = evaluate(tree, X, cache=tmp_path)
    assert values.cached == 10 and values.calls == 0 and torch.equal(values.values, 3 * X[:, 0].double())
    assert tree(X).shape == (10,), "and leaves them as they are"

    class Model(EnergyModel):
        def __init__(self, scale):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1, bias=False)
            torch.nn.init.constant_(self.layer.weight, scale)

        def forward(self, x, condition=None):
            return self.layer(x)[:, 0]

    assert evaluate(Model(2.0), X, cache=tmp_path).cached == 0
    assert evaluate(Model(2.0), X, cache=tmp_path).cached == 10
    assert evaluate(Model(3.0), X, cache=tmp_path).values[1] == 3.0, "other weights are another energy"


def make(scale):
    return lambda x: x[:, 0] * scale


def helper(x):
    return x[:, 0]


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return x[:, 0] * self.scale


@pytest.mark.parametrize("version", [None, "1"])
def test_different_functions_never_collide(tmp_path, version):
    weights = torch.tensor(7.0)
    functions = {
        0.0: lambda x: x[:, 0] * 0.0,
        1.0: lambda x: x[:, 0] * 1.0,
        2.0: make(2.0),
        3.0: make(3.0),
        4.0: functools.partial(lambda x, k: x[:, 0] * k, k=4.0),
        5.0: functools.partial(lambda x, k: x[:, 0] * k, k=5.0),
        6.0: lambda x, k=6.0: x[:, 0] * k,
        7.0: lambda x: x[:, 0] * weights,
        8.0: Scaled(8.0),
        9.0: Scaled(9.0),
        10.0: Scaled(10.0).__call__,
    }
    for _ in range(2):
        for scale, fn in functions.items():
            energy = as_energy(fn, cache=tmp_path, version=version)
            assert evaluate(energy, X).values[1] == scale


def test_without_a_version_the_code_is_the_version(tmp_path):
    folder, file = tmp_path / "cache", tmp_path / "mine.py"
    for text, expected, cached in (
        ("K = 2.0\ndef energy(x):\n    return x[:, 0] * K\n", 2.0, 0),
        ("K = 2.0\n\n\n# a comment\ndef energy(x):\n    return x[:, 0] * K\n", 2.0, 10),
        ("K = 3.25\ndef energy(x):\n    return x[:, 0] * K\n", 3.25, 0),
        ("K = 3.25\ndef k():\n    return K\ndef energy(x):\n    return x[:, 0] * k()\n", 3.25, 0),
        ("K = 4.125\ndef k():\n    return K\ndef energy(x):\n    return x[:, 0] * k()\n", 4.125, 0),
        ("K = {'a': [5.0]}\ndef energy(x):\n    return x[:, 0] * K['a'][0]\n", 5.0, 0),
        ("K = {'a': [6.0]}\ndef energy(x):\n    return x[:, 0] * K['a'][0]\n", 6.0, 0),
    ):
        file.write_text(text)
        values = evaluate(load_energy(f"{file}:energy"), X, cache=folder)
        assert (float(values.values[1]), values.cached) == (expected, cached)


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    lock = __import__("threading").Lock()
    with pytest.raises(EnergyError, match=r"cache= cannot tell energy .*lambda.*version="):
        evaluate(as_energy(lambda x: x[:, 0] if lock else x, cache=tmp_path), X)


def test_a_cache_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnergyError, match=r"cache=.*file.*give a folder"):
        evaluate(as_energy(helper, cache=tmp_path / "file"), X)
    (tmp_path / "energies.sqlite").write_bytes(b"not a database, and long enough to be looked at " * 40)
    with pytest.raises(EnergyError, match=r"cache=.*not a database.*give a folder"):
        evaluate(as_energy(helper, cache=tmp_path), X)


SCRIPT = """
import sys, torch, energy_functions
from egflow.energy import as_energy, evaluate
energy = as_energy(energy_functions.total, batch=False, cache=sys.argv[1], version=1)
x = torch.arange(200.0)[:, None]
x = x if sys.argv[2] == "up" else x.flip(0)
values = evaluate(energy, x, batch_size=2)
assert values.values.equal(x[:, 0].double())
print(values.calls, values.cached, energy.identity())
"""


def test_two_processes_at_once(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    where = {"cwd": Path(__file__).parent, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, way], **where) for way in ("up", "down")]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    (calls_a, cached_a, name_a), (calls_b, cached_b, name_b) = (out.split(maxsplit=2) for out, _ in outputs)
    assert name_a == name_b and int(calls_a) + int(cached_a) == int(calls_b) + int(cached_b) == 200
    energy = as_energy(energy_functions.total, batch=False, cache=tmp_path, version=1)
    assert evaluate(energy, torch.arange(200.0)[:, None]).cached == 200, "nothing written was lost"


def test_keys_are_the_same_in_every_process(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "K = {1.5, 2.5, 'a', 'b', 'c'}\n"
        "def inner(x):\n    return 'a' in {'a', 'b', 'c', 'd'}\n"
        "def energy(x, k=('x', 'y')):\n    return x[:, 0] * inner(x) * len(K)\n"
        "network = torch.nn.Linear(3, 1)\n"
        "torch.nn.init.ones_(network.weight); torch.nn.init.zeros_(network.bias)\n"
    )
    script = (
        "from egflow.energy import as_energy, load_energy\n"
        f"for name in ('energy', 'network'): print(as_energy(load_energy(r'{file}:' + name)).identity())\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    ]
    first, second = (process.communicate(timeout=60)[0] for process in processes)
    assert first == second and first.count("version None") == 2
