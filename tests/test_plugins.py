"""A third party's domain is found by its entry point and trains; a broken one is a warning with its name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SPEC = """
from egflow.domain import DomainSpec
SPEC = DomainSpec("line", "egflow_line", "egflow_line.domain:Line", "line", "points on a line")
"""
DOMAIN = """
import numpy as np, torch
from egflow.domain import Data

class Line:
    def __init__(self, n_data=100, label=None):
        assert label == "[O-] (a), b", label
        self.n_data = n_data
        self.energies = {"right": lambda: lambda x: -x[:, 0]}
        self.decoders = {}
    def data(self, name, seed):
        return Data(torch.randn(self.n_data, 1, generator=torch.Generator().manual_seed(seed)))
    def default_energy(self, name): return "right"
    def network(self, data): return None
    def save_samples(self, samples, folder):
        np.savetxt(folder / "samples.csv", samples.numpy())
        return folder / "samples.csv"
    def figures(self, report, folder): return []
    def metrics(self, report): return {"mean": float(report.evidence.samples.mean())}
"""
CONFIG = """# @package _global_
domain: line
beta: 0.5
n: 300
line: {n_data: 400, label: null}
"""


def distribution(folder: Path, name: str, entry: str, files: dict[str, str]) -> None:
    """An installed distribution, as pip would leave it: a package, and what it says about itself."""
    info = folder / f"egflow_{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: egflow-{name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[egflow.domains]\n{name} = {entry}\n")
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


def test_a_third_partys_domain_trains_beside_a_broken_one(tmp_path: Path) -> None:
    site = tmp_path / "site"
    distribution(site, "line", "egflow_line:SPEC", {
        "egflow_line/__init__.py": SPEC,
        "egflow_line/domain.py": DOMAIN,
        "egflow_line/conf/__init__.py": "",
        "egflow_line/conf/domain/line.yaml": CONFIG,
    })  # fmt: skip
    distribution(site, "broken", "egflow_broken:SPEC", {"egflow_broken.py": "raise RuntimeError('gone wrong')"})
    line = "-m egflow.train domain=line trainer.steps=20 run_dir=run trainer.progress=quiet 'line.label=[O-] (a), b'"
    result = subprocess.run(
        f"{sys.executable} {line}", shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("'broken'") == 1 and "gone wrong" in result.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert (report["domain"], report["beta"], report["n_data"]) == ("line", 0.5, 400)
    assert "mean" in report["domain_metrics"] and (tmp_path / "run" / "samples.csv").is_file()
