"""Ranges of beta, several energies, rounds, corrections: what is added to a report, and how it is said."""

import dataclasses
import json

import pytest
import torch
from report_generators import energy, seeded, tilted, untilted
from report_sequences import PAD, Words, space
from report_sequences import energy as word_energy

from egflow.report import TiltReport, combine, report, save_figures

BETAS = (0.0, 2.0, 4.0)


def first(x):
    return x[:, 0]


def second(x):
    return x[:, 1]


@pytest.fixture(scope="module")
def data():
    return untilted(10_000, seeded(0))


def single(data, beta, generator, true_beta=None):
    return report(tilted(2000, beta if true_beta is None else true_beta, generator), energy, beta, data, seed=0)


@pytest.fixture(scope="module")
def ranged(data):
    generator = seeded(1)
    return combine([single(data, beta, generator) for beta in reversed(BETAS)], [0.0, 4.0])


@pytest.fixture(scope="module")
def gridded():
    """q of E = x[0], x[1] on a normal is a shift of it by −beta, in closed form."""
    generator = seeded(2)
    x = torch.randn(6_000, 2, generator=generator)
    reports = []
    for a in (0.0, 0.5, 1.0):
        for b in (0.0, 0.5, 1.0):
            made = torch.randn(600, 2, generator=generator) - torch.tensor([a, b])
            reports.append(report(made, [first, second], [a, b], x))
    return combine(reports, [(0, 1), (0, 1)])


class TestRange:
    def test_the_figures_are_the_upper_ends(self, ranged):
        assert ranged.beta == [0.0, 4.0] and [block["beta"] for block in ranged.per_beta] == list(BETAS)
        top = ranged.per_beta[-1]
        assert (ranged.n_eff, ranged.distance, ranged.energy_mean) == (
            top["n_eff"],
            top["distance"],
            top["energy_mean"],
        )
        assert "those of beta 4" in ranged.notes["beta"]
        wanted = {"n_eff", "ess_fraction", "log_z", "energy_ks", "energy_w1", "distance", "achieved_beta", "tilt_r2"}
        assert wanted | {"verdict", "findings", "n_samples", "notes"} <= set(top)
        assert not {"per_beta", "evidence", "versions"} & set(top)

    def test_all_right_is_said_once(self, ranged):
        assert ranged.findings == [], ranged.verdict
        assert ranged.verdict.startswith("within noise of the target at every beta looked at (0, 2, 4): distance")

    def test_what_is_wrong_at_some_betas_is_said_of_them(self, data):
        generator = seeded(3)
        reports = [single(data, beta, generator) for beta in BETAS[:2]]
        few = report(tilted(500, 8.0, generator), energy, 8.0, untilted(3000, generator))
        reports += [single(data, 4.0, generator, true_beta=2.0), few]
        found = combine(reports, [0, 8])
        assert found.findings == ["wrong_beta", "few_effective"]
        assert "beta 0, 2: within noise of the target, distance" in found.verdict
        assert "beta 4: tilts too little" in found.verdict and "beta 8: too few effective samples" in found.verdict

    def test_the_data_are_counted_once(self, ranged):
        assert ranged.energy_calls["calls"] == 10_000 + 3 * 2000

    def test_it_is_written_and_read_back(self, ranged, tmp_path):
        content = json.loads(ranged.save(tmp_path).read_text(), parse_constant=lambda name: pytest.fail(name))
        assert [block["beta"] for block in content["per_beta"]] == list(BETAS)
        loaded = TiltReport.load(tmp_path)
        assert loaded.per_beta == content["per_beta"] and str(loaded) == str(ranged)

    def test_the_table_has_a_row_for_each_beta(self, ranged):
        text = str(ranged)
        assert max(map(len, text.splitlines())) <= 110
        assert sum("within noise" in line for line in text.splitlines()) == 1 + len(BETAS)

    def test_the_strip(self, ranged, tmp_path):
        files = save_figures(ranged, tmp_path)
        assert [file.name for file in files] == ["energy.png", "samples.png", "strip.png"]
        assert all(file.stat().st_size > 5000 for file in files)
        assert [part.beta for part in ranged.evidence.per_beta] == list(BETAS)

    @pytest.mark.parametrize("event", [(1,), (3,), (1, 8, 8)])
    def test_any_event_has_a_strip(self, event, tmp_path):
        x = torch.randn(300, *event, generator=seeded(0))
        found = combine([report(x[:30], lambda x: x.flatten(1)[:, 0], b, x) for b in (0.0, 1.0)], [0.0, 1.0])
        assert "strip.png" in [file.name for file in save_figures(found, tmp_path)]

    def test_mistakes(self, data, ranged):
        with pytest.raises(ValueError, match="each beta once"):
            combine([single(data[:100], 1.0, seeded(0))] * 2, [0.0, 1.0])
        with pytest.raises(ValueError, match="got none"):
            combine([], [0.0, 1.0])


class TestSeveralEnergies:
    def test_figures_are_of_the_sum_and_of_each(self, gridded):
        assert gridded.beta == [[0.0, 1.0], [0.0, 1.0]] and len(gridded.per_beta) == 9
        assert gridded.per_beta[-1]["beta"] == [1.0, 1.0]
        for block in gridded.per_beta:
            for beta, one in zip(block["beta"], block["each_energy"], strict=True):
                mean = one["energy_mean"]
                # the mean of x[k] at beta is −beta; 600 samples, and what 600 held-out points leave effective
                assert mean["generated"] == pytest.approx(-beta, abs=4 / 600**0.5)
                assert mean["target"] == pytest.approx(-beta, abs=5 * mean["target_stderr"])
        assert [one["energy"] for one in gridded.each_energy] == ["first", "second"]

    def test_the_sum_of_one_energy_twice_is_that_energy(self, data):
        made = tilted(1000, 3.0, seeded(0))
        once, twice = report(made, energy, 3.0, data), report(made, [energy, energy], [1.0, 2.0], data)
        assert twice.n_eff == pytest.approx(once.n_eff)
        assert twice.distance["value"] == pytest.approx(once.distance["value"], rel=1e-6)
        assert twice.beta == [1.0, 2.0] and twice.matched_beta == pytest.approx(once.matched_beta / 3.0, rel=1e-6)
        assert "1 here means every beta" in twice.notes["matched_beta"]

    def test_a_trade_off_that_is_wrong_is_told(self):
        # too much of one energy and too little of the other: their sum is right
        x = torch.randn(20_000, 2, generator=seeded(0))
        made = torch.randn(4000, 2, generator=seeded(1)) - torch.tensor([1.4, 0.6])
        found = report(made, [first, second], [1.0, 1.0], x)
        assert found.findings and "misses the target's" in found.verdict

    def test_a_wrong_vector_is_a_part_of_what_was_asked_for(self):
        x = torch.randn(20_000, 2, generator=seeded(0))
        made = torch.randn(4000, 2, generator=seeded(1)) - 0.5
        found = report(made, [first, second], [1.0, 1.0], x)
        assert found.findings == ["wrong_beta"] and "times the betas asked for" in found.verdict

    def test_forbidden_by_one_is_forbidden(self):
        x = torch.randn(1000, 2, generator=seeded(0))
        found = report(x[:500], [first, lambda x: x[:, 1].masked_fill(x[:, 0] > 0, torch.inf)], [0.0, 0.0], x)
        assert found.forbidden["generated"] == pytest.approx(float((x[:500, 0] > 0).double().mean()))
        assert found.each_energy[0]["energy_mean"]["generated"] < 0

    def test_the_surface_is_drawn(self, gridded, tmp_path):
        names = [file.name for file in save_figures(gridded, tmp_path)]
        assert {"strip.png", "tradeoff.png"} <= set(names)
        loaded = TiltReport.load(gridded.save(tmp_path))
        assert [file.name for file in save_figures(loaded, tmp_path)] == ["tradeoff.png"]


class TestRounds:
    ROWS = tuple(
        {"beta": 4.0 * k, "n_eff": 900.0 * k, "best": -1.0, "mean": -0.3 * k, "diversity": None, "calls": 1000 * k}
        for k in (1, 2, 3)
    )

    def rounds(self, **change):
        return {
            "beta_reached": 3.0,
            "base_error": None,
            "calls": 3000,
            "stopped": None,
            "rounds": list(self.ROWS),
        } | change

    def test_rounds_that_arrived(self, data):
        made = tilted(2000, 3.0, seeded(1))
        found = report(made, energy, 3.0, data, reference="density", rounds=self.rounds())
        assert found.verdict.startswith("within noise") and found.findings == []
        assert "3,000 energies evaluated" in str(found) and "p is the density that log_p gives" in str(found)

    def test_a_stop_is_said_first(self, data):
        stopped = self.rounds(stopped="base_error", base_error=0.031)
        why = {"rounds": "stopped (base_error): the mean energy depends on the base's tail"}
        found = report(
            tilted(2000, 3.0, seeded(1)), energy, 3.0, data[:4000], reference="base", rounds=stopped, notes=why
        )
        assert found.verdict.startswith("rounds stopped at beta 3, the mean energy depends on the base's tail; at that")
        assert found.findings[0] == "stopped" and "± 0.031" in found.verdict
        text = str(found)
        assert "base error" in text and "± 0.031" in text and "p is the base flow" in text

    def test_the_rounds_are_drawn(self, data, tmp_path):
        found = report(tilted(300, 3.0, seeded(1)), energy, 3.0, data[:1000], rounds=self.rounds(base_error=0.1))
        assert "rounds.png" in [file.name for file in save_figures(found, tmp_path)]
        bare = dataclasses.replace(found, rounds=self.rounds(rounds=[]))
        assert "rounds.png" not in [file.name for file in save_figures(bare, tmp_path / "bare")]


def test_a_correction_and_inexact_samples_are_told(data):
    correction = {"n_eff": 812.5, "drawn": 8000, "distance_before": 0.11, "distance_after": 0.06}
    found = report(
        tilted(2000, 3.0, seeded(1)), energy, 3.0, data, correction=correction, notes={"samples": "temperature .8"}
    )
    assert found.correction == correction and found.findings == ["not_exact"]
    assert "samples are not exact: temperature .8" in found.verdict
    text = str(found)
    assert "0.11 → 0.06" in text and "8,000 drawn" in text


def test_a_correction_brings_the_samples_nearer(data):
    # samples of beta 1 for a target of beta 3, with exact weights exp(−2 E) but for a constant
    made = tilted(4000, 1.0, seeded(1))
    found = report(made, energy, 3.0, data, correction={"log_w": -2.0 * energy(made).double()}).correction
    weights = torch.softmax(-2.0 * energy(made).double(), 0)
    assert found["n_eff"] == pytest.approx(1 / float(weights.square().sum())) and found["drawn"] == 4000
    assert found["distance_after"] < 0.5 * found["distance_before"] and "log_w" not in found
    right = report(tilted(4000, 3.0, seeded(2)), energy, 3.0, data)
    assert found["distance_after"] < right.distance["limit"] * 1.5  # as many points as are effective, fewer than n


def test_a_correction_in_energies_alone_is_told(data):
    means = {"generated": -0.7, "corrected": -0.8}
    found = report(
        tilted(300, 0.0, seeded(1)), energy, 3.0, data, correction={"n": 300, "n_eff": 90.0, "energy_mean": means}
    )
    assert "-0.7 → -0.8" in str(found) and "90" in str(found)
    assert found.verdict.endswith("after the correction mean energy -0.8, 90 of 300 effective")


def test_the_verdict_on_samples_that_miss_says_what_the_correction_makes_of_them(data):
    means = {"generated": -0.5, "corrected": -0.77}
    said = {"drawn": 3000, "n_eff": 1234.5, "energy_mean": means}
    wrong = report(tilted(3000, 1.0, seeded(1)), energy, 3.0, data, correction=said)
    assert wrong.findings and wrong.verdict.endswith("after the correction mean energy -0.77, 1,234 of 3,000 effective")
    right = report(tilted(3000, 3.0, seeded(2)), energy, 3.0, data, correction=said)
    assert not right.findings and "correction" not in right.verdict


class TestSequences:
    def test_lengths_in_place_of_a_scatter(self, tmp_path):
        words = Words(space(2, 4))
        found = report(words.draw(500, 1.0), word_energy, 1.0, words.draw(2000), pad_id=PAD)
        assert [file.name for file in save_figures(found, tmp_path)] == ["energy.png", "lengths.png"]
        same = Words(space(2, 4, padded=False))
        found = report(same.draw(500, 1.0), word_energy, 1.0, same.draw(2000))
        assert [file.name for file in save_figures(found, tmp_path / "same")] == ["energy.png"]

    def test_a_strip_of_lengths(self, tmp_path):
        words, betas = Words(space(2, 4)), (0.0, 1.0, 2.0)
        x = words.draw(3000)
        found = combine([report(words.draw(500, b), word_energy, b, x, pad_id=PAD) for b in betas], [0.0, 2.0])
        assert "strip.png" in [file.name for file in save_figures(found, tmp_path)]
