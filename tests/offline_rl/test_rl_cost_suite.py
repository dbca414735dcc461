"""What `suite=offline_rl_cost` makes of its measured times, and what it says where CORL's files are not to be had."""

import io
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import offline_rl_cost as suite
from _peers import PeerMissing

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

COSTS = {
    "egflow": {"a": [0.001, 0.002, 0.004], "evaluation a": [1.0, 1.0, 2.0]},
    "d3rlpy": {"a": [0.003, 0.004, 0.004], "evaluation a": [7.0, 6.0, 4.0]},
    "by hand": {"a": [0.001, 0.001, 0.001]},
}


def test_a_row_is_of_the_same_turns_and_held_against_the_first() -> None:
    job = {"egflow": {"a": 1}, "by hand": {"a": 1}, "d3rlpy BCQ": {"a": 1}}
    assert suite.figures(COSTS, job, "egflow", "ms a step") == {
        "ms a step": "2.00", "range": "1.00 – 4.00", "/ egflow": "1"
    }  # fmt: skip
    # ratios by turn 3, 2, 1: their median 2, where the medians' ratio is 2 and the means' 1.57
    assert suite.figures(COSTS, job, "d3rlpy BCQ", "ms a step") == {
        "ms a step": "4.00", "range": "3.00 – 4.00", "/ egflow": "2.00", "its range": "1.00 – 3.00"
    }  # fmt: skip
    assert suite.figures(COSTS, job, "by hand", "ms a step")["its range"] == "0.25 – 1.00"


def test_a_whole_run_is_the_sum_of_its_parts() -> None:
    assert suite.spent(COSTS, "egflow", {"a": 1_000, "evaluation a": 2}) == pytest.approx([3.0, 4.0, 8.0])
    job = {"egflow": {"a": 1_000, "evaluation a": 2}, "d3rlpy": {"a": 1_000, "evaluation a": 1}}
    found = suite.figures(COSTS, job, "d3rlpy", "seconds")
    assert found["seconds"] == "10.0" and found["/ egflow"] == "2.50" and found["its range"] == "1.00 – 3.33"


def test_an_evaluation_is_carried_on_from_two_short_ones() -> None:
    class Linear:
        def ask(self, do: str, count: int) -> dict[str, float]:
            return {"seconds": 3.0 + 0.25 * count}  # 3 s to make the environments

    assert suite.evaluation(Linear(), "evaluation a") == pytest.approx(3.0 + 0.25 * 1_000)  # pyright: ignore[reportArgumentType] - a stand-in


def test_files_that_cannot_be_had_or_are_others_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(PeerMissing, match=r"td3_bc\.py cannot be had \(no route\): put it into .*corl-6afec90"):
        suite.corl_files()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"import os"))
    with pytest.raises(PeerMissing, match=r"td3_bc\.py is not the file of that commit"):
        suite.corl_files()


def test_every_job_is_made_of_works_that_are_served() -> None:
    served = {
        who: (BENCHMARKS / f"_offline_rl_cost_{who}.py").read_text() for who in ("egflow", "bare", "corl", "d3rlpy")
    }
    for job in (suite.STEPS | suite.WHOLES).values():
        for who, works in job.items():
            text = served["bare" if who == "by hand" else who.split()[0].lower()]
            for work in works:
                assert f'"{work}"' in text or f'"{work.removeprefix("evaluation ")}"' in text, (who, work)
