"""Tokens through fit, tilt, save, load and the report: what works as for points, and what is refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import egflow
from egflow import Flow, TrainingOptions
from egflow.flow import TokenFlow

QUIET = TrainingOptions(progress="quiet")
PAD = -1


def rows(n: int = 400, seed: int = 0) -> torch.Tensor:
    """Up to 4 tokens of 3, padded with −1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(3, (n, 4), generator=generator)
    return x.masked_fill(torch.arange(4) >= torch.randint(1, 5, (n, 1), generator=generator), PAD)


def ones(x: torch.Tensor) -> torch.Tensor:
    return (x == 1).double().sum(1)


def fit(path: str | None = None, **more) -> Flow:
    settings = {"vocab_size": 3, "pad_id": PAD, "path": path, "steps": 15, "batch_size": 32, "options": QUIET}
    return egflow.fit(rows(), **(settings | more))


def tilt(base: Flow, **more) -> Flow:
    return egflow.tilt(
        base, ones, **({"beta": 1.0, "data": rows(), "steps": 10, "batch_size": 32, "options": QUIET} | more)
    )


@pytest.mark.parametrize("path", [None, "masked", "uniform"])
def test_a_tilt_is_saved_loaded_and_reported(path, tmp_path):
    flow = tilt(fit(path))
    assert isinstance(flow, TokenFlow) and flow.path.name == (path or "sequential")
    assert flow.report is not None and flow.report.distance["name"] == "sliced_w2_tokens"
    x = flow.sample(40, seed=1)
    assert bool((((x >= 0) & (x < 3)) | (x == PAD)).all()) and bool(((x[:, :-1] != PAD) | (x[:, 1:] == PAD)).all())
    flow.save(tmp_path / "model")
    loaded = Flow.load(tmp_path / "model")
    assert isinstance(loaded, TokenFlow) and isinstance(loaded.base, TokenFlow)
    assert (loaded.vocab_size, loaded.pad_id, loaded.path.name) == (3, PAD, flow.path.name)
    assert torch.equal(loaded.sample(40, energy=egflow.as_energy(ones), seed=1), x)
    stored = (tmp_path / "model" / "model.json").read_text()
    (tmp_path / "model" / "model.json").write_text(stored.replace(f'"{flow.path.name}"', '"os.system"'))
    with pytest.raises(ValueError, match=r"unknown path 'os\.system'"):
        Flow.load(tmp_path / "model")


def test_the_report_says_what_is_exact():
    exact, estimate, none = (tilt(fit(path)).report for path in (None, "masked", "uniform"))
    assert exact.achieved_beta is not None and exact.correction["drawn"] == exact.n_samples
    assert 0 < exact.correction["ess_fraction"] <= 1 and "sample() corrects" in exact.notes["correction"]
    assert estimate.correction is None and "estimates of the likelihood" in estimate.notes["achieved_beta"]
    assert none.achieved_beta is None and "has no likelihood" in none.notes["achieved_beta"]
    from egflow._account import ReportOptions

    leaps = tilt(fit("masked"), reporting=ReportOptions(n=200, solver="ctmc:2")).report
    assert "not_exact" in leaps.findings and "samples are not exact: the solver draws with several" in leaps.verdict
    assert "samples" not in estimate.notes


def test_training_does_not_depend_on_how_a_batch_is_cut():
    whole = fit("masked", batch_size=30)
    cut = fit("masked", batch_size=30, options=replace(QUIET, accumulate=3))
    for a, b in zip(whole.network.parameters(), cut.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_conditions():
    x = rows()
    label = (x[:, 0] == 1).long()
    flow = egflow.fit(
        x,
        label,
        vocab_size=3,
        pad_id=PAD,
        steps=150,
        batch_size=64,
        options=TrainingOptions(progress="quiet", learning_rate=1e-2),
    )
    made = flow.sample(400, condition=1)
    assert float((made[:, 0] == 1).float().mean()) > 0.9
    assert bool((flow.log_prob(x[:5], label[:5]) < 0).all())
    tilted = egflow.tilt(flow, ones, 1.0, data=x, condition=label, steps=5, batch_size=32, options=QUIET)
    assert tilted.sample(10, condition=1).shape == (10, 4)  # one condition: corrected
    assert tilted.sample(10, condition=torch.arange(10) % 2).shape == (10, 4)  # several: as they are


@pytest.mark.parametrize("path", [None, "masked", "uniform"])
def test_a_range_of_beta_and_several_energies(path):
    flow = tilt(fit(path), beta=(0.0, 2.0))
    assert flow.beta_range == ((0.0, 2.0),) and len(flow.report.per_beta) == 5
    assert torch.equal(flow.sample(20, beta=1.5), flow.at(1.5).sample(20))
    with pytest.raises(ValueError, match=r"outside beta in \[0, 2\]"):
        flow.sample(5, beta=3.0)
    if path is None:
        energies = [ones, lambda x: (x == 2).double().sum(1)]
        both = egflow.tilt(
            fit(), energies, [(0.0, 1.0), (0.0, 2.0)], data=rows(), steps=5, batch_size=32, options=QUIET
        )
        assert both.sample(20, beta=(0.5, 2.0)).shape == (20, 4)  # corrected by both


def test_data_may_be_drawn_from_the_base():
    from egflow import _tilt_inputs

    flow = fit()
    drawn = _tilt_inputs.draw_from_base(flow, None, 30, 0)
    assert drawn.dtype == torch.long and drawn.shape == (30, 4)


def test_refusals():
    base = fit()
    coupled = TrainingOptions(progress="quiet", coupling="ot")
    x = rows()
    wrong = x.clone()
    wrong[3, 1] = 7
    late = x.clone()
    late[5] = torch.tensor([0, PAD, 2, PAD])
    for call, words in (
        (lambda: egflow.fit(x), r"got dtype torch\.int64.*egflow\.fit\(x, vocab_size="),
        (lambda: egflow.fit(x.float(), pad_id=1), "give vocab_size= with it"),
        (lambda: egflow.fit(x.float(), path="masked"), "path 'masked' is for tokens: give vocab_size="),
        (lambda: egflow.fit(x.float(), vocab_size=3, pad_id=PAD), r"must hold tokens, a long tensor \(N, length\)"),
        (lambda: egflow.fit(x, vocab_size=3), r"x\[\d+, \d+\] is -1"),
        (lambda: egflow.fit(wrong, vocab_size=3, pad_id=PAD), r"x\[3, 1\] is 7"),
        (lambda: egflow.fit(late, vocab_size=3, pad_id=PAD), r"x\[5, 2\] is a token after padding"),
        (lambda: egflow.fit(x[:5], vocab_size=3, pad_id=PAD), "at least 20 rows, got 5"),
        (lambda: egflow.fit(x[:, :0], vocab_size=3, pad_id=PAD), r"must have shape \(N, length\)"),
        (lambda: fit(path="vp"), "path must be one of sequential, masked, uniform"),
        (lambda: fit(options=coupled), "coupling='ot' pairs points with noise, and tokens have none"),
        (lambda: tilt(base, method="ced"), "the base's path is sequential"),
        (lambda: tilt(base, options=coupled), "coupling='ot' pairs points with noise"),
        (lambda: tilt(base, data=wrong), r"data\[3, 1\] is 7"),
        (lambda: tilt(base, data=x.float()), "data must hold tokens"),
        (lambda: tilt(base, data=x[:, :3]), "event shape"),
        (lambda: egflow.tilt(None, ones, 1.0, data=x), r"for tokens .* egflow\.fit\(x, vocab_size="),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_a_twist_refuses_to_be_compiled() -> None:
    with pytest.raises(ValueError, match="compile=True is for a network trained whole"):
        egflow.tilt(fit(), ones, 1.0, method="twist", steps=2, options=replace(QUIET, compile=True))
