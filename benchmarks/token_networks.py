"""Which network to give tokens: held-out likelihood, validity and speed after the same CPU time, on real text.

RDKit's NCI molecules (`rdkit/Data/NCI/first_5K.smi`, SMILES of at most 63 characters, each once), character by
character, padded at the end; one in ten is held out. Each network is trained for 90 CPU seconds on one thread, in
batches of 64 of like lengths: Adam, warm-up and cosine by the clock, an average of the weights, bfloat16 where the CPU
has it. It is judged in float32.

- `nats held out`: mean −log p of a held-out molecule, its end included; for masked the bound of one random order.
- `nats trained on`: the same of as many training molecules: memorising shows as a gap.
- `valid`, `unique`, `new`: of the samples: parsed by RDKit; of those, distinct; of those, not in the data.
- `samples / CPU s`: drawing them with the path's default solver.

Cells are kept in `token_networks_cells/` while the suite runs: stopped and started again, it goes on.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from egflow.flow import TokenFlow
from egflow.network import Recurrent, Transformer
from egflow.objective import cross_entropy

TITLE = "Networks for tokens after equal CPU time (NCI SMILES, one thread)"
LENGTH = 64  # 63 characters and the end
PAD = -1
SECONDS = 90.0
BATCH, POOL = 64, 8


@dataclass(frozen=True, slots=True)
class Case:
    """A network, made for (inputs, outputs), its path and learning rate, and how much it is judged by."""

    path: str
    make: Callable[[int, int], nn.Module]
    rate: float
    samples: int = 2_000
    rows: int = 400


CASES = {
    "recurrent 2 x 256": Case("sequential", lambda i, o: Recurrent(i, o, LENGTH, 256), 3e-3),
    "recurrent 2 x 512": Case("sequential", lambda i, o: Recurrent(i, o, LENGTH, 512), 3e-3),
    "transformer 3 x 128": Case("sequential", lambda i, o: Transformer(i, o, LENGTH, 128, 3, causal=True), 2e-3),
    "transformer 4 x 192": Case("sequential", lambda i, o: Transformer(i, o, LENGTH, 192, 4, causal=True), 1e-3),
    # its likelihood and samples take a pass of the whole network for each token
    "transformer 4 x 192, masked": Case("masked", lambda i, o: Transformer(i, o, LENGTH, 192, 4), 1e-3, 300, 50),
}


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each network. quick: two seconds each."""
    cells = out / "token_networks_cells"
    cells.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    text, letters = nci()
    train, held_out = split(encode(text, letters))
    for name, case in CASES.items():
        cell = cells / f"{name}.json"
        if not cell.exists():
            torch.manual_seed(0)
            network = case.make(len(letters) + 2, len(letters) + 1)
            flow = TokenFlow(network, LENGTH, vocab_size=len(letters), pad_id=PAD, path=case.path)
            row: dict[str, object] = {"network": name, "path": case.path}
            row["parameters"] = f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M"
            row["steps"] = fit(flow, train, 2.0 if quick else SECONDS, case.rate)
            rows, n = (8, 20) if quick else (case.rows, case.samples)
            row["nats held out"] = round(nats(flow, held_out[:rows]), 2)
            row["nats trained on"] = round(nats(flow, train[:rows]), 2)
            cell.write_text(json.dumps(row | judge(flow, n, set(text), letters)))
        yield json.loads(cell.read_text())
    shutil.rmtree(cells)


def nci() -> tuple[list[str], str]:
    """The molecules, and the letters they are written with."""
    import rdkit

    lines = (Path(rdkit.__file__).parent / "Data" / "NCI" / "first_5K.smi").read_text().splitlines()
    text = sorted({line.split()[0] for line in lines if line.strip()})
    text = [smiles for smiles in text if len(smiles) < LENGTH]
    return text, "".join(sorted(set("".join(text))))


def encode(text: list[str], letters: str) -> Tensor:
    """(N, 64) long: the letters' numbers, then padding."""
    return torch.tensor([[letters.index(c) for c in smiles] + [PAD] * (LENGTH - len(smiles)) for smiles in text])


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Training and held-out rows."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order[len(x) // 10 :]], x[order[: len(x) // 10]]


def fit(flow: TokenFlow, x: Tensor, seconds: float, rate: float) -> int:
    """Train for some CPU seconds, leave the average of the weights in the flow, and return the number of steps."""
    network, path, words = copy.deepcopy(flow.network).train(), flow.path, flow.vocabulary
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.98), fused=True)
    generator, lengths, x = torch.Generator().manual_seed(0), (x != PAD).sum(1), words.encode(x)
    half = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    start, step, batches = time.process_time(), 0, x
    while (passed := (time.process_time() - start) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = rate * min(1.0, passed / 0.05) * 0.5 * (1 + math.cos(math.pi * passed))
        if step % POOL == 0:
            pool = torch.randint(len(x), (POOL * BATCH,), generator=generator)
            batches = pool[lengths[pool].argsort()].view(POOL, BATCH)[torch.randperm(POOL, generator=generator)]
        rows = batches[step % POOL]
        # left to right, what comes after the longest of a batch is never asked for
        longest = min(int(lengths[rows].max()) + 1, LENGTH) if path.name == "sequential" else LENGTH
        t = torch.rand(BATCH, generator=generator)
        point = path.sample(x[rows, :longest], t, lambda *shape: torch.rand(BATCH, *shape, generator=generator), words)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(point.x_t, point.t)
        log_p = path.tell(logits.float(), point.x_t, point.t, words)
        loss = cross_entropy(log_p, point).mean() * longest / 30  # of the order of nats a letter
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            for kept, new in zip(flow.network.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, max(1 / step, 0.005))
    return step


def nats(flow: TokenFlow, x: Tensor) -> float:
    """Mean −log p of rows."""
    return -float(flow.log_prob(x, probes=1).mean())


def judge(flow: TokenFlow, n: int, known: set[str], letters: Sequence[str]) -> dict[str, object]:
    """The figures of n samples."""
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    start = time.process_time()
    samples = flow.sample(n, seed=1)
    seconds = time.process_time() - start
    text = ["".join(letters[int(i)] for i in row if i != PAD) for row in samples.tolist()]
    valid = [smiles for smiles in text if smiles and Chem.MolFromSmiles(smiles) is not None]
    distinct = set(valid)
    return {
        "valid": round(len(valid) / len(text), 3),
        "unique": round(len(distinct) / max(len(valid), 1), 3),
        "new": round(len(distinct - known) / max(len(distinct), 1), 3),
        "samples / CPU s": round(n / seconds, 1) if n < 100 * seconds else round(n / seconds),
    }
