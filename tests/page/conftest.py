"""One small run of a range, which all tests of the page share."""

from __future__ import annotations

from pathlib import Path

import pytest

from egflow.cli import _door


@pytest.fixture(scope="session")
def ranged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of beta 0 to 4, in little training."""
    folder = tmp_path_factory.mktemp("ranged") / "every"
    words = "data=8gaussians beta=[0,4] toy.n_data=1000 trainer.steps=30 trainer.batch_size=64 n=300"
    quick = "solver.rtol=0.05 solver.atol=0.05 trainer.progress=quiet trainer.log_every=10"
    assert _door.run("train", [*words.split(), *quick.split(), f"run_dir={folder}"]) == 0
    return folder


@pytest.fixture(scope="session")
def ranged_page(ranged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert _door.run("report", [f"run={ranged}", f"out={out}"]) == 0
    return out
