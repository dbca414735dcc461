"""Trust: runs killed at a random moment and gone on with by the same command, beside one that was left alone.

Each run is a process of its own, on one thread: a fit and its tilt, rounds past the data, QIPO, rounds of a search for
molecules. What befalls it:

- `signal`: SIGKILL (half of them), SIGTERM or SIGINT, at a moment drawn evenly over the time that the whole run takes;
- `full disk`: a disk with room for a part of the run's files, drawn evenly, and then for all of them;
- `read-only`: killed as above, started on a disk that cannot be written to, and then on one that can.

Then it is started again with `resume=true`, until it ends. `identical`: weights of all flows, samples, the report and
the metrics are those of the run left alone, bit for bit but for times. `told`: of full and read-only disks, the runs
that said so in one line and ended with code 1 or 2. `kept`: of the steps that the training at work had done when it was
stopped by a signal, the share that was not done again; `in training`: stops that met such a training. Neither says
anything of `molecules`, whose search keeps its rounds and not its steps. The three runs on read-only disks that were
not told had most likely finished before the disk was closed.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from egflow_offline_rl.making._episodes import Episode
from egflow_offline_rl.making._writer import write_dataset
from minari.storage.datasets_root_dir import get_dataset_path

TITLE = "Trust: killed and gone on with"
_COMMON = "trainer.progress=quiet trainer.log_every=1 trainer.checkpoint_every=20 trainer.batch_size=64 device=cpu"
_LOOSE = "solver.rtol=1e-2 solver.atol=1e-2"
_NARROW = " ".join(f"offline_rl.{name}=16" for name in ("width", "policy_width"))
KINDS = {
    "fit": f"data=8gaussians beta=3 toy.n_data=2000 trainer.steps=400 n=500 {_LOOSE}",
    "rounds": f"data=swissroll beta=10 rounds=3 log_p=swissroll toy.n_data=600 trainer.steps=100 n=500 {_LOOSE}",
    "qipo": f"domain=offline_rl data=torture/pendulum-v0 beta=.3 trainer.steps=300 n=300 {_NARROW} "
    "offline_rl.critic_steps=300 offline_rl.policy_steps=300 offline_rl.support_states=100 offline_rl.support=4 "
    "offline_rl.best_of=2 offline_rl.episodes=2",
    "molecules": "domain=molecules score=qed(maximise=True) beta=20 rounds=3 max_calls=300 n=50 trainer.steps=20",
}
DISKS = ("full disk", "read-only")
_SAID = {"full disk": "No space left on device", "read-only": "Read-only file system"}
_TIMES = ("seconds", "seconds_by_stage", "evaluation_seconds", "actions_per_second")


@dataclass
class Stop:
    """What one stop came to: its signal, the exit code, when, steps of the training at work, and the share kept."""

    number: int
    code: int
    seconds: float
    steps: int
    kept: float | None


def run(out: Path, quick: bool = False, n: int = 30) -> Iterator[dict[str, object]]:
    """Yield rows for each kind of run; n: how many are stopped by signals in all. quick: one of each kind.

    Disks are small file systems in memory, which root alone may mount: elsewhere those rows say so.
    """
    rng = random.Random(0)
    each = [n // len(KINDS) + (place < n % len(KINDS)) for place in range(len(KINDS))] if not quick else [1] * 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["MINARI_DATASETS_PATH"] = str(folder / "minari")
        pendulum()
        for kind, count in zip(KINDS, each, strict=True):
            started = time.monotonic()
            finish(kind, folder / kind)
            took, identical, stops = time.monotonic() - started, 0, []
            for i in range(count):
                number = rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
                stops.append(stopped(kind, folder / "run", number, rng.uniform(0.05, 1.0) * took))
                finish(kind, folder / "run")
                differs = difference(folder / kind, folder / "run")
                identical += not differs
                print(f"{kind} {i + 1}/{count}: {stops[-1]} {differs or 'identical'}", file=sys.stderr, flush=True)
                shutil.rmtree(folder / "run")
            kept = [stop.kept for stop in stops if stop.kept is not None]
            yield {
                "run": kind,
                "by": "signal",
                "stopped": count,
                "identical": identical,
                "told": None,
                "by SIGKILL": sum(stop.number == signal.SIGKILL for stop in stops),
                "in training": len(kept),
                "kept, least": round(min(kept), 3) if kept else None,
                "kept, median": round(statistics.median(kept), 3) if kept else None,
                "seconds, left alone": round(took, 1),
            }
            for disk in DISKS if not quick else ():
                yield {"run": kind, "by": disk, **on_disk(kind, folder, disk, rng, took)}


def on_disk(kind: str, folder: Path, disk: str, rng: random.Random, took: float, times: int = 2) -> dict[str, Any]:
    """Runs that meet a disk that is full or cannot be written to, and are gone on with when it can."""
    size = sum(file.stat().st_size for file in (folder / kind).rglob("*") if file.is_file())
    place, told, identical = folder / "disk", 0, 0
    place.mkdir(exist_ok=True)
    for _ in range(times):
        room = max(65_536, int(rng.uniform(0, 1) * size)) if disk == "full disk" else 10 * size
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={room}", "tmpfs", place], capture_output=True
        ).returncode:
            return {"stopped": "not run: mount is not allowed here"}
        try:
            if disk == "read-only":
                after = rng.uniform(0.3, 0.9) * took
                stopped(kind, place / "run", signal.SIGKILL, after)
                while (place / "run" / "report.json").exists():  # it had finished: a disk cannot hurt it any more
                    shutil.rmtree(place / "run")
                    after /= 2
                    stopped(kind, place / "run", signal.SIGKILL, after)
                subprocess.run(["mount", "-o", "remount,ro", place], check=True)
            process = start(kind, place / "run")
            said = process.communicate()[1].decode().strip().splitlines()
            told += process.returncode in (1, 2) and any(_SAID[disk] in line for line in said[-2:])
            subprocess.run(["mount", "-o", f"remount,rw,size={10 * size}", place], check=True)
            finish(kind, place / "run")
            differs = difference(folder / kind, place / "run")
            identical += not differs
            print(
                f"{kind}, {disk}: {process.returncode} {said[-2:]} {differs or 'identical'}",
                file=sys.stderr,
                flush=True,
            )
        finally:
            subprocess.run(["umount", place], check=True)
    return {"stopped": times, "identical": identical, "told": told}


def start(kind: str, folder: Path) -> subprocess.Popen[bytes]:
    """The command, in a process group of its own."""
    words = [*KINDS[kind].split(), *_COMMON.split(), f"run_dir={folder}", "resume=true"]
    return subprocess.Popen(
        [sys.executable, "-m", "egflow.train", *words],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(kind: str, folder: Path) -> None:
    """Run it to its end. Raises RuntimeError with what it said where it fails."""
    process = start(kind, folder)
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{kind} ended with {process.returncode}: {said.decode()[-800:]}")


def stopped(kind: str, folder: Path, number: int, after: float) -> Stop:
    """Start it and stop it after so many seconds."""
    process = start(kind, folder)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    process.communicate()
    file = folder / "metrics.csv"
    rows = list(csv.DictReader(file.read_text().splitlines())) if file.is_file() else []
    if not rows:
        return Stop(number, process.returncode, round(after, 2), 0, None)
    stage, done = rows[-1]["stage"], int(rows[-1]["step"])
    if float(rows[-1]["learning_rate"] or 0) < 3e-7:  # the training had ended: the cosine is at 0
        return Stop(number, process.returncode, round(after, 2), done, None)
    saved = [int(one.stem[5:]) for one in (folder / "checkpoints" / stage).glob("step-*.safetensors")]
    return Stop(number, process.returncode, round(after, 2), done, round(min(1.0, max([0, *saved]) / done), 3))


def difference(one: Path, other: Path) -> str:
    """The first file in which two runs differ, or ""."""
    names = [compared(folder) for folder in (one, other)]
    if names[0] != names[1]:
        return f"other files: {set(names[0]) ^ set(names[1])}"
    return next((name for name in names[0] if plain(one / name) != plain(other / name)), "")


def compared(folder: Path) -> list[str]:
    """The files of a run that are to be the same: its model, samples and calls, report and metrics."""
    kinds = ("model/**/*", "samples.*", "calls.csv", "top.csv", "report.json", "metrics.csv")
    return sorted(str(file.relative_to(folder)) for kind in kinds for file in folder.glob(kind) if file.is_file())


def plain(file: Path) -> Any:
    """A file's content without times."""
    if file.suffix == ".json":
        return timeless(json.loads(file.read_text()))
    if file.suffix == ".csv":
        rows = csv.DictReader(file.read_text().splitlines())
        return [{key: value for key, value in row.items() if key not in _TIMES} for row in rows]
    return file.read_bytes()


def timeless(value: Any) -> Any:
    """A report without what tells the time."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key not in _TIMES}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def pendulum() -> None:
    """Twelve episodes of random actions on Pendulum, as a Minari dataset."""
    environment, rng, episodes = gym.make("Pendulum-v1"), np.random.default_rng(0), []
    for number in range(12):
        observations = [environment.reset(seed=number)[0]]
        actions = rng.uniform(-2, 2, (50, 1)).astype(np.float32)
        rewards = []
        for action in actions:
            seen, reward, *_ = environment.step(action)
            observations.append(seen)
            rewards.append(float(reward))
        over = np.zeros(50, dtype=bool)
        episodes.append(Episode(np.array(observations), actions, np.array(rewards), over, np.arange(50) == 49, number))
    get_dataset_path().mkdir(parents=True, exist_ok=True)
    write_dataset(
        "torture/pendulum-v0", "Pendulum-v1", episodes, reference=None, algorithm="random",
        description="for suite=torture", facts={}, replace=False,
    )  # fmt: skip
