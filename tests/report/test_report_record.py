"""report.json: its keys, strict JSON, atomic writing, reading back; the table; bad input."""

import dataclasses
import json
import math
import os

import pytest
import torch
from report_generators import energy, seeded, tilted, untilted

from egflow.energy import EnergyValues, as_energy
from egflow.report import TiltReport, report
from egflow.report._preface import with_preface
from egflow.report._verdict import REMEDY

KEYS = [
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
    "log_z",
    "energy_mean",
    "energy_ks",
    "energy_w1",
    "distance",
    "distance_train",
    "achieved_beta",
    "tilt_r2",
    "nfe",
    "seconds",
    "device",
    "versions",
]


@pytest.fixture(scope="module")
def found():
    generator = seeded(0)
    facts = {"domain": "toy", "method": "cefm", "seed": 3, "nfe": 24.5, "seconds": {"train": 1.0, "sample": 2.0}}
    return report(tilted(500, 3.0, generator), energy, 3.0, untilted(3000, generator), steps=10, **facts)


def test_it_has_the_keys_of_the_design(found):
    content = found.to_dict()
    assert set(KEYS) <= set(content)
    assert set(content["energy_mean"]) >= {"base", "target", "target_stderr", "generated"}
    assert set(content["distance"]) >= {"name", "value", "floor", "n"}
    assert content["energy"] == "energy" and content["domain"] == "toy" and content["settings"] == {"steps": 10}
    for key, value in content.items():  # what is null says why, unless the caller might have said it and did not
        if value is None and key not in ("device", "rounds", "correction", "per_beta", "each_energy", "against_data"):
            assert key in content["notes"], key


def test_weights_are_those_of_all_data(found):
    evidence = found.evidence
    w = (-3.0 * evidence.energies.values).exp()
    assert found.n_eff == pytest.approx(float(w.sum() ** 2 / w.square().sum()))
    assert found.log_z == pytest.approx(math.log(float(w.mean())))
    assert found.max_weight == pytest.approx(float(w.max() / w.sum()))
    held = w[evidence.held_out]
    target = float(held @ evidence.energies.values[evidence.held_out] / held.sum())
    assert found.energy_mean["target"] == pytest.approx(target)


def test_save_and_load(found, tmp_path):
    file = found.save(tmp_path / "run")
    assert file == tmp_path / "run" / "report.json"
    assert [f.name for f in file.parent.iterdir()] == ["report.json"]
    again = TiltReport.load(file)
    assert again.to_dict() == found.to_dict() == TiltReport.load(file.parent).to_dict()
    assert again.evidence is None and str(again) == str(found)


def test_json_is_strict(found, tmp_path):
    bad = dataclasses.replace(found, energy_w1=float("nan"), nfe=float("inf"), domain_metrics={"a": torch.tensor(1.5)})
    text = bad.save(tmp_path).read_text()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in report.json"))
    assert content["energy_w1"] is None and "not a finite number" in content["notes"]["energy_w1"]
    assert content["nfe"] is None and content["domain_metrics"] == {"a": 1.5}


def test_a_failed_write_leaves_the_old_report(found, tmp_path, monkeypatch):
    before = found.save(tmp_path).read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        dataclasses.replace(found, seed=99).save(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == before


@pytest.mark.parametrize("text", ["{", "[1]", '{"schema": 999}', '{"schema": 1}'])
def test_what_is_no_report_is_refused(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(ValueError, match="report"):
        TiltReport.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        TiltReport.load(tmp_path / "nowhere.json")


def test_the_table_reads(found):
    text = str(found)
    assert text.startswith("within noise") and "floor" in text and "n_eff" in text and "nan" not in text.lower()
    assert max(map(len, text.splitlines())) <= 110


def test_against_the_base_and_the_data():
    generator = seeded(0)
    drawn, own = untilted(3000, generator), untilted(5000, generator)
    found = report(
        tilted(500, 3.0, generator),
        energy,
        3.0,
        drawn,
        reference="base",
        against_data=(own, EnergyValues.from_tensor(energy(own))),
    )
    assert found.n_held_out == 3000 and found.distance_train is None and "distance_train" in found.notes
    assert set(found.against_data) == {"energy_mean", "energy_ks", "energy_w1", "distance"}
    assert found.against_data["energy_mean"]["target"] == pytest.approx(found.energy_mean["target"], abs=0.05)


def test_sample_weights_are_a_tilt():
    generator = seeded(0)
    x = untilted(4000, generator)
    made = tilted(1000, 3.0, generator)
    by_weight = report(made, lambda x: 2 * energy(x), 1.0, x, sample_weight=torch.exp(-energy(x)))
    assert by_weight.n_eff == pytest.approx(report(made, energy, 3.0, x).n_eff, rel=1e-5)
    assert by_weight.findings == []


def test_failures_of_the_energy_are_counted():
    def fussy(item):
        if item[0] > 3.0:
            raise RuntimeError("too far")
        return float(item[0])

    x = torch.randn(300, 1, generator=seeded(0)) * 2
    found = report(x[:50], as_energy(fussy, batch=False, on_failure="forbid"), 0.1, x)
    assert found.energy_calls["failed"] > 0 and "too far" in found.notes["energy_calls"]
    assert found.energy_calls["calls"] == 350


X = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))


def with_nan(x):
    x = x.clone()
    x[3, 1] = float("nan")
    return x


@pytest.mark.parametrize(
    "change, words",
    [
        ({"data": with_nan(X)}, "data holds NaN"),
        ({"samples": with_nan(X)}, "samples holds NaN"),
        ({"data": X[:19]}, "at least 20"),
        ({"samples": X[:0]}, "samples must hold at least 1"),
        ({"samples": X[:, :1]}, "event shape"),
        ({"samples": X[:, 0]}, r"shape \(N, \*event\)"),
        ({"data": X.long()}, "tokens below 0"),
        ({"data": X.abs().long()}, "both are float, or both tokens"),
        ({"data": X.bool()}, "floating point"),
        ({"pad_id": 3}, "pad_id=3 is for tokens"),
        ({"data": X.tolist()}, "float tensor"),
        ({"beta": float("nan")}, "beta must be one finite number"),
        ({"beta": float("inf")}, "beta must be one finite number"),
        ({"beta": (0.0, 1.0)}, "beta must be 1 numbers"),
        ({"energy": [lambda x: x[:, 0], lambda x: x[:, 1]]}, "beta must be 2 numbers"),
        (
            {"condition": torch.zeros(39), "sample_condition": torch.zeros(40)},
            "condition must be a tensor with one row",
        ),
        ({"condition": torch.zeros(40)}, "both, or neither"),
        ({"per_condition": True}, "per_condition"),
        ({"reference": "model"}, "reference must be one of"),
        ({"energies": EnergyValues.from_tensor(torch.zeros(5))}, "energies must be those"),
        ({"sample_energies": EnergyValues.from_tensor(torch.zeros(5))}, "sample_energies must be those"),
        ({"sample_weight": torch.ones(3)}, "sample_weight"),
        ({"energy": lambda x: torch.full((len(x),), torch.inf)}, "forbids all"),
        ({"energy": lambda x: x}, "shape"),
    ],
)
def test_a_mistake_is_one_clear_line(change, words):
    arguments = {"samples": X, "energy": lambda x: x[:, 0], "beta": 1.0, "data": X} | change
    with pytest.raises(ValueError, match=words) as error:
        report(**arguments)
    assert "\n" not in str(error.value)


def test_arrays_and_odd_events_are_taken():
    x = torch.randn(60, 3, 4, 5, generator=seeded(0), dtype=torch.float64)
    found = report(x[:30].numpy(), lambda x: x.mean((1, 2, 3)), 1.0, x.numpy())
    assert found.n_data == 60


def test_the_smallest_input_and_all_forbidden_samples():
    x = torch.linspace(-1, 1, 20)[:, None]
    found = report(x[:1] - 9, lambda x: x[:, 0].masked_fill(x[:, 0] < -1, torch.inf), 1.0, x)
    assert found.energy_mean["generated"] is None and "forbidden" in found.notes["energy_mean"]
    assert "100.0% of the samples are forbidden" in found.verdict
    found.to_dict() and str(found)


def test_weights_beyond_floating_point():
    # at beta 1e6 one point is left; nothing overflows, nothing is claimed
    found = report(X, lambda x: x[:, 0], 1e6, X)
    assert found.n_eff == pytest.approx(1.0) and found.findings[0] == "few_samples"
    json.dumps(found.to_dict(), allow_nan=False)


def test_rounds_are_not_advised_after_rounds() -> None:
    few = f"too few effective samples ({REMEDY})"
    assert "rounds" in with_preface([], few, 1.0, None, {})[1]
    assert "rounds" not in with_preface([], few, 1.0, {"stopped": None}, {})[1]
