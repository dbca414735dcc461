"""One model of every beta in (0, 8), beside models of one beta each.

For each toy set a base is fitted to N = 400,000 points, and tilted from there over beta=(0, 8); where that is further
than 1.5 floors from the target, also at that beta alone (beta 0 too), all with the same 5,000 steps at default
settings. 20,000 samples of each are judged against 100,000 exact draws of q, none of which was trained on.

- `range`, `single`: sliced W2 of the model over its floor (as in `report.json`; a perfect generator shows about 1).
- `energy bias`: generated − target mean of E, in units of the base's standard deviation of E; `single bias` likewise.
- `KS`, `single KS`: Kolmogorov–Smirnov distance of the energies.

Goal: the range's distance ≤ 1.25 of the single's, or ≤ 1.5 floors.

The rows `8gaussians, two energies` are one model of two betas, (0, 4) each: E_a = x[0]/2 wants points on the left,
E_b = ‖x − (0, 3)‖²/8 near a place at the top. p is a mixture of normals and stays one under both, so exact draws are
closed form. Goal there: ≤ 1.5 floors. Cells are kept in `beta_range_cells/` while the suite runs: stopped and started
again, it goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from _beta_range_figures import strip_figure, surface_figure
from _beta_range_two import GRID, TWO, exact_two, judge_two
from _toys_target import EFFECTIVE, N, Target
from egflow_toy.densities import density
from egflow_toy.energies import ClassicEnergy

import egflow
from egflow import Flow
from egflow._account import ReportOptions
from egflow.training import TrainingOptions

TITLE = "One model of every beta beside models of one beta: distance / floor"
SETS = ("swissroll", "8gaussians", "2spirals", "rings", "pinwheel", "moons", "checkerboard")
BETAS = (0.0, 2.0, 4.0, 8.0)
RANGE = (0.0, 8.0)
STRIPS = ("8gaussians", "2spirals")
GENERATED = 20_000
QUIET = TrainingOptions(progress="quiet")
BRIEF = ReportOptions(n=1_000, has_density=False)  # the suite judges by itself
FIGURES = Path(__file__).resolve().parents[1] / "docs" / "figures"


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each set and beta, then those of two energies. quick: one set, barely trained."""
    cells = out / "beta_range_cells"
    cells.mkdir(parents=True, exist_ok=True)
    for name in ("8gaussians",) if quick else SETS:
        bench = Bench(cells, name, quick)
        for beta in BETAS:
            ours = bench.judged(RANGE, beta)
            single = bench.judged(beta, beta) if quick or ours["ratio"] > 1.5 else None
            yield {"set": name, "beta": f"{beta:g}"} | compared(ours, single)
    yield from two_energies(cells, quick)
    if not quick and out == Path(__file__).resolve().parent / "results":
        strip_figure({name: Bench(cells, name, quick).model(RANGE) for name in STRIPS}, FIGURES / "beta_range.png")
        surface_figure(Flow.load(cells / "two-range"), FIGURES / "beta_surface.png")
    shutil.rmtree(cells)


class Bench:
    """The models of one set; each is trained once and kept."""

    def __init__(self, cells: Path, name: str, quick: bool) -> None:
        self.cells, self.name, self.quick = cells, name, quick
        self.steps, self.generated = (100, 2_000) if quick else (5_000, GENERATED)

    def base(self) -> Flow:
        saved = self.cells / f"{self.name}-base"
        if not saved.exists():
            egflow.fit(density(self.name).sample(N, seed=0), steps=self.steps, options=QUIET).save(saved)
        return Flow.load(saved)

    def model(self, beta: float | tuple[float, float]) -> Flow:
        """The tilt of the base at one beta, or over a range."""
        saved = self.cells / f"{self.name}-{'range' if isinstance(beta, tuple) else f'{beta:g}'}"
        if not saved.exists():
            x, energy = density(self.name).sample(N, seed=0), ClassicEnergy(self.name)
            made = egflow.tilt(self.base(), energy, beta, data=x, steps=self.steps, options=QUIET, reporting=BRIEF)
            made.base = None
            made.save(saved)
        return Flow.load(saved)

    def judged(self, model: float | tuple[float, float], beta: float) -> dict[str, float]:
        """Distance over floor, bias and KS of a model's samples at a beta."""
        kind = "range" if isinstance(model, tuple) else "single"
        cell = self.cells / f"{self.name}-{beta:g}-{kind}.json"
        if not cell.exists():
            samples = self.model(model).sample(self.generated, beta=beta, seed=1)
            found = Target.of(self.name, beta, 5_000 if self.quick else EFFECTIVE).judge(samples)
            cell.write_text(json.dumps({"ratio": found.ratio, "bias": found.bias, "ks": found.ks}))
        return json.loads(cell.read_text())


def compared(ours: dict[str, float], single: dict[str, float] | None) -> dict[str, object]:
    """The columns of one set and beta."""
    row: dict[str, object] = {"range": round(ours["ratio"], 2)}
    row |= {"single": "", "range / single": "", "energy bias": round(ours["bias"], 4), "single bias": ""}
    row |= {"KS": round(ours["ks"], 4), "single KS": "", "goal": "met" if ours["ratio"] <= 1.5 else "missed"}
    if single is not None:
        of_single = ours["ratio"] / single["ratio"]
        row |= {"single": round(single["ratio"], 2), "range / single": round(of_single, 2)}
        row |= {"single bias": round(single["bias"], 4), "single KS": round(single["ks"], 4)}
        row["goal"] = "met" if of_single <= 1.25 or ours["ratio"] <= 1.5 else "missed"
    return row


def two_energies(cells: Path, quick: bool, grid: Sequence[tuple[float, float]] = GRID) -> Iterator[dict[str, object]]:
    """The rows of one model of two betas."""
    saved, bench = cells / "two-range", Bench(cells, "8gaussians", quick)
    if not saved.exists():
        made = egflow.tilt(
            bench.base(), TWO, [(0.0, 4.0), (0.0, 4.0)], data=density("8gaussians").sample(N, seed=0),
            steps=bench.steps, options=QUIET, reporting=BRIEF,
        )  # fmt: skip
        made.base = None
        made.save(saved)
    for beta in grid[:2] if quick else grid:
        cell = cells / f"two-{beta[0]:g}-{beta[1]:g}.json"
        if not cell.exists():
            samples = Flow.load(saved).sample(bench.generated, beta=beta, seed=1)
            exact = exact_two(beta, 5_000 if quick else EFFECTIVE, seed=1)
            cell.write_text(json.dumps(judge_two(samples, exact)))
        found = json.loads(cell.read_text())
        yield {
            "set": "8gaussians, two energies",
            "beta": f"{beta[0]:g}, {beta[1]:g}",
            "range": round(found["ratio"], 2),
            "energy bias": ", ".join(f"{bias:.4f}" for bias in found["bias"]),
            "KS": ", ".join(f"{ks:.4f}" for ks in found["ks"]),
            "goal": "met" if found["ratio"] <= 1.5 else "missed",
        }
