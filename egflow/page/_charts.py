"""Charts as plain data: what page.js draws, with the words that stand for each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from egflow.page._blocks import Intervals
from egflow.page._drawn import Drawn
from egflow.report import TiltReport
from egflow.report._canvas import plane, span
from egflow.report._figures import series
from egflow.report._figures_tokens import length_bins
from egflow.report._tokens import lengths
from egflow.weights import normalise

_BINS = 40
_GRID = 4095  # coordinates are whole numbers up to it
_MOST_POINTS = 600  # of a line


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        title: above it.
        alt: what it shows, in words.
        spec: its kind and numbers, as page.js takes them.
    """

    title: str
    alt: str
    spec: dict[str, Any]


def drawn_charts(drawn: Drawn) -> list[Chart]:
    """Points, or lengths of sequences, and energies at each stop."""
    made = lengths_chart(drawn) if drawn.tokens else points_chart(drawn)
    charts = [energy_chart(drawn, k) for k in range(len(drawn.names)) if drawn.energies]
    return [*([] if made is None else [made]), *charts]


def energy_chart(drawn: Drawn, k: int) -> Chart:
    """The histogram of one energy over data, weighted data and samples, at each stop; finite energies only."""
    name = drawn.names[k]
    made = [frame[k].values[~frame[k].forbidden].numpy() for frame in drawn.energies]
    data = drawn.data_energies[k] if drawn.log_w else None
    known = [] if data is None else [data.values[~data.forbidden].numpy()]
    edges = np.linspace(*span(*known, *made), _BINS + 1)
    series = []
    if data is not None:
        allowed = ~data.forbidden
        shares = [normalise(log_w)[allowed].numpy() for log_w in drawn.log_w]
        series = [
            {"name": "data (p)", "role": "data", "frames": [_heights(known[0], None, edges)]},
            {"name": "weighted data (target q)", "role": "target",
             "frames": [_heights(known[0], share, edges) for share in shares]},
        ]  # fmt: skip
    series.append({"name": "generated", "role": "made", "frames": [_heights(x, None, edges) for x in made]})
    spec = {"kind": "histogram", "edges": _short(edges), "series": series, "x": name, "y": "density"}
    means = f"mean of the generated {made[-1].mean():.4g}" if len(made[-1]) else "no allowed sample"
    at = " at the upper end of beta" if drawn.stops else ""
    alt = f"Histogram of the energy {name} over {', '.join(one['name'] for one in series)}; {means}{at}."
    return Chart("Energy" if len(drawn.names) == 1 else f"Energy: {name}", alt, spec)


def points_chart(drawn: Drawn) -> Chart:
    """Samples in the plane, and beside them weighted data, at each stop; one coordinate is a histogram."""
    pooled = drawn.pooled
    reference, log_w = pooled, torch.zeros(len(pooled), dtype=torch.float64)
    if drawn.data is not None:
        reference, log_w = drawn.data, drawn.log_w[-1] if drawn.log_w else torch.zeros(len(drawn.data)).double()
    seen_in, axes = plane(reference, log_w)
    made = [seen_in(samples) for samples in drawn.samples]
    if made[0].shape[1] == 1:
        return _one_coordinate(drawn, [x[:, 0] for x in made])
    panels: list[dict[str, Any]] = [{"name": "generated", "role": "made", "smooth": True}]
    points = [made]
    if drawn.data is not None and drawn.log_w:
        data, count = seen_in(drawn.data), len(made[0])
        rng = np.random.default_rng(0).random(count)
        picks = [np.searchsorted(np.cumsum(normalise(log_w).numpy()), rng).clip(max=len(data) - 1)
                 for log_w in drawn.log_w]  # fmt: skip
        panels.append({"name": "weighted data (target q)", "role": "target", "smooth": False})
        points.append([data[pick] for pick in picks])
    spans = [span(*(frame[:, axis] for frames in points for frame in frames)) for axis in range(2)]
    for panel, frames in zip(panels, points, strict=True):
        panel["frames"] = [_whole(frame, spans) for frame in frames]
    if drawn.energies and len(drawn.names) == 1:
        panels[0]["energy"] = [_short(frame[0].energy.numpy(), 4) for frame in drawn.energies]
    spec = {
        "kind": "points",
        "panels": panels,
        "spans": [_short(np.array(one), 6) for one in spans],
        "grid": _GRID,
        "equal": pooled[0].numel() == 2,
        "x": axes[0],
        "y": axes[1],
    }
    moves = "; the same noise at every beta" if drawn.stops else ""
    seen = " and as many draws of the weighted data" if len(panels) > 1 else ""
    return Chart("Samples", f"{len(made[0]):,} generated samples{seen}, as points over {axes[0]}, {axes[1]}{moves}.",
                 spec)  # fmt: skip


def _one_coordinate(drawn: Drawn, made: list[np.ndarray]) -> Chart:
    data = None if drawn.data is None else drawn.data.flatten(1)[:, 0].double().numpy()
    edges = np.linspace(*span(*made, *([] if data is None else [data])), _BINS + 1)
    return _histogram(drawn, made, data, edges, "Samples", "x[0]")


def lengths_chart(drawn: Drawn) -> Chart | None:
    """The histogram of sequences' lengths at each stop; None where all are of one length."""
    made = [lengths(samples, drawn.pad_id).numpy() for samples in drawn.samples]
    data = None if drawn.data is None else lengths(drawn.data, drawn.pad_id).numpy()
    parts = [*made, *([] if data is None else [data])]
    if min(int(part.min()) for part in parts) == max(int(part.max()) for part in parts):
        return None
    return _histogram(drawn, made, data, length_bins(*parts), "Lengths", "length (tokens)")


def _histogram(
    drawn: Drawn, made: list[np.ndarray], data: np.ndarray | None, edges: np.ndarray, title: str, x: str
) -> Chart:
    series = []
    if data is not None:
        series.append({"name": "data (p)", "role": "data", "frames": [_heights(data, None, edges)]})
        if drawn.log_w:
            frames = [_heights(data, normalise(log_w).numpy(), edges) for log_w in drawn.log_w]
            series.append({"name": "weighted data (target q)", "role": "target", "frames": frames})
    series.append({"name": "generated", "role": "made", "frames": [_heights(x, None, edges) for x in made]})
    spec = {"kind": "histogram", "edges": _short(edges), "series": series, "x": x, "y": "density"}
    return Chart(title, f"Histogram of {x} over {', '.join(one['name'] for one in series)}.", spec)


def trend_charts(report: TiltReport) -> list[Chart]:
    """What the report found along a range of one beta: mean energy, how far off, effective points."""
    blocks = report.per_beta or []
    if len(blocks) < 2 or not all(isinstance(block["beta"], int | float) for block in blocks):
        return []
    beta = [float(block["beta"]) for block in blocks]
    means = [block["energy_mean"] for block in blocks]
    ratio = [d["value"] / d["floor"] if (d := block["distance"]) and d["floor"] else None for block in blocks]
    energies = [
        _line("weighted data (target q)", "target", beta, [m["target"] for m in means],
              [m["target_stderr"] for m in means]),
        _line("generated", "made", beta, [m["generated"] for m in means], [m.get("generated_stderr") for m in means]),
    ]  # fmt: skip
    off = [_line("distance over its floor", "made", beta, ratio)]
    effective = [_line("n_eff of the data", "target", beta, [block["n_eff"] for block in blocks])]
    ends = f"at beta {beta[0]:g} and {beta[-1]:g}"
    return [
        Chart("Mean energy by beta",
              f"Mean energy of target {_two(energies[0])} and of the generated {_two(energies[1])} {ends}.",
              _lines(energies, "beta", "mean energy", follows=True)),
        Chart("Distance by beta", f"Distance over its floor, {_two(off[0])} {ends}; a perfect generator is near 1.",
              _lines(off, "beta", "x floor", follows=True, zero=True)),
        Chart("Effective points by beta", f"n_eff of the data, {_two(effective[0])} {ends}.",
              _lines(effective, "beta", "n_eff", follows=True, log=True)),
    ]  # fmt: skip


def rounds_charts(report: TiltReport) -> list[Chart]:
    """Beta and the mean energy, round by round."""
    rows = (report.rounds or {}).get("rounds") or []
    if len(rows) < 2 or all(row.get("mean") is None for row in rows):
        return []
    number = [float(i) for i in range(1, len(rows) + 1)]

    def column(key: str) -> list[float | None]:
        return [row.get(key) for row in rows]

    beta = [_line("beta", "target", number, column("beta"))]
    energy = [
        _line("mean of the proposals", "made", number, column("mean")),
        _line("best so far", "data", number, column("best")),
    ]
    count = f"in {len(rows)} rounds"
    return [
        Chart("Beta by round", f"Beta from {_two(beta[0])} {count}.", _lines(beta, "round", "beta")),
        Chart("Energy by round", f"Mean energy of the proposals from {_two(energy[0])} {count}.",
              _lines(energy, "round", "energy")),
    ]  # fmt: skip


def loss_charts(history: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Training and held-out loss of each stage of metrics.csv."""
    stages: dict[str, list[Mapping[str, Any]]] = {}
    for row in history:
        stages.setdefault(str(row.get("stage") or "train"), []).append(row)
    charts = []
    for name, rows in list(stages.items())[:8]:
        lines = [
            _line(words, role, *(_thinned(part.tolist()) for part in series(rows, key)))
            for words, role, key in (("training loss", "target", "loss"), ("held-out loss", "made", "held_out_loss"))
        ]
        lines = [line for line in lines if len(line["x"]) > 1]
        if lines:
            alt = f"Loss of stage {name}: " + "; ".join(f"{line['name']} from {_two(line)}" for line in lines) + "."
            charts.append(Chart(f"Loss: {name}", alt, _lines(lines, "step", "loss", robust=True)))
    return charts


def intervals_chart(block: Intervals) -> Chart:
    """Values with their errors, one below the other."""
    said = ", ".join(f"{name} {value:.4g}" + (f" ± {error:.2g}" if error else "") for name, value, error in block.rows)
    rows = [{"name": name, "value": float(value), "error": error} for name, value, error in block.rows]
    return Chart(block.title, f"{block.title}: {said}.", {"kind": "intervals", "rows": rows})


def _thinned(values: list[float]) -> list[float]:
    return values[:: max(1, -(-len(values) // _MOST_POINTS))]


def _line(
    name: str, role: str, x: Sequence[float], y: Sequence[Any], error: Sequence[Any] | None = None
) -> dict[str, Any]:
    """One line; points that have no value are left out."""
    found = [
        (float(a), float(b), None if error is None or error[i] is None else float(error[i]))
        for i, (a, b) in enumerate(zip(x, y, strict=True))
        if b is not None
    ]
    made: dict[str, Any] = {"name": name, "role": role, "x": [a for a, _, _ in found]}
    made["y"] = _short(np.array([b for _, b, _ in found]), 5)
    if error is not None:
        made["error"] = [None if e is None else float(f"{e:.3g}") for _, _, e in found]
    return made


def _lines(lines: list[dict[str, Any]], x: str, y: str, **options: Any) -> dict[str, Any]:
    return {"kind": "lines", "series": lines, "x": x, "y": y, **options}


def _two(line: Mapping[str, Any]) -> str:
    return f"{line['y'][0]:.4g} to {line['y'][-1]:.4g}" if line["y"] else "nothing"


def _heights(values: np.ndarray, share: np.ndarray | None, edges: np.ndarray) -> list[float]:
    weight = np.full(len(values), 1 / max(len(values), 1)) if share is None else share
    return _short(np.histogram(values, edges, weights=weight)[0] / np.diff(edges), 4)


def _whole(points: np.ndarray, spans: Sequence[tuple[float, float]]) -> list[int]:
    """Points (n, 2) as whole numbers on the chart's grid, x and y in turn; far ones lie on the border."""
    low, high = (np.array([one[i] for one in spans]) for i in (0, 1))
    return ((points - low) / (high - low) * _GRID).round().clip(0, _GRID).astype(int).flatten().tolist()


def _short(values: np.ndarray, digits: int = 6) -> list[Any]:
    """Numbers with few digits; None for what JSON cannot hold."""
    return [float(f"{one:.{digits}g}") if math.isfinite(one) else None for one in values.tolist()]
