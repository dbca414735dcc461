"""What a run leaves, and what sample, evaluate and resume make of it."""

from __future__ import annotations

import csv
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cli_shell import SMALL, InProcess, shell

from egflow.cli._compose import Arguments, compose
from egflow.cli._folder import claim, load_settings, save_settings, stamped

KEYS = {
    *(
        "schema",
        "domain",
        "energy",
        "beta",
        "method",
        "seed",
        "reference",
        "n_data",
        "n_eff",
        "ess_fraction",
        "max_weight",
    ),
    *(
        "log_z",
        "energy_mean",
        "energy_ks",
        "energy_w1",
        "distance",
        "distance_train",
        "achieved_beta",
        "tilt_r2",
        "nfe",
    ),
    *("seconds", "device", "versions", "domain_metrics", "notes"),
}


def test_the_folder_of_a_run(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    run = folder / "runs" / "mine"
    files = {str(file.relative_to(run)) for file in run.rglob("*") if file.is_file()}
    expected = {
        "config.yaml",
        "metrics.csv",
        "report.json",
        "samples.npy",
        "model/model.json",
        "model/weights.safetensors",
    }
    assert expected | {"figures/energy.png", "figures/samples.png", "figures/loss.png"} <= files
    assert any(file.startswith("checkpoints/") for file in files) and not any(".writing" in file for file in files)
    assert (run / "figures" / "energy.png").read_bytes().startswith(b"\x89PNG")
    assert np.load(run / "samples.npy").shape == (500, 2)
    with open(run / "metrics.csv", newline="") as stream:
        assert {row["stage"] for row in csv.DictReader(stream)} == {"base", "tilt"}
    assert "runs/mine" in printed
    settings = load_settings(run)
    assert (settings["domain"], settings["data"], settings["beta"], settings["toy"]["n_data"]) == (
        "toy",
        "rings",
        2,
        2000,
    )


def test_the_base_may_take_other_steps_than_the_tilt(tmp_path: Path) -> None:
    result = shell(f"python -m egflow.train {SMALL} trainer.base_steps=30 run_dir=run", tmp_path)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "run" / "metrics.csv", newline="") as stream:
        last = {row["stage"]: int(row["step"]) for row in csv.DictReader(stream)}
    assert last == {"base": 30, "tilt": 20}


def test_the_report_of_a_run(finished: tuple[Path, str]) -> None:
    report = json.loads((finished[0] / "runs" / "mine" / "report.json").read_text())
    assert report.keys() >= KEYS
    assert (report["domain"], report["beta"], report["n_data"], report["seed"]) == ("toy", 2.0, 2000, 0)
    assert {"base", "target", "target_stderr", "generated"} <= report["energy_mean"].keys()
    assert {"name", "value", "floor", "n"} <= report["distance"].keys() and {"train", "sample"} <= report[
        "seconds"
    ].keys()
    assert all(key in report["notes"] for key in ("achieved_beta", "tilt_r2") if report[key] is None)
    assert report["domain_metrics"]["data"] == "rings"


def test_more_samples(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = finished[0] / "runs" / "mine"
    assert command("sample", f"run={run}", "n=30", "out=more") == (0, "")
    assert np.load(tmp_path / "more" / "samples.npy").shape == (30, 2)
    assert command("sample", f"run={run}", "n=30", "out=same seed", "solver.name=dopri5") == (0, "")
    adams, dopri5 = (np.load(tmp_path / name / "samples.npy") for name in ("more", "same seed"))
    assert np.abs(adams - dopri5).max() < 1e-2  # one seed, two solvers at tolerance 1e-5
    assert command("sample", f"run={run}", "n=30", "out=corrected", "correct=true")[0] == 0
    code, stderr = command("sample", f"run={run}", "beta=5")
    assert code == 2 and "beta" in stderr


def test_the_report_again(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = finished[0] / "runs" / "mine"
    assert command("evaluate", f"run={run}", "out=again", "n=400")[0] == 0
    again, first = (json.loads((folder / "report.json").read_text()) for folder in (tmp_path / "again", run))
    assert again["n_eff"] == first["n_eff"] and again["n_samples"] == 400
    assert (tmp_path / "again" / "figures" / "energy.png").is_file()
    (tmp_path / "mine.py").write_text("def right(x): return x[:, 0]")
    assert command("evaluate", f"run={run}", "out=score", "n=400", "score=mine.py:right")[0] == 0
    assert json.loads((tmp_path / "score" / "report.json").read_text())["energy"] != first["energy"]


def test_a_finished_run_is_not_made_again(finished: tuple[Path, str], command: InProcess) -> None:
    run = finished[0] / "runs" / "mine"
    before = (run / "samples.npy").stat().st_mtime_ns
    assert command("train", f"run_dir={run}", "resume=true") == (0, "")
    assert (run / "samples.npy").stat().st_mtime_ns == before
    code, stderr = command("train", f"run_dir={run}", "resume=true", "beta=9")
    assert code == 2 and "beta=9 differs from the run's beta=2" in stderr


def test_code_named_in_a_folder_is_not_run(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = tmp_path / "copy"
    shutil.copytree(finished[0] / "runs" / "mine", run)
    (run / "report.json").unlink()
    (tmp_path / "evil.py").write_text("import pathlib; pathlib.Path('ran').touch()\ndef f(x): return x[:, 0]")
    save_settings(run, {**load_settings(run), "energy": "evil.py:f"})
    for name, key in {"evaluate": "run", "train": "run_dir"}.items():
        code, stderr = command(name, f"{key}={run}", *(["resume=true"] if name == "train" else []))
        assert code == 2 and "give energy= again" in stderr and not (tmp_path / "ran").exists()
    assert command("evaluate", f"run={run}", "n=400", "energy=evil.py:f")[0] == 0
    assert (tmp_path / "ran").exists()


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    settings = {
        "domain": "toy",
        "data": "a ${b} \\${c} 'd'",
        "rtol": 1e-5,
        "beta": [0, 8],
        "none": None,
        "n": {"x": True},
    }
    save_settings(tmp_path, settings)
    assert load_settings(tmp_path) == settings


def test_two_starts_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        folders = list(pool.map(lambda _: stamped(tmp_path / "runs"), range(64)))
        assert len(set(folders)) == 64

        def take(_: int) -> bool:
            try:
                claim(str(tmp_path / "one"), "toy", resume=False)
            except ValueError:
                return False
            return True

        assert sum(pool.map(take, range(16))) == 1


def test_own_energy_auto_beta_and_a_base(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    (tmp_path / "my energies.py").write_text("def right(x): return -x[:, 0]")
    run = finished[0] / "runs" / "mine"
    tilting = ["data=rings", "energy=my energies.py:right", "beta=auto", "target_ess=0.5", f"base={run}"]
    code, _ = command("train", *SMALL.split(), *tilting, "run_dir=own", "trainer.progress=quiet")
    report = json.loads((tmp_path / "own" / "report.json").read_text())
    assert code == 0 and report["ess_fraction"] == pytest.approx(0.5, abs=1e-4)
    with open(tmp_path / "own" / "metrics.csv", newline="") as stream:
        assert {row["stage"] for row in csv.DictReader(stream)} == {"tilt"}
    # what beta was solved for stays, whatever energy it is held against
    assert command("evaluate", "run=own", "out=again", "n=400", "energy=rings")[0] == 0
    assert json.loads((tmp_path / "again" / "report.json").read_text())["beta"] == report["beta"]


def test_the_trainers_options(command: InProcess, tmp_path: Path) -> None:
    trainer = ["trainer.coupling=ot", "trainer.accumulate=3", "trainer.tensorboard=true", "trainer.progress=quiet"]
    assert command("train", *SMALL.split(), *trainer, "run_dir=own")[0] == 0
    assert any((tmp_path / "own" / "tensorboard").iterdir())


def test_a_mistake_of_ours_leaves_no_half_written_run(
    command: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ModuleNotFoundError("an extra is missing")

    monkeypatch.setattr("egflow.cli._train.fit", broken)
    code, stderr = command("train", *SMALL.split(), "run_dir=own")
    assert code == 2 and "an extra is missing" in stderr and not (tmp_path / "own").exists()


def test_a_sweep_with_a_launcher_that_is_not_there(command: InProcess) -> None:
    code, stderr = command("train", "--multirun", "beta=0,1", "hydra/launcher=none_such")
    assert code == 2 and "none_such" in stderr and "egflow[sweep]" in stderr and stderr.count("\n") == 1


def test_an_output_folder_that_is_taken(finished: tuple[Path, str], command: InProcess, tmp_path: Path) -> None:
    run = finished[0] / "runs" / "mine"
    (tmp_path / "file").write_text("")
    for name in ("sample", "evaluate"):
        code, stderr = command(name, f"run={run}", f"out={run}")
        assert code == 2 and "is not empty" in stderr
        code, stderr = command(name, f"run={run}", "out=file/x")
        assert code == 2 and "is a file" in stderr


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("data: ${oc.env:HOME}", "would be resolved"),
        ("data: a ${domain} b", "would be resolved"),
        ("more: &a [1, 1]\nagain: *a", "an alias"),
        ("domain: images", "duplicate"),
        ("data: !!python/object/apply:os.system [true]", "damaged"),
    ],
)
def test_a_config_from_a_folder_is_data_alone(tmp_path: Path, line: str, match: str) -> None:
    (tmp_path / "config.yaml").write_text(f"domain: toy\n{line}\n")
    with pytest.raises(ValueError, match=match):
        load_settings(tmp_path)


@pytest.mark.parametrize("command", ["train run_dir=run resume=true", "evaluate run=run", "sample run=run"])
def test_a_folder_imports_no_environment(tmp_path: Path, command: str) -> None:
    (tmp_path / "stranger.py").write_text("from pathlib import Path\nPath('was_run').touch()\n")
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "model.json").write_text("{}")
    settings = compose("train", Arguments({"domain": "offline_rl", "offline_rl.env": "stranger:X-v0"}))
    save_settings(tmp_path / "run", settings)
    made = shell(f"python -m egflow.{command}", tmp_path)
    assert made.returncode == 2 and "names code, which is never imported for a folder" in made.stderr, made
    assert not (tmp_path / "was_run").exists()


def test_a_run_killed_before_its_first_file_is_started_by_the_same_command(tmp_path: Path) -> None:
    (tmp_path / "run" / "figures").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds no run"):
        claim(str(tmp_path / "run"), "toy", resume=False)
    assert not claim(str(tmp_path / "run"), "toy", resume=True).resumed
    (tmp_path / "run" / "figures" / "a.png").touch()
    with pytest.raises(ValueError, match="holds no run"):
        claim(str(tmp_path / "run"), "toy", resume=True)


def test_what_a_user_typed_comes_back_from_a_config(tmp_path: Path) -> None:
    for text in ("${oc.env:HOME}", r"\${x}", r"a\\b ${c} \\${d}", "plain"):
        save_settings(tmp_path, {"domain": "toy", "data": text, "energy": [text, {"a": text}]})
        assert load_settings(tmp_path) == {"domain": "toy", "data": text, "energy": [text, {"a": text}]}


def test_a_config_that_is_too_long_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("domain: toy\n" + "#" * 2**21)
    with pytest.raises(ValueError, match="more than the"):
        load_settings(tmp_path)
