"""Wrong input: exit code 2, one line that names the fix, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import SMALL, InProcess, shell

from egflow.domain import DomainSpec

SMALL_ARGS = SMALL.split()

ENERGIES = """
import torch
def good(x): return x[:, 0]
def none(): return 1
def shape(x): return x[:, :1]
def nan(x): return x[:, 0] * float("nan")
def minus(x): return x[:, 0] * 0 - float("inf")
def never(x): return x[:, 0] * 0 + float("inf")
def raises(x): raise RuntimeError("no licence for the scorer")
def whole(x): return (x[:, 0] > 0).long()
number = 3
def log_nan(x): return x[:, 0] * float("nan")
"""

WRONG = {
    "key": (["trainer.step=3"], "Did you mean 'trainer.steps'?"),
    "key without its group": (["rtol=1"], "Did you mean 'solver.rtol'?"),
    "key of a domain": (["toy.ndata=3"], "Did you mean 'toy.n_data'?"),
    "key of another domain": (["images.digit=3"], "unknown key 'images.digit'"),
    "group": (["trainer=3"], "trainer.steps"),
    "added key": (["+beta=3"], "write beta="),
    "no key": (["rings"], "not key=value"),
    "twice": (["beta=1", "beta=2"], "twice"),
    "flag": (["--beta"], "unknown flag"),
    "domain": (["domain=tooy"], "Did you mean 'toy'?"),
    "data": (["data=ring"], "rings"),
    "beta text": (["beta=three"], "beta=three: expected a finite number, a range [low,high] or auto"),
    "beta nan": (["beta=nan"], "beta=nan"),
    "beta inf": (["beta=inf"], "beta=inf"),
    "empty range": (["beta=[8,8]"], "beta=[8,8]: expected a range [low,high] with low < high"),
    "range of one": (["beta=[8]"], "beta=[8]: expected a range [low,high] of two finite numbers"),
    "no range": (["beta=[]"], "beta=[]: expected"),
    "range without end": (["beta=[0,inf]"], "beta=[0,inf]: expected a range [low,high] of two finite numbers"),
    "empty range among several": (["beta=[[0,4],[4,0]]", "energy=[rings,rings]"], "low < high, for each"),
    "ranges for one energy": (["beta=[[0,4],[0,4]]"], "one for each of the 2 ranges"),
    "one range for energies": (["beta=[0,4]", "energy=[rings,moons]"], "beta=[[0,4],[0,4]], a range for each"),
    "one beta for energies": (["beta=2", "energy=[rings,moons]"], "with 2 energies"),
    "range and weights": (["beta=[0,4]", "weights=global"], "weights must be resample"),
    "range per condition": (["beta=[0,4]", "per_condition=true"], "per_condition must be false"),
    "range and coupling": (["beta=[0,4]", "trainer.coupling=ot"], "not with a range"),
    "rounds": (["rounds=0"], "rounds=0: expected auto, or a whole number of at least 1"),
    "rounds text": (["rounds=many"], "rounds=many: expected auto"),
    "rounds with a range": (["rounds=auto", "beta=[0,8]"], "rounds reach one beta: give a number, got beta=[0,8]"),
    "rounds with auto": (["rounds=auto", "beta=auto"], "got beta=auto"),
    "rounds and weights": (["rounds=auto", "weights=softmax"], "weights must be resample"),
    "max_calls": (["rounds=auto", "max_calls=0"], "max_calls=0: expected a whole number of at least 1"),
    "max_calls under the data": (["rounds=auto", "max_calls=2050"], "the data alone take 2000 calls"),
    "max_calls without rounds": (["max_calls=5000"], "max_calls= is for rounds: add rounds=auto"),
    "log_p without rounds": (["log_p=8gaussians"], "log_p= is for rounds: add rounds=auto"),
    "log_p": (["rounds=auto", "log_p=8gaussian"], "Did you mean '8gaussians'?"),
    "log_p without a file": (["rounds=auto", "log_p=nowhere.py:f"], "log_p=nowhere.py:f: there is no file"),
    "log_p without a function": (["rounds=auto", "log_p=energies.py"], "write energies.py:function"),
    "log_p that is none": (["rounds=auto", "log_p=energies.py:number"], "is a int: name a function"),
    "log_p shape": (["rounds=auto", "log_p=energies.py:shape"], "log_p must return floats of shape (batch,)"),
    "log_p nan": (["rounds=auto", "log_p=energies.py:log_nan"], "log_p must be finite or −inf"),
    "log_p raises": (["rounds=auto", "log_p=energies.py:raises"], "no licence for the scorer"),
    "target_ess alone": (["beta=2", "target_ess=.2"], "beta=auto or paces rounds="),
    "beta unclosed": (["beta=[0,8"], "beta=[0,8"),
    "beta sweep": (["beta=1,2"], "--multirun"),
    "target_ess": (["beta=auto", "target_ess=2"], "target_ess=2"),
    "steps": (["trainer.steps=0"], "trainer.steps=0"),
    "coupling": (["trainer.coupling=best"], "trainer.coupling=best: expected independent or ot"),
    "coupling and weights": (["trainer.coupling=ot", "weights=global"], "weights=resample"),
    "steps fraction": (["trainer.steps=1.5"], "trainer.steps=1.5"),
    "n": (["n=0"], "n=0"),
    "seed": (["seed=-1"], "seed=-1"),
    "flag value": (["resume=maybe"], "resume=maybe"),
    "method": (["method=cfm"], "did you mean cefm?"),
    "weights": (["weights=resampling"], "resample"),
    "solver": (["solver.name=dopri"], "dopri5"),
    "device": (["device=gpu"], "device=gpu"),
    "per_condition": (["per_condition=true"], "per_condition=true"),
    "few data": (["toy.n_data=10"], "20"),
    "domain option": (["toy.n_data=many"], "toy.n_data"),
    "base": (["base=nowhere"], "base=nowhere"),
    "resume without a folder": (["resume=true"], "run_dir="),
    "both": (["energy=rings", "score=rings"], "give one"),
    "preset": (["energy=ringz"], "Did you mean 'rings'?"),
    "preset argument": (["energy=rings(nothing=1)"], "rings(nothing=1)"),
    "no file": (["energy=nowhere.py:f"], "nowhere.py"),
    "no module": (["energy=nowhere.f"], "nowhere"),
    "file without a function": (["energy=energies.py"], "energies.py:"),
    "no function": (["energy=energies.py:goof"], "good"),
    "no callable": (["energy=energies.py:number"], "number"),
    "no batch": (["energy=energies.py:none"], "no batch"),
    "raises at import": (["energy=broken.py:f"], "broken on purpose"),
    "syntax": (["energy=syntax.py:f"], "syntax.py"),
    "shape": (["energy=energies.py:shape"], "(2000, 1)"),
    "nan": (["energy=energies.py:nan"], "NaN"),
    "minus infinity": (["energy=energies.py:minus"], "inf"),
    "all forbidden": (["score=energies.py:never"], "forbid"),
    "raises": (["energy=energies.py:raises"], "no licence for the scorer"),
    "dtype": (["energy=energies.py:whole"], "int64"),
    "a file without an energy": (["data=x.npy"], "data=x.npy has no energy of its own: give energy=file.py:function"),
    "no such file": (["data=x.npy", "energy=linear"], "data=x.npy is no file"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_one_line_and_nothing_left(case: str, command: InProcess, tmp_path: Path) -> None:
    (tmp_path / "energies.py").write_text(ENERGIES)
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken on purpose')")
    (tmp_path / "syntax.py").write_text("def f(:")
    before = sorted(tmp_path.rglob("*"))
    arguments, expected = WRONG[case]
    small = [argument for argument in SMALL_ARGS if argument.partition("=")[0] not in "=".join(arguments)]
    code, stderr = command("train", *small, *arguments)
    assert code == 2, stderr
    assert stderr.startswith("egflow: error: ") and stderr.count("\n") == 1, stderr
    assert expected in stderr
    assert [file for file in sorted(tmp_path.rglob("*")) if "__pycache__" not in file.parts] == before


def test_through_a_shell(tmp_path: Path) -> None:
    for line, expected in {
        "python -m egflow.train 'energy=my file (1).py:f' toy.n_data=50": "my file (1).py",
        "egflow train domain=toi": "Did you mean 'toy'?",
        "egflow trian": "Did you mean 'train'?",
    }.items():
        result = shell(line, tmp_path)
        assert result.returncode == 2 and expected in result.stderr, result
        assert result.stderr.count("\n") == 1 and not result.stdout and not list(tmp_path.iterdir())


def test_a_missing_extra_is_named(command: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = DomainSpec(
        "toy", "egflow_toy", "egflow_toy.domain:Toy", "toy", "needs a module", requires=("no_such_module",)
    )
    monkeypatch.setattr("egflow.cli._train.find_domain", lambda name: spec)
    code, stderr = command("train", *SMALL_ARGS)
    assert code == 2 and "pip install 'egflow[toy]'" in stderr and not list(tmp_path.iterdir())


def test_a_folder_that_is_taken(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    taken = finished[0] / "runs" / "mine"
    code, stderr = command("train", *SMALL_ARGS, f"run_dir={taken}")
    assert code == 2 and "resume=true" in stderr
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    code, stderr = command("train", *SMALL_ARGS, "run_dir=other")
    assert code == 2 and "holds no run" in stderr and (tmp_path / "other" / "thesis.txt").read_text() == "mine"


def test_a_target_that_cannot_be_written(command: InProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, stderr = command("train", *SMALL_ARGS, "run_dir=file/run")
    assert code == 2 and stderr.count("\n") == 1 and "file/run" in stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("number", ["ENOSPC", "EROFS"])
def test_a_full_or_read_only_disk(
    number: str, command: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    code = getattr(errno, number)

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code), "config.yaml")

    monkeypatch.setattr("egflow.cli._folder.write_text", refuse)
    status, stderr = command("train", *SMALL_ARGS, "run_dir=a/b")
    assert status == 2 and os.strerror(code) in stderr and stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    result = shell(f"ulimit -f 8; python -m egflow.train {SMALL} trainer.progress=quiet run_dir=run", tmp_path)
    assert result.returncode == 1, result  # 8 blocks hold the settings, not a checkpoint
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_no_run_to_work_on(name: str, command: InProcess) -> None:
    assert command(name) == (
        2,
        "egflow: error: run= is needed: a run's folder, as in run=runs/toy/20260101-120000-ab12\n",
    )
    code, stderr = command(name, "run=nowhere")
    assert code == 2 and "nowhere holds no run" in stderr


def test_a_suite_that_is_not_there(command: InProcess) -> None:
    code, stderr = command("benchmark", "suite=nothing_like_it")
    assert code == 2 and "Suites:" in stderr and stderr.count("\n") == 1
