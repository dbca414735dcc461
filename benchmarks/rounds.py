"""Rounds past the data, beside one shot and beside naive iteration, where the answer is known in closed form.

Three problems at a beta at which the N data have no effective point to speak of (`n_eff of the data`):

- `swissroll` at beta 20, N = 20,000: E_q[E] = −1.2623 exactly, and exact draws of q;
- `mixture`: eight Gaussians with E = −‖x‖²/9 at beta 10, N = 20,000: modes of the same energy, so shares of 1/8 each;
- `gaussian20`: N(0, I) in 20 dimensions, E linear, its tilt's mean 4 standard deviations away, N = 20,000.

Ways:

- `rounds, log_p`: `tilt(..., rounds="auto", log_p=…)`: weights p·exp(−beta·E)/q against the known density;
- `rounds`: the same without it: the data as far as they reach, then the density fitted to them there, with an error
  bar, and a stop where it is too large;
- `one shot`: `tilt` without rounds; for a stop, `one shot, same beta` is at the beta that was reached;
- `naive`: no target at all (written here only): each round weights the flow's own samples by exp(−5·E) and refits, as
  reward-weighted iteration does; after four rounds 20 has been spent, and nothing stops it: it is shown after twelve.

All with 3,000 steps, 750 for a refit between; `train s` in all, `calls` of the energy. `mean` is of E over 50,000
samples at the beta that was reached, `error`
what it is off the exact one, `bar` the run's own error bar (`base_error`; none where the data reach that beta). KS and
distance (sliced W2 over that of exact draws, 10,000 points, mean of five pairs) are against exact draws at that beta;
`share error` is the largest error of a mode's share, `allowed` three standard errors, 3·sqrt(Σ s(1−s)/n_eff), + .02;
`mean error` and `covariance error` are relative, the second in Frobenius norm.

Goals: swissroll with log_p: mean within .005, distance ≤ 1.3; without: KS no worse than one shot's, and the bar covers
the truth or the run stopped. Mixture: share error within the allowed. Gaussian with log_p: mean within 2 %, covariance
within 10 %. Cells are kept in `rounds_cells/` while the suite runs: stopped and started again, it goes on.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from egflow_toy.densities import MIXTURE_CENTRES, MIXTURE_STD, density
from egflow_toy.energies import ClassicEnergy, nearest_centre
from egflow_toy.exact import swissroll_figures, swissroll_tilt
from safetensors.torch import save_file
from torch import Tensor

import egflow
from egflow._fit import train_flow, warm_start
from egflow._weighting import Weighted
from egflow.energy import EnergyModel, evaluate
from egflow.flow import Flow
from egflow.objective import cefm
from egflow.report import sliced_w2, weighted_ks
from egflow.training import TrainingOptions
from egflow.weights import Resample, log_weights, n_eff

TITLE = "Rounds past the data"
STEPS = 3_000
NAIVE_ROUNDS, NAIVE_BETA, NAIVE_STEPS = 12, 5.0, 750
GENERATED, PART = 50_000, 10_000


class Slope(EnergyModel):
    """E(x) = Σ x / √dim, of unit variance under N(0, I)."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x.sum(1) / math.sqrt(x.shape[1])


@dataclass(frozen=True, slots=True)
class Case:
    """A problem and its answer: data, p, q at any beta."""

    name: str
    beta: float
    data: Tensor
    energy: EnergyModel
    log_p: Callable[[Tensor], Tensor]
    exact: Callable[[int, float, int], Tensor]
    mean: Callable[[float], float]


def swissroll_mean(beta: float) -> float:
    """E_q[E] of the swissroll."""
    return swissroll_figures(beta)[0]


def mixture_tilt(n: int, beta: float, seed: int) -> Tensor:
    """Exact draws: each Gaussian N(c, s²) becomes N(c / (1 − κ), s² / (1 − κ)), κ = 2·beta·s²/9, of the same mass."""
    generator = torch.Generator().manual_seed(seed)
    room = 1 - 2 * beta * MIXTURE_STD**2 / 9
    centre = MIXTURE_CENTRES[torch.randint(8, (n,), generator=generator)] / room
    return centre + MIXTURE_STD / math.sqrt(room) * torch.randn(n, 2, generator=generator)


def mixture_mean(beta: float) -> float:
    """E_q[E] of the mixture."""
    room = 1 - 2 * beta * MIXTURE_STD**2 / 9
    return -(float(MIXTURE_CENTRES[0].square().sum()) / room**2 + 2 * MIXTURE_STD**2 / room) / 9


def gaussian_draws(n: int, beta: float, seed: int) -> Tensor:
    """Exact draws of N(−beta·slope, I) in 20 dimensions."""
    return torch.randn(n, 20, generator=torch.Generator().manual_seed(seed)) - beta / math.sqrt(20)


def cases(quick: bool) -> list[Case]:
    """The three problems; quick: the first, with few data."""
    n = 2_000 if quick else 20_000
    roll, modes, radius = density("swissroll"), density("8gaussians"), ClassicEnergy("swissroll")
    assert roll.log_prob is not None and modes.log_prob is not None
    several = [
        Case("swissroll", 20.0, roll.sample(n, 0), radius, roll.log_prob, swissroll_tilt, swissroll_mean),
        Case("mixture", 10.0, modes.sample(n, 0), radius, modes.log_prob, mixture_tilt, mixture_mean),
        Case(
            "gaussian20",
            4.0,
            gaussian_draws(n, 0.0, 0),
            Slope(),
            lambda x: -0.5 * x.square().sum(1),
            gaussian_draws,
            lambda b: -b,
        ),
    ]
    return several[:1] if quick else several


ORDER = [
    ("swissroll", ("rounds, log_p", "rounds", "one shot", "naive")),
    ("gaussian20", ("rounds, log_p",)),
    ("mixture", ("rounds, log_p", "naive", "one shot")),
    ("gaussian20", ("one shot", "rounds")),
    ("mixture", ("rounds",)),
]


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each problem and way; draw docs/figures/rounds.png once the swissroll is done."""
    cells, named = out / "rounds_cells", {case.name: case for case in cases(quick)}
    for name, ways in ORDER[: 1 if quick else None]:
        case = named[name]
        for way in ways:
            row = cell(cells, case, way, quick)
            yield row
            if way == "rounds" and row["stopped"]:
                yield cell(cells, replace(case, beta=float(str(row["beta reached"]))), "one shot, same beta", quick)
        if name == "swissroll" and not quick:
            from _rounds_figure import draw

            draw(cells, Path(__file__).resolve().parents[1] / "docs" / "figures" / "rounds.png")


def cell(cells: Path, case: Case, way: str, quick: bool) -> dict[str, object]:
    """One row, kept in a file."""
    folder = cells / f"{case.name}-{way.replace(', ', '-').replace(' ', '_')}"
    file = folder.with_suffix(".json")
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        steps = 100 if quick else STEPS
        base = fitted_base(cells, case, steps)
        rounds: dict[str, Any] = {"beta_reached": case.beta, "base_error": None, "calls": len(case.data), "rounds": [0]}
        options = TrainingOptions(progress="plain", folder=folder, resume=True)
        settings: dict[str, Any] = {"data": case.data, "steps": steps, "options": options}
        if way == "naive":
            flow, seconds = naive(base, case, folder, quick)
            rounds["rounds"], rounds["calls"] = [0] * NAIVE_ROUNDS, NAIVE_ROUNDS * len(case.data)
        else:
            if way.startswith("rounds"):
                settings |= {"rounds": "auto"} | ({"log_p": case.log_p} if way.endswith("log_p") else {})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a stop is a row of the table
                flow = egflow.tilt(base, case.energy, case.beta, **settings)
            assert flow.report is not None
            rounds, seconds = flow.report.rounds or rounds, flow.train_seconds
        row = {"case": case.name, "way": way, **judge(flow, case, rounds, folder, quick), "train s": round(seconds)}
        row["goal"] = met(case.name, row) if way.startswith("rounds") else ""
        file.write_text(json.dumps(row))
    return json.loads(file.read_text())


def fitted_base(cells: Path, case: Case, steps: int) -> Flow:
    """The base of a case, kept in a folder."""
    folder = cells / f"{case.name}-base"
    if not folder.exists():
        egflow.fit(case.data, steps=steps, options=TrainingOptions(progress="plain")).save(folder)
    return Flow.load(folder)


def naive(base: Flow, case: Case, folder: Path, quick: bool) -> tuple[Flow, float]:
    """Iteration without a target: weight the flow's own samples by exp(−5·E), refit, again. A stage a round."""
    flow, seconds = base, 0.0
    for number in range(1, (2 if quick else NAIVE_ROUNDS) + 1):
        x = flow.sample(len(case.data), rtol=1e-3, atol=1e-3, seed=number)
        save_file({"x": x[:2_000].clone()}, folder / f"naive-{number:02d}.safetensors")
        log_w = log_weights(evaluate(case.energy, x), NAIVE_BETA)
        options = TrainingOptions(progress="quiet", folder=folder, resume=True, stage=f"naive-{number:02d}")
        steps = 50 if quick else NAIVE_STEPS
        weighting = Weighted(Resample(), log_w, log_w)
        flow = train_flow(warm_start(flow), x, None, weighting, cefm, steps, 512, number, options)
        seconds += flow.train_seconds
    return flow, seconds


def judge(flow: Flow, case: Case, rounds: dict[str, Any], folder: Path, quick: bool) -> dict[str, object]:
    """The figures of a row, at the beta that was reached."""
    beta = float(rounds["beta_reached"])
    n, part = (4_000, 400) if quick else (GENERATED, PART)
    x = flow.sample(n, rtol=1e-4, atol=1e-4, seed=11).cpu()
    shown = {"x": x[:2_000].clone(), "data": case.data[:2_000].clone()}
    save_file(shown, folder / "samples.safetensors", {"rounds": json.dumps(rounds["rounds"])})
    e = evaluate(case.energy, x).values
    exact, truth = case.exact(n, beta, 12), case.mean(beta)
    error = float(e.mean()) - truth
    pairs = list(zip(x.split(part), exact.split(part), strict=True))
    value = sum(sliced_w2(a, b) for a, b in pairs) / len(pairs)
    floor = sum(sliced_w2(a, b) for a, b in zip(exact.split(part), case.exact(n, beta, 13).split(part), strict=True))
    own = n_eff(log_weights(evaluate(case.energy, case.data), beta))
    bar, stopped = rounds["base_error"], rounds.get("stopped")
    row: dict[str, object] = {
        "beta reached": round(beta, 4),
        "stopped": stopped or "",
        "n_eff of the data": round(own, 1),
        "n_eff": round(rounds["rounds"][-1]["n_eff"]) if isinstance(rounds["rounds"][-1], dict) else "",
        "rounds": len(rounds["rounds"]),
        "calls": rounds["calls"],
        "mean": round(float(e.mean()), 4),
        "exact": round(truth, 4),
        "error": round(error, 4),
        "bar": "" if bar is None else round(bar, 4),
        "KS": round(weighted_ks(e, evaluate(case.energy, exact).values), 4),
        "distance / floor": round(value / (floor / len(pairs)), 2),
    }
    if case.name == "mixture":
        share = torch.bincount(nearest_centre(x), minlength=8).double() / n
        left = float(row["n_eff"] or 1e9)  # type: ignore[arg-type]
        row["share error"] = round(float((share - 1 / 8).abs().max()), 4)
        row["allowed"] = round(3 * math.sqrt(7 / 8 / left) + 0.02, 4)
    if case.name == "gaussian20":
        mean, covariance = x.double().mean(0), torch.cov(x.double().T)
        wanted = torch.full((20,), -beta / math.sqrt(20), dtype=torch.float64)
        row["mean error"] = round(float((mean - wanted).norm() / wanted.norm()), 4)
        row["covariance error"] = round(float((covariance - torch.eye(20)).norm() / math.sqrt(20)), 4)
    return row


def met(name: str, row: dict[str, Any]) -> str:
    """Whether the goals that can be told from one row are met; those of rounds with log_p, and the bar's without."""
    if row["bar"] != "":
        return "met" if row["stopped"] or abs(row["error"]) <= row["bar"] else "missed"
    if row["stopped"]:
        return "missed"
    if name == "mixture":
        return "met" if row["share error"] <= row["allowed"] else "missed"
    if name == "gaussian20":
        return "met" if row["mean error"] <= 0.02 and row["covariance error"] <= 0.1 else "missed"
    return "met" if abs(row["error"]) <= 0.005 and row["distance / floor"] <= 1.3 else "missed"
