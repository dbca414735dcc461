"""One task of PMO by one method: 10,000 calls, and the area under the mean of the ten best so far."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from egflow_molecules.decoders import DECODERS
from egflow_molecules.edits import EDITOR
from egflow_molecules.energies import Task
from egflow_molecules.pretrained import prior
from torch import Tensor

from egflow._files import write_text
from egflow._search import Plan, Search
from egflow.energy import bind_decoders, evaluate
from egflow.flow import TokenFlow
from egflow.path import Sequential
from egflow.training import TrainingOptions, mix, row_log_prob

CALLS, EVERY, TOP = 10_000, 100, 10
BETA = 50.0
STEPS, BATCH = 316, 128
SIGMA, RATE, REPLAY, MOST = 500.0, 5e-4, 24, 300  # of REINVENT; rounds at most, where items repeat


def area(scores: Sequence[float], calls: int = CALLS) -> float:
    """PMO's AUC of the top 10 (arXiv 2206.12411, and `optimizer.py` of its code): trapezoids of 100 calls, the last
    mean held where a search ends early, as a share of all calls."""
    total, before, at = 0.0, 0.0, 0
    for end in [*range(EVERY, len(scores), EVERY), len(scores)]:
        now = sum(sorted(scores[:end], reverse=True)[:TOP]) / TOP
        total += (end - at) * (before + now) / 2
        before, at = now, end
    return (total + (calls - at) * before) / calls


def pmo_cell(
    task: str, method: str, seed: int, folder: Path, device: str = "cpu", calls: int = CALLS
) -> dict[str, object]:
    """The cell's row, from its file where it is there."""
    file = folder / f"{task}-{method}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text())
    base = prior()
    base.to(device)
    started = time.monotonic()
    keys, scores, rounds = (searched if method == "egflow" else reinvent)(base, task, seed, calls)
    order = sorted(range(len(scores)), key=lambda i: -scores[i])[:TOP]
    row = {
        "task": task,
        "method": method,
        "seed": seed,
        "auc": round(area(scores, calls), 4),
        "top1": round(scores[order[0]], 4),
        "top10": round(sum(scores[i] for i in order) / TOP, 4),
        "calls": len(scores),
        "rounds": rounds,
        "minutes": round((time.monotonic() - started) / 60, 2),
        "device": device,
        "best": [keys[i] for i in order[:3]],
    }
    write_text(file, json.dumps(row, indent=1) + "\n")
    return row


def searched(base: TokenFlow, task: str, seed: int, calls: int) -> tuple[list[str], list[float], int]:
    """egflow's search, as ``rounds="auto"`` runs it."""
    energy = bind_decoders(Task(task), DECODERS)
    steps = max(1, STEPS * calls // CALLS)
    options = TrainingOptions(progress="quiet", autocast=True)
    found = Search(base, energy, BETA, Plan(calls, None, steps, BATCH, RATE, seed), EDITOR, options).run()
    return found.pool.key, (-found.pool.energy).tolist(), len(found.records)


def reinvent(base: TokenFlow, task: str, seed: int, calls: int) -> tuple[list[str], list[float], int]:
    """A policy gradient after REINVENT (Olivecrona et al. 2017, arXiv 1704.07555), on the same prior.

    A round draws 64, and takes one step on (log p + sigma·score − log q)² over them and 24 replayed ones, drawn ∝ score
    from the 100 best, once there are 100. Invalid strings have score 0; what repeats is not a call. PMO's code besides
    drops what repeats within a batch from the loss, and adds a term against large likelihoods.
    """
    energy = bind_decoders(Task(task), DECODERS)
    flow = copy.deepcopy(base)
    flow.network.train().requires_grad_(True)
    optimiser = torch.optim.Adam(flow.network.parameters(), lr=RATE)
    keys: list[str] = []
    scores: list[float] = []
    rows: list[Tensor] = []
    told: list[Tensor] = []  # log p of rows
    place: dict[str, int] = {}
    words, number = base.vocabulary, 0
    while len(scores) < calls and number < MOST:
        number += 1
        flow.network.eval()
        x = flow.solve(64, seed=mix(seed, 40, number)).y.cpu()
        flow.network.train()
        names = EDITOR.keys(x)
        new = [i for i, name in enumerate(names) if name is not None and name not in place and name not in names[:i]]
        new = new[: calls - len(scores)]
        log_p = base.log_prob(x)
        if new:
            found = (-evaluate(energy, x[new], allow_all_forbidden=True).energy).clamp(min=0.0).tolist()
            for i, score in zip(new, found, strict=True):
                place[str(names[i])] = len(scores)
                keys.append(str(names[i]))
                scores.append(score)
                rows.append(x[i])
                told.append(log_p[i])
        own = torch.tensor([scores[place[name]] if name in place else 0.0 for name in names])
        if len(scores) >= 100:
            top = sorted(range(len(scores)), key=lambda i: -scores[i])[:100]
            share = torch.tensor([scores[i] for i in top]) + 1e-6
            picked = torch.multinomial(share, REPLAY, generator=torch.Generator().manual_seed(mix(seed, 41, number)))
            x = torch.cat([x, torch.stack([rows[top[i]] for i in picked.tolist()])])
            log_p = torch.cat([log_p, torch.stack([told[top[i]] for i in picked.tolist()])])
            own = torch.cat([own, torch.tensor([scores[top[i]] for i in picked.tolist()])])
        z = words.encode(x).to(base.device)
        point = Sequential().point(z, words)
        target = log_p.to(base.device) + SIGMA * own.to(base.device).double()
        with torch.autocast(base.device.type, torch.bfloat16):
            log_q = row_log_prob(flow.network, point, words)
        loss = (target.to(log_q) - log_q).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return keys, scores, number
