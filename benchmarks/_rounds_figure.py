"""docs/figures/rounds.png: the swissroll at beta 20, samples by round, with naive iteration, one shot and q beside."""

from __future__ import annotations

import json
from pathlib import Path

from egflow_toy.exact import swissroll_tilt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from safetensors import safe_open
from safetensors.torch import load_file

SHOWN = 2_000
_SIDE = 5.0  # half of a panel's frame; naive iteration needs more, and its title says how much
NAIVE = (2, 3, 5)  # rounds whose draws are shown: those of the flow that the round before left


def draw(cells: Path, file: Path) -> Path:
    """Draw the figure from what the suite left in its cells."""
    folder = cells / "swissroll-rounds-log_p"
    with safe_open(folder / "samples.safetensors", framework="pt") as stored:
        records = json.loads(stored.metadata()["rounds"])
        upper, last = [("p: the data", stored.get_tensor("data"))], stored.get_tensor("x")
    for path in sorted((folder / "rounds").glob("round-*.safetensors")):
        before = int(path.stem[-2:]) - 2  # round 2's proposals are of the flow that round 1 fitted
        upper.append((f"samples at beta {records[before]['beta']:.3g}", load_file(path)["x"]))
    upper.append((f"last, at beta {records[-1]['beta']:.3g}", last))
    lower = [("q at beta 20, exact", swissroll_tilt(SHOWN, 20.0, 3))]
    for way, title in (("one_shot", "one shot"), ("rounds", "rounds, no log_p")):
        row = json.loads((cells / f"swissroll-{way}.json").read_text())
        title += f" (stopped at {row['beta reached']:.3g})" if row["stopped"] else ""
        lower.append((title, load_file(cells / f"swissroll-{way}" / "samples.safetensors")["x"]))
    for number in NAIVE:
        x = load_file(cells / "swissroll-naive" / f"naive-{number:02d}.safetensors")["x"]
        lower.append((f"naive, after {number - 1}", x))
    columns = max(len(upper), len(lower))
    figure = Figure(figsize=(2.2 * columns, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for row, panels in zip(figure.subplots(2, columns), (upper, lower), strict=True):
        for panel in row[len(panels) :]:
            panel.set_visible(False)
        for panel, (title, x) in zip(row, panels, strict=False):
            side = max(_SIDE, 1.1 * float(x.abs().quantile(0.995))) if title.startswith("naive") else _SIDE
            panel.scatter(*x[:SHOWN].T.numpy(), s=0.7, linewidths=0, c="#2a5b8c")
            panel.set_title(title if side == _SIDE else f"{title}, ±{side:.0f}", fontsize=8, loc="left")
            panel.set(xlim=(-side, side), ylim=(-side, side), aspect="equal", xticks=[], yticks=[])
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    return file
