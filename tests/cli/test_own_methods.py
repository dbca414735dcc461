"""A third party's domain with a method of its own: run, gone on with, sampled, evaluated; keys it has no use for."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_shell import InProcess, environment, restore_signals, shell

SPEC = """
from egflow.domain import DomainSpec
SPEC = DomainSpec(
    "stroll", "egflow_stroll", "egflow_stroll.domain:Stroll", "stroll", "walks", methods=("stroll", "amble")
)
"""
DOMAIN = """
from dataclasses import replace
import json
import numpy as np, torch
import egflow
from egflow.domain import Outcome

class Model:
    def __init__(self, flow): self.flow = flow
    def save(self, folder): self.flow.save(folder)

class Stroll:
    free_options = frozenset({"length"})
    def __init__(self, length=3, width=8):
        if width < 1:
            raise ValueError(f"stroll.width={width}: expected a whole number of at least 1")
        self.length, self.width = length, width
    def check(self, job):
        if job.data == "nowhere":
            raise ValueError("data=nowhere: there is no such walk")
    def run(self, job):
        x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        flow = egflow.fit(x, steps=job.steps, batch_size=job.batch_size, seed=job.seed, device=job.device,
                          options=replace(job.options, stage="walk"))
        return self.account(job, x, flow, Model(flow), flow.history)
    def evaluate(self, job):
        x = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
        return self.account(job, x, egflow.Flow.load(job.options.folder / "model"), None, ())
    def account(self, job, x, flow, model, history):
        made = flow.sample(job.n, seed=job.seed).cpu()
        report = egflow.report(made, lambda x: -x[:, 0], job.beta, x, domain="stroll", method=job.method, seed=job.seed,
                               domain_metrics={"length": self.length, "ess": job.target_ess})
        def figures(folder):
            (folder / "walk.png").write_bytes(b"a picture")
            return [folder / "walk.png"]
        return Outcome(report, made, figures, model, history, words="walked")
    def sample(self, job):
        return egflow.Flow.load(job.options.folder / "model").sample(job.n, seed=job.seed)
    def save_samples(self, samples, folder):
        np.save(folder / "samples.npy", samples.numpy())
        return folder / "samples.npy"
"""
CONFIG = """# @package _global_
domain: stroll
method: stroll
n: 100
trainer: {steps: 20, batch_size: 16}
stroll: {length: 3, width: 8}
"""
QUIET = "trainer.progress=quiet"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the domain is installed, as pip would leave it."""
    folder = tmp_path_factory.mktemp("site")
    info = folder / "egflow_stroll-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: egflow-stroll\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[egflow.domains]\nstroll = egflow_stroll:SPEC\n")
    for file, text in {
        "__init__": SPEC,
        "domain": DOMAIN,
        "conf/__init__": "",
        "conf/domain/stroll.yaml": CONFIG,
    }.items():
        path = folder / "egflow_stroll" / (file if file.endswith(".yaml") else f"{file}.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture
def stroll(site: Path, command: InProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[InProcess]:
    """The command line, in this process, with the domain installed."""
    monkeypatch.syspath_prepend(str(site))
    yield command


def test_it_runs_is_sampled_and_evaluated(
    stroll: InProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["domain=stroll", "beta=.5", "target_ess=.4", "run_dir=run", QUIET, "method=amble", "stroll.length=5"]
    assert stroll("train", *arguments) == (0, "")
    files = {str(file.relative_to(tmp_path / "run")) for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert {"config.yaml", "report.json", "samples.npy", "metrics.csv", "model/model.json"} <= files
    assert {"figures/energy.png", "figures/loss.png", "figures/walk.png"} <= files
    assert any(file.startswith("checkpoints/walk/") for file in files)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["method"], report["beta"], report["seed"]) == ("amble", 0.5, 0)
    assert report["domain_metrics"] == {"length": 5, "ess": 0.4}

    assert stroll("train", "run_dir=run", "resume=true") == (0, "")  # finished: shown again, nothing trained
    assert stroll("evaluate", "run=run", "out=again", "stroll.length=7", "n=60") == (0, "")
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert (again["domain_metrics"]["length"], again["seed"], again["n_samples"]) == (7, 1, 60)
    assert (tmp_path / "again" / "figures" / "walk.png").is_file()
    assert stroll("sample", "run=run", "n=7", "out=more", "seed=0") == (0, "")
    more, first = (np.load(tmp_path / folder / "samples.npy") for folder in ("more", "run"))
    assert more.shape == (7, 2) and first.shape == (100, 2)


def test_what_is_printed(site: Path, tmp_path: Path) -> None:
    result = shell(f"PYTHONPATH={site} python -m egflow.train domain=stroll run_dir=run {QUIET}", tmp_path)
    assert result.returncode == 0, result.stderr
    table, words, closing = result.stdout.rpartition("\nwalked\n")
    assert "mean energy" in table and words and "Written to run: samples.npy" in closing and "walk.png" in closing


WRONG = {
    "method": (["method=strol"], "method=strol: expected stroll or amble (did you mean stroll?)"),
    "method of the core": (["method=cefm"], "method=cefm: expected stroll or amble"),
    "energy": (["energy=right"], "energy= means nothing to method=stroll of domain=stroll: leave it out"),
    "score": (["score=right"], "score= means nothing"),
    "rounds": (["rounds=auto"], "rounds= means nothing"),
    "log_p": (["log_p=x"], "log_p= means nothing"),
    "max_calls": (["max_calls=9000"], "max_calls= means nothing"),
    "weights": (["weights=global"], "weights= means nothing"),
    "per_condition": (["per_condition=true"], "per_condition= means nothing"),
    "base": (["base=nowhere"], "base= means nothing"),
    "workers": (["workers.count=2"], "workers.count= means nothing"),
    "cache": (["cache=here"], "cache= means nothing"),
    "solver": (["solver.rtol=.1"], "solver.rtol= means nothing"),
    "coupling": (["trainer.coupling=ot"], "trainer.coupling= means nothing"),
    "range": (["beta=[0,8]"], "beta=[0,8]: expected a number"),
    "auto": (["beta=auto"], "beta=auto: expected a number"),
    "data": (["data=nowhere"], "there is no such walk"),
    "option": (["stroll.width=0"], "stroll.width=0"),
    "key of the domain": (["stroll.lenght=2"], "Did you mean 'stroll.length'?"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_one_line_and_nothing_left(case: str, stroll: InProcess, tmp_path: Path) -> None:
    arguments, expected = WRONG[case]
    code, stderr = stroll("train", "domain=stroll", QUIET, *arguments)
    assert code == 2 and stderr.count("\n") == 1 and expected in stderr, stderr
    assert not list(tmp_path.iterdir())


def test_a_method_of_another_domain(command: InProcess, tmp_path: Path) -> None:
    code, stderr = command("train", "method=stroll")
    assert code == 2 and "method=stroll: expected cefm, ced, twist, trajectory_balance or auto" in stderr
    assert not list(tmp_path.iterdir())


def test_keys_of_the_commands_about_a_run(stroll: InProcess, tmp_path: Path) -> None:
    assert stroll("train", "domain=stroll", "run_dir=run", QUIET)[0] == 0
    for name, key, expected in (
        ("evaluate", "beta=2", "beta= means nothing to method=stroll"),
        ("evaluate", "energy=right", "energy= means nothing"),
        ("evaluate", "solver.rtol=.1", "solver.rtol= means nothing"),
        (
            "evaluate",
            "stroll.width=9",
            "stroll.width= was fixed when the run was trained. What may be given: stroll.length",
        ),
        ("evaluate", "stroll.lengt=9", "Did you mean 'stroll.length'?"),
        ("sample", "correct=true", "correct= means nothing"),
        ("sample", "condition=1", "condition= means nothing"),
    ):
        code, stderr = stroll(name, "run=run", "out=out", key)
        assert code == 2 and expected in stderr and stderr.count("\n") == 1, stderr
        assert not (tmp_path / "out").exists()
    code, stderr = stroll("train", "run_dir=run", "resume=true", "workers.count=2")
    assert code == 2 and "workers.count= means nothing" in stderr
    shutil.rmtree(tmp_path / "run" / "model")
    code, stderr = stroll("evaluate", "run=run")
    assert code == 2 and "has no model yet" in stderr


def test_a_kill_is_gone_on_with_to_the_same_end(site: Path, tmp_path: Path) -> None:
    line = (
        "python -m egflow.train domain=stroll trainer.steps=400 trainer.log_every=1 trainer.checkpoint_every=100 "
        f"{QUIET} run_dir="
    )
    process = subprocess.Popen(
        f"exec {line}run",
        shell=True,
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(site)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_signals,
    )
    metrics = tmp_path / "run" / "metrics.csv"
    while process.poll() is None and not (metrics.is_file() and metrics.read_text().count("\n") > 20):
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "run_dir=run resume=true" in stderr, stderr
    for arguments in ("python -m egflow.train run_dir=run resume=true", f"{line}straight"):
        result = shell(f"PYTHONPATH={site} {arguments}", tmp_path)
        assert result.returncode == 0, result.stderr
    assert np.array_equal(*(np.load(tmp_path / name / "samples.npy") for name in ("run", "straight")))
