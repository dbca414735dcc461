"""Runs' folders made by hand, as a stranger could: whole but for what a test leaves out."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import yaml

import egflow
from egflow.cli import _door
from egflow.page import Block, Drawn, RunPage, render
from egflow.report import TiltReport

EVIL = "</script><script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">' \" & \u2028"


@functools.cache
def _found() -> TiltReport:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3_000, 2, generator=generator)
    made = torch.randn(800, 2, generator=generator) - torch.tensor([0.5, 0.0])
    return egflow.report(made, lambda x: x[:, 0], 0.5, x, energy_name="first", domain="toy", method="cefm", seed=0)


def report_of(**changes: Any) -> TiltReport:
    """The report of a generator that is right, with other fields where given."""
    return TiltReport(**{**_found().to_dict(), **changes})


def make_run(path: Path, report: TiltReport | None = None, **settings: Any) -> Path:
    """A folder with config.yaml and report.json, and nothing else."""
    path.mkdir(parents=True)
    usual = {"domain": "toy", "data": "8gaussians", "method": "cefm", "energy": None, "score": None, "seed": 0}
    (path / "config.yaml").write_text(yaml.safe_dump({**usual, "beta": 0.5, **settings}), encoding="utf-8")
    (report or report_of()).save(path)
    return path


def page_of(*runs: Path, out: Path, more: tuple[str, ...] = ()) -> str:
    """The page that the command writes about them."""
    assert _door.run("report", [*(f"run={run}" for run in runs), f"out={out}", *more]) == 0
    return out.read_text(encoding="utf-8")


def page_by_hand(drawn: Drawn | None, *blocks: Block) -> str:
    """A page of one run, with what is given and nothing else."""
    run = RunPage(
        name="hand", report=report_of(), facts={}, header=["a"], rows=[["b"]], caption="", charts=[], losses=[],
        drawn=drawn, blocks=blocks, figures={}, settings={}, text="", repeat="", notes=[],
    )  # fmt: skip
    return render([run], "now", "again")
