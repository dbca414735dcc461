"""Molecules: PMO's protocol on the 20 of its 23 tasks that need RDKit alone, beside published figures.

The practical molecular optimisation benchmark (Gao et al., NeurIPS 2022, arXiv 2206.12411) allows 10,000 calls of a
score; the figure is the area under the mean of the ten best so far, 1 at most. One seed.

- `egflow`: the search that ``rounds=auto`` runs from the prior that ships, with edits: beta 50, 4 steps of 128 a round,
  316 where nothing repeats. Chosen by 4,000 calls of celecoxib_rediscovery and perindopril_mpo.
- `policy gradient`: one after REINVENT with PMO's main settings (64 a round, sigma 500, replay of 24) on the same
  prior, run here, 300 rounds at most.
- `REINVENT`, `Graph GA`: PMO's own table, means of 5 seeds, priors and populations from ZINC 250k, as quoted in the
  design notes of this project. In the four tasks marked `*` PMO's oracles were those of PyTDC 0.3.6, which read the
  number of atoms off the SMILES as though it were a formula (`egflow_molecules.energies`): not quite the same tasks.
- `best`: the best score found; `calls`: fewer than 10,000 where nothing new came.

- `device`: where egflow's search ran; ten tasks at a time on the one GPU, two on two cores beside other work.

Cells are kept in `molecules_pmo_cells/`, and with the repository: stopped and started again, it goes on. On one core a
task takes some twenty minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from _molecules_pmo_cell import pmo_cell
from egflow_molecules.energies import TASKS

TITLE = "Molecules: PMO, 10,000 calls, AUC of the ten best"
COMMAND = "python -m egflow.benchmark suite=molecules_pmo"
PUBLISHED = {
    "albuterol_similarity": (0.882, 0.838),
    "amlodipine_mpo": (0.635, 0.661),
    "celecoxib_rediscovery": (0.713, 0.630),
    "deco_hop": (0.666, 0.619),
    "fexofenadine_mpo": (0.784, 0.760),
    "isomers_c7h8n2o2": (0.852, 0.862),
    "isomers_c9h10n2o2pf2cl": (0.642, 0.719),
    "median1": (0.356, 0.294),
    "median2": (0.276, 0.273),
    "mestranol_similarity": (0.618, 0.579),
    "osimertinib_mpo": (0.837, 0.831),
    "perindopril_mpo": (0.537, 0.538),
    "qed": (0.941, 0.940),
    "ranolazine_mpo": (0.760, 0.728),
    "scaffold_hop": (0.560, 0.517),
    "sitagliptin_mpo": (0.021, 0.433),
    "thiothixene_rediscovery": (0.534, 0.479),
    "troglitazone_rediscovery": (0.441, 0.390),
    "valsartan_smarts": (0.178, 0.000),
    "zaleplon_mpo": (0.358, 0.346),
}
OLD_ORACLES = ("isomers_c7h8n2o2", "isomers_c9h10n2o2pf2cl", "sitagliptin_mpo", "zaleplon_mpo")
SEED = 1


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each task, and the sums. quick: two tasks, 300 calls."""
    cells = out / "molecules_pmo_cells"
    cells.mkdir(parents=True, exist_ok=True)
    tasks = list(TASKS)[: 2 if quick else None]
    columns: dict[str, list[float]] = {}
    kept: list[list[float]] = []
    for task in tasks:
        made = [pmo_cell(task, one, SEED, cells, calls=300 if quick else 10_000) for one in ("egflow", "reinvent")]
        figures = [float(str(one["auc"])) for one in made] + list(PUBLISHED[task])
        kept += [figures] if task not in OLD_ORACLES else []
        names = ("egflow", "policy gradient", "REINVENT", "Graph GA")
        for name, value in zip(names, figures, strict=True):
            columns.setdefault(name, []).append(value)
        star = " *" if task in OLD_ORACLES else ""
        row: dict[str, object] = {"task": task + star, **dict(zip(names, figures, strict=True))}
        yield row | {
            "best": made[0]["top1"],
            "calls": made[0]["calls"],
            "minutes": made[0]["minutes"],
            "device": made[0]["device"],
        }
    yield {"task": f"sum of {len(tasks)}"} | {name: round(sum(values), 3) for name, values in columns.items()}
    sums = [round(sum(values), 3) for values in zip(*kept, strict=True)]
    yield {"task": f"sum of the {len(kept)} without *"} | dict(zip(columns, sums, strict=True))
