"""Workers on a Ray cluster, one of this machine: what they promise is what processes promise."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import energy_functions
import numpy as np
import pytest
import torch
from test_energy_limits import alive, descendants, wait_for

from egflow.energy import EnergyError, EnergyModel, as_energy, evaluate, load_energy
from egflow.energy._run import Done, Started
from egflow.energy._worker_task import Chunk

X = torch.arange(24.0)[:, None].repeat(1, 2)
here = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egflow.energy._worker_options.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"^backend='ray' needs the extra ray: pip install 'egflow\[ray\]'$"):
        as_energy(energy_functions.total, batch=False, workers=2, backend="ray")


class Cluster:
    """Ray, as far as the threads of its workers see it: actors that always start, and events that are themselves."""

    def __init__(self) -> None:
        self.killed: list[object] = []
        self.ready = self.run = self  # of its only actor

    def remote(self, *args: object, **options: object) -> Any:
        if options:
            return lambda actor: self
        return iter([Started(0, 1), Done(0, np.zeros(1))]) if b"payload" in args else self

    def options(self, **options: object) -> Cluster:
        return self

    def get(self, found: object) -> object:
        return found

    def kill(self, actor: object) -> None:
        self.killed.append(actor)


@pytest.fixture
def without_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Cluster]]:
    pool_ray = pytest.importorskip("egflow.energy._pool_ray")
    cluster = Cluster()
    for name, new in {"ray": cluster, "connect": lambda: None, "travelling": lambda call: b"", "PAUSE": 0.0}.items():
        monkeypatch.setattr(pool_ray, name, new)
    pool = pool_ray.RayWorkers(None, 1, None, 3)
    yield pool, cluster
    pool.close()


CHUNK = Chunk(np.array([0]), "raise", b"payload")


def test_a_lost_cluster_is_told_to_the_chunks(
    without_cluster: tuple[Any, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(found: object) -> object:
        raise ConnectionError("the client is gone")

    pool, cluster = without_cluster
    pool.submit(CHUNK).result(timeout=10)
    monkeypatch.setattr(cluster, "get", get)
    assert isinstance(pool.submit(CHUNK).exception(timeout=10), ConnectionError), "of the chunk under way"
    for _ in range(2):
        assert "Ray starts no actor: the client is gone" in str(pool.submit(CHUNK).exception(timeout=10))


def test_an_event_that_cannot_be_read_ends_its_chunk_alone(
    without_cluster: tuple[Any, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(found: object) -> object:
        if isinstance(found, Started):
            raise ValueError("no pickle")
        return found

    pool, cluster = without_cluster
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "get", get)
        assert "no pickle" in str(pool.submit(CHUNK).exception(timeout=10))
    assert pool.submit(CHUNK).exception(timeout=10) is None


def test_to_cancel_a_chunk_that_is_done_kills_no_actor(without_cluster: tuple[Any, Cluster]) -> None:
    pool, cluster = without_cluster
    (done := pool.submit(CHUNK)).result(timeout=10)
    assert not done.cancel() and not cluster.killed


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of two CPUs in this process. Nothing of it may be left in the end."""
    import ray

    before = signal.getsignal(signal.SIGTERM)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=40)
    signal.signal(signal.SIGTERM, before)
    yield
    family = [pid for pid, args in descendants(os.getpid()).items() if "ray" in args]
    assert len(family) > 3
    ray.shutdown()
    assert wait_for(lambda: not any(map(alive, family))), "no process outlives the cluster"


def on(backend: str, fn: object, **options: object) -> EnergyModel:
    return as_energy(fn, workers=2, backend=backend, **options)  # type: ignore[arg-type]


@here
@pytest.mark.slow
def test_every_failure_costs_its_item_and_values_are_those_of_processes(cluster: None, tmp_path: Path) -> None:
    options = {"batch": False, "time_limit": 3.0, "on_failure": "forbid"}
    ray = evaluate(on("ray", energy_functions.fails_in_every_way, cache=tmp_path, version=1, **options), X)
    processes = evaluate(on("processes", energy_functions.fails_in_every_way, **options), X)
    assert torch.equal(ray.values, processes.values) and torch.equal(ray.forbidden, processes.forbidden)
    assert ray.forbidden.nonzero().flatten().tolist() == [2, 3, 5, 6, 7, 8, 9, 10]
    assert (ray.calls, ray.failed, processes.failed) == (24, 7, 7), "+inf is no failure"
    healthy = [item for item in range(24) if not 2 <= item <= 9]
    again = evaluate(
        on("processes", energy_functions.fails_in_every_way, cache=tmp_path, version=1, **options), X[healthy]
    )
    assert again.cached == len(healthy), "one cache serves both"


@here
@pytest.mark.slow
def test_batches_conditions_and_decoded_objects(cluster: None) -> None:
    values = evaluate(on("ray", energy_functions.batch_with_bad_items, on_failure="forbid"), X[:12])
    assert values.forbidden.nonzero().flatten().tolist() == [2, 4, 9] and values.failed == 3
    conditional = on("ray", energy_functions.total_and_condition, batch=False)
    assert evaluate(conditional, X, -2 * X[:, 0]).values.tolist() == [0.0] * 24
    words = on("ray", energy_functions.text_length, batch=False, decode=lambda x: ["a" * int(row[0]) for row in x])
    assert evaluate(words, X).values.tolist() == list(range(24))


@here
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raises_at_four", r"item 4: ArithmeticError: four is not a number I know"),
        ("hangs_at_five", r"item 5: it took longer than time_limit=1 seconds and was killed"),
        ("killed_at_two_and_crashes_at_six", r"item (2|6): it ended its worker process"),
    ],
)
def test_raise_carries_the_message_and_the_place(cluster: None, name: str, message: str) -> None:
    with pytest.raises(EnergyError, match=message) as caught:
        evaluate(on("ray", getattr(energy_functions, name), batch=False, time_limit=1), X)
    assert caught.value.index in (2, 4, 5, 6)


@here
@pytest.mark.slow
def test_a_wrong_shape_is_an_error_not_a_failure(cluster: None) -> None:
    with pytest.raises(EnergyError, match=r"returned shape \(\) for"):
        evaluate(on("ray", torch.sum, on_failure="forbid"), X)


@here
@pytest.mark.slow
def test_memory_is_limited(cluster: None) -> None:
    fn = energy_functions.takes_four_gigabytes_at_three_and_five
    values = evaluate(on("ray", fn, batch=False, memory_limit=500, on_failure="forbid"), X)
    assert values.forbidden.nonzero().flatten().tolist() == [3, 5] and "allocate" in str(values.failure)


@here
@pytest.mark.slow
def test_a_file_and_a_local_function_travel(cluster: None, tmp_path: Path) -> None:
    (tmp_path / "ray_helper.py").write_text("SCALE = 3.0\n")
    file = tmp_path / "mine.py"
    file.write_text("import ray_helper\n\ndef energy(x):\n    return ray_helper.SCALE * float(x.sum())\n")
    expected = [3 * value for value in X.sum(1).tolist()]
    assert evaluate(on("ray", load_energy(f"{file}:energy"), batch=False), X).values.tolist() == expected
    assert evaluate(on("ray", lambda x: 3 * float(x.sum()), batch=False), X).values.tolist() == expected


SCRIPT = """
import os, signal
from pathlib import Path

import torch
from egflow.energy import as_energy, evaluate

def energy(x):
    if x[0] == 1 and Path(os.environ["TELL"], "hang").exists():
        Path(os.environ["TELL"], "hangs").touch()
        signal.pause()
    return float(x.sum())

print(evaluate(as_energy(energy, batch=False, workers=2, backend="ray"), torch.arange(4.0)[:, None]).values.tolist())
"""


@here
@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_cluster_started_for_a_script_ends_with_it(tmp_path: Path, killed: bool) -> None:
    """A function of the script itself, without a guard; the script ends, or is killed while an item hangs."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    if killed:
        (tmp_path / "hang").touch()
    process = subprocess.Popen(
        [sys.executable, str(file)], env=os.environ | {"TELL": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    family: dict[int, str] = {}
    if killed:
        assert wait_for((tmp_path / "hangs").exists, 120)
        family = descendants(process.pid)
        assert any("ray::Actor" in args for args in family.values())
        process.kill()
    else:
        wait_for(lambda: process.poll() is not None or bool(family.update(descendants(process.pid))), 120)
        assert any("raylet" in args for args in family.values())
    out, _ = process.communicate(timeout=120)
    assert killed or out == "[0.0, 1.0, 2.0, 3.0]\n"
    workers = [pid for pid, args in family.items() if "ray::Actor" in args]
    assert wait_for(lambda: not any(map(alive, workers)), 60), "the workers go at once"
    assert wait_for(lambda: not any(map(alive, family)), 240), (
        "and after a minute Ray's own agents, on a loaded machine"
    )
