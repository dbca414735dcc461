"""What a GPU has to do, where there is one: the same verbs, in bfloat16 and compiled, and back on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import egflow

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.mark.parametrize("how", [{}, {"autocast": True}, {"compile": True}])
def test_points_on_a_gpu(how: dict[str, bool], tmp_path: Path) -> None:
    x = torch.randn(2_000, 2, generator=torch.Generator().manual_seed(0))
    options = egflow.TrainingOptions(progress="quiet", **how)
    base = egflow.fit(x, steps=300, device="cuda", options=options)
    flow = egflow.tilt(base, lambda x: x[:, 0], 1.0, data=x, steps=300, options=options)
    assert flow.device.type == "cuda" and flow.report is not None
    # N(0, 1) tilted by x_0 at beta 1 is N(−1, 1): 2,000 samples know its mean to .022, the fit adds some hundredths
    assert float(flow.sample(2_000)[:, 0].mean()) == pytest.approx(-1.0, abs=0.2)
    flow.save(tmp_path / "flow")
    again = egflow.Flow.load(tmp_path / "flow")
    points = x[:50]
    torch.testing.assert_close(again.log_prob(points), flow.log_prob(points.cuda()).cpu(), rtol=1e-3, atol=1e-3)


def test_tokens_on_a_gpu() -> None:
    words = torch.randint(0, 4, (2_000, 6), generator=torch.Generator().manual_seed(0))
    quiet = egflow.TrainingOptions(progress="quiet")
    base = egflow.fit(words, vocab_size=4, steps=100, device="cuda", options=quiet)
    flow = egflow.tilt(base, lambda x: (x == 0).sum(1).float(), 1.0, data=words, steps=100, options=quiet)
    share = float((flow.sample(2_000) == 0).double().mean())
    e = torch.tensor(-1.0).exp()
    assert share == pytest.approx(float(e / (3 + e)), abs=0.03)  # each place is drawn alone: e^{-1} against 1, 1, 1
