"""`tilt(..., rounds=)` with real flows: what comes back, what is refused, and a resume bit by bit."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import egflow
from egflow.flow import Flow
from egflow.network import MLP
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet", learning_rate=3e-3, checkpoint_every=20, log_every=50)
STEPS = 80


def log_p(x: Tensor) -> Tensor:
    """Of N(0, I), but for its constant."""
    return -0.5 * x.double().square().sum(1)


def height(x: Tensor) -> Tensor:
    return x[:, 0]


def draws(n: int = 1_000) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def small() -> MLP:
    torch.manual_seed(5)
    return MLP((2,), width=32, depth=2)


@pytest.fixture(scope="module")
def base() -> Flow:
    return egflow.fit(draws(), network=small(), steps=400, batch_size=128, options=QUIET)


def run(base: Flow, **changes: Any) -> Flow:
    given: dict[str, Any] = {"data": draws(), "rounds": "auto", "log_p": log_p, "steps": STEPS, "batch_size": 128}
    return egflow.tilt(base, height, **{"beta": 2.5, "options": QUIET, **given, **changes})


@pytest.fixture(scope="module")
def tilted(base: Flow) -> Flow:
    return run(base, steps=600)


def test_beta_is_reached_by_the_density(tilted: Flow) -> None:
    """q is N(−2.5, 1) along the energy, where the data have two effective points (n·exp(−6.25))."""
    report = tilted.report
    assert report is not None and tilted.beta == 2.5 and report.reference == "density"
    assert report.rounds is not None and set(report.rounds) == {
        "beta_reached", "base_error", "calls", "stopped", "rounds"
    }  # fmt: skip
    assert report.rounds["stopped"] is None and report.rounds["base_error"] is None
    assert set(report.rounds["rounds"][0]) == {"beta", "n_eff", "best", "mean", "diversity", "calls"}
    x = tilted.sample(4_000, seed=3).double()
    assert float(x[:, 0].mean()) == pytest.approx(-2.5, abs=0.15)  # 600 steps of a small network
    assert float(x[:, 0].std()) == pytest.approx(1.0, abs=0.12)
    assert float(x[:, 1].mean()) == pytest.approx(0.0, abs=0.12)


def test_the_report_is_held_against_the_weighted_pool(tilted: Flow) -> None:
    """Its target and log Z = beta²/2 are those of q, though no draw of p lies there; its base mean is p's."""
    report = tilted.report
    assert report is not None
    target, error = report.energy_mean["target"], report.energy_mean["target_stderr"]
    assert target is not None and error is not None
    assert target == pytest.approx(-2.5, abs=4 * error)
    assert report.energy_mean["base"] == pytest.approx(float(draws()[:, 0].mean()), abs=1e-6)
    # each increment has an error of at most sqrt((1/.3 − 1)/1000) = .048
    assert report.log_z == pytest.approx(3.125, abs=4 * 0.048 * len(report.rounds["rounds"]) ** 0.5)  # type: ignore[index]
    assert report.n_eff > 500


def test_a_beta_the_data_reach_is_an_ordinary_tilt(base: Flow) -> None:
    """At beta .6 .7 of the data are effective: the account is against them, and no proposal was needed."""
    report = run(base, log_p=None, beta=0.6).report
    assert report is not None and report.rounds is not None and report.reference == "data"
    assert report.rounds["calls"] == 1_000 and len(report.rounds["rounds"]) == 1
    assert report.n_data == 1_000 and report.rounds["stopped"] is None


@pytest.mark.filterwarnings("ignore:rounds stopped")  # flows of 80 steps on 150 points may well disagree
def test_without_a_density_p_is_what_was_fitted_to_the_data(base: Flow) -> None:
    found = run(base, log_p=None, beta=1.6)
    report = found.report
    assert report is not None and report.rounds is not None
    reached = [line["beta"] for line in report.rounds["rounds"]]
    assert reached[0] == pytest.approx(1.1, abs=0.2)  # ess_fraction exp(−beta²) = .3, of 1,000 draws
    assert report.rounds["stopped"] == (None if found.beta == 1.6 else "base_error")
    if found.beta != reached[0]:
        assert report.reference == "base" and report.against_data is not None
        assert "weighted for beta" in report.notes["reference"]
        assert report.rounds["base_error"] <= 0.1 * float(draws()[:, 0].std()) * 1.01
    else:
        assert report.reference == "data"


def test_a_loose_limit_lets_the_fitted_density_through(base: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    from egflow import _rounds_data

    monkeypatch.setattr(_rounds_data, "LIMIT", 100.0)
    report = run(base, log_p=None, beta=1.6).report
    assert report is not None and report.rounds is not None and report.reference == "base"
    assert report.beta == 1.6 and report.rounds["base_error"] > 0 and report.against_data is not None
    target, error = report.energy_mean["target"], report.energy_mean["target_stderr"]
    assert target is not None and error is not None
    # the fitted density's tilt is within its own error bar, and the noise of 3 standard errors, of N(−1.6, 1)
    assert abs(target + 1.6) < report.rounds["base_error"] + 4 * error + 0.1


def test_draws_of_the_base_alone_have_no_error_bar(base: Flow) -> None:
    found = run(base, log_p=None, data=None, beta=0.3, steps=20)
    assert found.report is not None and found.report.rounds is not None
    assert found.report.rounds["base_error"] is None and "no data" in found.report.notes["base_error"]


def test_calls_are_counted_and_bounded(base: Flow) -> None:
    calls: list[int] = []

    def counted(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x[:, 0]

    with pytest.warns(UserWarning, match="rounds stopped at beta .* of 6: .*max_calls"):
        found = egflow.tilt(
            base, counted, 6.0, data=draws(), rounds="auto", log_p=log_p, max_calls=2_000, steps=STEPS, options=QUIET
        )
    report = found.report
    assert report is not None and report.rounds is not None
    assert sum(calls) <= 2_000 and report.energy_calls["calls"] == sum(calls)
    assert report.rounds["stopped"] == "max_calls" and report.beta == found.beta == report.rounds["beta_reached"]


def test_the_number_of_rounds_is_kept_to(base: Flow) -> None:
    with pytest.warns(UserWarning, match="rounds=1 were made"):
        found = run(base, rounds=1, steps=20)
    assert found.report is not None and found.report.rounds is not None
    assert len(found.report.rounds["rounds"]) == 1 and found.report.rounds["stopped"] == "rounds"


def test_a_line_a_round(base: Flow, capsys: pytest.CaptureFixture[str]) -> None:
    run(base, beta=0.5, steps=20, options=replace(QUIET, progress="plain"))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("round 1:")]
    assert len(lines) == 1
    for word in ("beta 0.5 of 0.5", "n_eff", "best", "mean", "diversity", "calls 1,000"):
        assert word in lines[0]


def test_a_forbidden_region_is_left_out(base: Flow) -> None:
    def walled(x: Tensor) -> Tensor:
        return torch.where(x[:, 1] > 0, x[:, 0], torch.inf)

    found = egflow.tilt(base, walled, 1.5, data=draws(), rounds="auto", log_p=log_p, steps=200, options=QUIET)
    assert float((found.sample(2_000)[:, 1] > -0.2).double().mean()) > 0.85


def nan_sometimes(x: Tensor) -> Tensor:
    return torch.where(x[:, 0] < 0, torch.nan, log_p(x))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"log_p": lambda x: log_p(x)[:, None]}, r"log_p must return floats of shape \(batch,\)"),
        ({"log_p": lambda x: 3.0}, "log_p must return floats"),
        ({"log_p": nan_sometimes}, "log_p must be finite or −inf, got nan"),
        ({"log_p": lambda x: log_p(x) - torch.inf}, "log_p is −inf at some of the data"),
        ({"target_ess": 1.0}, "target_ess"),
        ({"target_ess": 0.0}, "target_ess"),
        ({"max_calls": 0}, "max_calls"),
        ({"max_calls": 999}, "max_calls=999 is below the calls of the data alone, 1000"),
        ({"max_calls": 1_010}, "at least 100 are needed"),
        ({"rounds": 0}, "rounds"),
        ({"rounds": "many"}, "rounds"),
        ({"beta": (0.0, 2.0)}, "beta"),
        ({"beta": "auto"}, "beta"),
        ({"weights": "global"}, "weights"),
        ({"rounds": None}, "log_p"),
        ({"rounds": None, "log_p": None, "max_calls": 5_000}, "max_calls"),
    ],
)
def test_refused(base: Flow, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        run(base, **changes)


def test_conditions_are_refused(base: Flow) -> None:
    with pytest.raises(ValueError, match="condition"):
        run(base, condition=torch.zeros(1_000, dtype=torch.long))


def test_many_dimensions_are_refused() -> None:
    x = torch.randn(100, 65, generator=torch.Generator().manual_seed(0))
    wide = egflow.fit(x, network=MLP((65,), width=8, depth=1), steps=2, options=QUIET)
    with pytest.raises(ValueError, match="up to 64 dimensions; the events have 65"):
        egflow.tilt(wide, height, 1.0, data=x, rounds="auto", options=QUIET)


@pytest.fixture
def sigint() -> Iterator[None]:
    """Python's own handler, for a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def counting(monkeypatch: pytest.MonkeyPatch, stop: int | None) -> Callable[[], int]:
    """Count optimiser steps, and interrupt at one of them."""
    from egflow.training import _train

    taken, plain = 0, _train._Training.advance

    def advance(self: Any) -> None:
        nonlocal taken
        plain(self)
        taken += 1
        if taken == stop:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(_train._Training, "advance", advance)
    return lambda: taken


@pytest.mark.filterwarnings("ignore:rounds stopped")
@pytest.mark.parametrize("with_density", [True, False])
def test_resume_after_an_interrupt_at_80_percent(
    base: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sigint: None, with_density: bool
) -> None:
    """The same flow bit by bit, no energy asked twice, and at least 75 % of the steps not repeated."""
    asked: list[int] = []

    def counted(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x[:, 0]

    def go(folder: Path, resume: bool) -> Flow:
        options = replace(QUIET, folder=folder, resume=resume)
        return egflow.tilt(
            base,
            counted,
            1.6,
            data=draws(),
            rounds="auto",
            log_p=log_p if with_density else None,
            steps=STEPS,
            batch_size=128,
            options=options,
        )

    with monkeypatch.context() as patch:
        steps = counting(patch, None)
        whole = go(tmp_path / "whole", False)
        total, calls = steps(), sum(asked)
    asked.clear()
    with monkeypatch.context() as patch:
        counting(patch, int(0.8 * total))
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "cut", False)
    before = sum(asked)
    asked.clear()
    with monkeypatch.context() as patch:
        steps = counting(patch, None)
        again = go(tmp_path / "cut", True)
        assert steps() <= 0.25 * total
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])
    assert whole.report is not None and again.report is not None
    assert whole.report.rounds == again.report.rounds
    # asked anew after the resume: the data's energies (which a cache or the command line keep), and what was not done
    assert before + sum(asked) <= calls + 1_000
    with pytest.raises(ValueError, match="pass resume=True, or another folder"):
        go(tmp_path / "whole", False)


def test_a_resume_with_another_goal_is_refused(base: Flow, tmp_path: Path) -> None:
    options = replace(QUIET, folder=tmp_path)
    run(base, beta=1.5, options=options)
    with pytest.raises(ValueError, match="made with another beta"):
        run(base, beta=1.7, options=replace(options, resume=True))
