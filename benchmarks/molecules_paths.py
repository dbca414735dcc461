"""Molecules: the sequential and the masked path after the same CPU time, on MOSES.

300,000 of MOSES's molecules as tokens of `egflow_molecules.smiles`; each network is trained for 300 CPU seconds on one
thread by the loop of the suite `token_networks` (batches of 64 of like lengths, Adam, warm-up and cosine by the clock),
and judged in float32.

- `nats, test`: mean −log p of a test molecule, its end included; for masked the bound of one random order.
- `valid`, `unique`, `new`: of the samples: parsed by RDKit; of those, distinct; of those, not trained on.
- `samples / CPU s`: drawing them with the path's default solver.

Cells are kept in `molecules_paths_cells/` while the suite runs: stopped and started again, it goes on. Takes
`python -m egflow_molecules.moses`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from egflow_molecules import moses
from egflow_molecules.smiles import ALPHABET, PAD_ID, VOCAB_SIZE, encode
from token_networks import LENGTH, PAD, Case, fit, judge, nats

from egflow.flow import TokenFlow
from egflow.network import Recurrent, Transformer

TITLE = "Molecules: paths after equal CPU time (MOSES, one thread)"
SECONDS = 300.0
CASES = {
    "recurrent 2 x 512": Case("sequential", lambda i, o: Recurrent(i, o, LENGTH, 512), 3e-3),
    "transformer 4 x 192": Case("masked", lambda i, o: Transformer(i, o, LENGTH, 192, 4), 1e-3, 300, 50),
}


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each path. quick: two seconds each."""
    cells = out / "molecules_paths_cells"
    cells.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    text = moses.smiles("train")[:: 500 if quick else 5]
    known = set(text)
    x, test = (encode(one)[:, :LENGTH] for one in (text, moses.smiles("test")[::400]))
    x, test = (part.masked_fill(part == PAD_ID, PAD) for part in (x, test))
    for name, case in CASES.items():
        cell = cells / f"{case.path}.json"
        if not cell.exists():
            torch.manual_seed(0)
            network = case.make(VOCAB_SIZE + 2, VOCAB_SIZE + 1)
            flow = TokenFlow(network, LENGTH, vocab_size=VOCAB_SIZE, pad_id=PAD, path=case.path)
            row: dict[str, object] = {"path": case.path, "network": name}
            row["parameters"] = f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"
            row["steps"] = fit(flow, x, 2.0 if quick else SECONDS, case.rate)
            row["nats, test"] = round(nats(flow, test[: 8 if quick else case.rows]), 2)
            found = judge(flow, 20 if quick else case.samples, known, ALPHABET)
            cell.write_text(json.dumps(row | found))
        yield json.loads(cell.read_text())
    shutil.rmtree(cells)
