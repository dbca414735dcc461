import subprocess
import sys

import pytest
import torch
from report_generators import energy, seeded, tilted, untilted

from egflow.report import TiltReport, report, save_figures

HISTORY = [
    {"stage": stage, "step": str(step), "loss": str(2.0 / (1 + step)), "held_out_loss": "1.5" if step % 3 == 0 else ""}
    for stage in ("fit", "tilt")
    for step in range(10)
]


def is_picture(file):
    return file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and file.stat().st_size > 2000


def test_the_three_figures(tmp_path):
    found = report(tilted(300, 3.0, seeded(0)), energy, 3.0, untilted(600, seeded(1)))
    files = save_figures(found, tmp_path / "figures", HISTORY)
    assert [f.name for f in files] == ["energy.png", "samples.png", "loss.png"]
    assert all(map(is_picture, files))
    assert [f.name for f in save_figures(found, tmp_path, None)] == ["energy.png", "samples.png"]


def test_many_points_are_drawn_as_a_density(tmp_path):
    found = report(tilted(5000, 3.0, seeded(0)), energy, 3.0, untilted(9000, seeded(1)))
    assert all(map(is_picture, save_figures(found, tmp_path)))


@pytest.mark.parametrize("event", [(1,), (2,), (3,), (1, 8, 8)])
def test_any_event_and_few_points(tmp_path, event):
    x = torch.randn(20, *event, generator=seeded(0))

    def forbid(x):
        first = x.flatten(1)[:, 0]
        return first.masked_fill(first > 1, torch.inf)

    assert all(map(is_picture, save_figures(report(x[:1], forbid, 1.0, x), tmp_path)))


def test_forbidden_or_constant_energies_are_drawn(tmp_path):
    x = torch.linspace(-1, 1, 20)[:, None]
    found = report(x[:3] - 9, lambda x: torch.zeros(len(x)).masked_fill(x[:, 0] < -1, torch.inf), 1.0, x)
    assert found.energy_mean["generated"] is None
    assert all(map(is_picture, save_figures(found, tmp_path)))


def test_a_loaded_report_draws_the_loss_alone(tmp_path):
    found = report(tilted(50, 3.0, seeded(0)), energy, 3.0, untilted(100, seeded(1)))
    loaded = TiltReport.load(found.save(tmp_path))
    assert [f.name for f in save_figures(loaded, tmp_path, HISTORY)] == ["loss.png"]
    assert save_figures(loaded, tmp_path, [{"stage": "fit", "step": "1", "loss": ""}]) == []


def test_import_brings_no_plotting():
    code = "import sys, egflow.report; print([m for m in ('matplotlib', 'scipy', 'pandas', 'ot') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
