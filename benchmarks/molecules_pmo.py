"""Molecules: PMO's protocol on the 20 of its 23 tasks that need RDKit alone, beside published figures.

The practical molecular optimisation benchmark (Gao et al., NeurIPS 2022, arXiv 2206.12411) allows 10,000 calls of a
score; the figure is the area under the mean of the ten best so far, 1 at most. One seed.

- `egflow`: the search that ``rounds=auto`` runs from the prior that ships, with edits: beta 50, 4 steps of 128 a round,
  316 where nothing repeats. Chosen by 4,000 calls of celecoxib_rediscovery and perindopril_mpo.
- `policy gradient`: one after REINVENT with PMO's main settings (64 a round, sigma 500, replay of 24) on the same
  prior, run here, 300 rounds at most: it repeats itself, and in 19 tasks made fewer calls than 10,000 (`calls, policy
  gradient`). Log p of replayed molecules was kept, not computed again, from the fourth task on.
- `REINVENT`, `Graph GA`: PMO's own table, means of 5 seeds, priors and populations from ZINC 250k, quoted second hand
  (the columns add up to the published sums within .012). In the four tasks marked `*` PMO's oracles were those of
  PyTDC 0.3.6, which read the number of atoms off the SMILES as though it were a formula (`egflow_molecules.energies`):
  not quite the same tasks.
- `best`: the best score found; `calls`: fewer than 10,000 where nothing new came.

- The search's log Z starts at the least −beta·E of the first round; in the first 15 tasks that were measured it started
  at 0 (all but deco_hop, isomers_c9h10n2o2pf2cl, scaffold_hop, thiothixene_rediscovery and valsartan_smarts).
- `device`: where egflow's search ran; ten tasks at a time on one GPU, an NVIDIA H200, the others on two cores beside
  other work.

Cells are kept in `molecules_pmo_cells/`, and with the repository: stopped and started again, it goes on. On one core a
task takes some twenty minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from _molecules_pmo_cell import pmo_cell
from egflow_molecules.energies import TASKS

TITLE = "Molecules: PMO, 10,000 calls, AUC of the ten best"
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


METHODS = {"egflow": "egflow", "reinvent": "policy gradient"}


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each task, and the sums. quick: two tasks, 300 calls."""
    cells = out / "molecules_pmo_cells"
    cells.mkdir(parents=True, exist_ok=True)
    tasks = list(TASKS)[: 2 if quick else None]
    made = []
    for task in tasks:
        made.append({
            method: pmo_cell(task, method, SEED, cells, calls=300 if quick else 10_000) for method in METHODS
        })  # fmt: skip
        yield row_of(task, made[-1])
    yield from sums(tasks, made)


def row_of(task: str, made: Mapping[str, Mapping[str, Any]]) -> dict[str, object]:
    """A task's row, of the cells there are."""
    row: dict[str, object] = {"task": task + (" *" if task in OLD_ORACLES else "")}
    row |= {name: made[method]["auc"] if method in made else None for method, name in METHODS.items()}
    row |= dict(zip(("REINVENT", "Graph GA"), PUBLISHED[task], strict=True))
    own = made.get("egflow", {})
    row |= {"best": own.get("top1"), **{name: own.get(name) for name in ("calls", "minutes", "device")}}
    return row | {"calls, policy gradient": made.get("reinvent", {}).get("calls")}


def sums(tasks: Sequence[str], made: Sequence[Mapping[str, Mapping[str, Any]]]) -> Iterator[dict[str, object]]:
    """The sums over all tasks, and over those whose oracles are the same; a method's that lacks one is None."""
    rows = [row_of(task, cells) for task, cells in zip(tasks, made, strict=True)]
    same = [row for row, task in zip(rows, tasks, strict=True) if task not in OLD_ORACLES]
    for word, some in ((f"sum of {len(rows)}", rows), (f"sum of the {len(same)} without *", same)):
        found: dict[str, object] = {"task": word}
        for name in (*METHODS.values(), "REINVENT", "Graph GA"):
            values: list[Any] = [row[name] for row in some]
            found[name] = None if None in values else round(sum(values), 3)
        yield found


def measured(cells: Path) -> list[dict[str, object]]:
    """Rows of the cells that are there, and the sums over the tasks that egflow has done: a part of the table."""
    made = {}
    for task in TASKS:
        files = {method: cells / f"{task}-{method}-{SEED}.json" for method in METHODS}
        made[task] = {method: json.loads(file.read_text()) for method, file in files.items() if file.exists()}
    done = [task for task in TASKS if "egflow" in made[task]]
    return [*(row_of(task, made[task]) for task in done), *sums(done, [made[task] for task in done])]
