"""Teach a prior validity from its own mistakes: the prior's tilt by E = 1{invalid}, fitted by log-variance.

    python -m egflow_molecules.refine_prior start=runs/prior/model folder=runs/refined draws=300000 steps=4000

Draws of the prior come with their likelihood p and RDKit's word. The refined q is fitted to p·exp(−beta·1{invalid}) on
them (`egflow.training.LogVariance`): what is valid keeps its likelihood but for a common factor, what is not has
exp(−beta) of it. No data are needed, and nothing but validity changes, up to the error of the fit.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from egflow._files import write_atomic, write_text
from egflow.flow import Flow, TokenFlow
from egflow.report import held_out_split
from egflow.training import LogVariance, Population, TrainingOptions, mix, train
from egflow.weights import Resample
from egflow_molecules._rdkit import mol_from_smiles
from egflow_molecules.smiles import decode
from egflow_molecules.train_prior import balanced, read_settings

_AT_ONCE = 20_000  # draws
_INVALID = 0.25  # of a batch


@dataclass(frozen=True, slots=True)
class RefineSettings:
    """How a prior is refined.

    Attributes:
        start: the saved prior.
        folder: of draws, checkpoints, metrics and the result, ``folder/model``.
        draws: of the prior.
        beta: what is invalid is to have exp(−beta) of its likelihood.
        steps, batch_size, learning_rate: of the training.
        workers: processes that tell what is valid; 0 does so here.
        device: None takes CUDA where there is one.
        seed: fixes everything on one device with one number of threads.
    """

    start: str = "runs/prior/model"
    folder: str = "runs/refined"
    draws: int = 300_000
    beta: float = 3.0
    steps: int = 4_000
    batch_size: int = 256
    learning_rate: float = 3e-4
    workers: int = 0
    device: str | None = None
    seed: int = 0


def valid_smiles(smiles: list[str]) -> list[bool]:
    """Which are molecules."""
    return [bool(one) and mol_from_smiles(one) is not None for one in smiles]


@contextmanager
def checker(workers: int) -> Iterator[Callable[[list[str]], list[bool]]]:
    """`valid_smiles`, by this many processes of their own."""
    if workers == 0:
        yield valid_smiles
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:

        def shared(smiles: list[str]) -> list[bool]:
            each = -(-len(smiles) // workers)
            parts = [smiles[i : i + each] for i in range(0, len(smiles), each)]
            return [one for part in pool.map(valid_smiles, parts) for one in part]

        yield shared


def own_draws(flow: TokenFlow, settings: RefineSettings) -> dict[str, Tensor]:
    """Draws of the prior: ``x`` (N, length) uint8, ``log_p`` and ``valid`` (N,); kept in ``folder`` part by part."""
    weights = hashlib.sha256((Path(settings.start) / "weights.safetensors").read_bytes()).hexdigest()
    folder = Path(settings.folder) / f"draws-{weights[:12]}"  # another prior's are not taken for this one's
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    with checker(settings.workers) as valid:
        for number, begin in enumerate(range(0, settings.draws, _AT_ONCE)):
            n, seed = min(_AT_ONCE, settings.draws - begin), mix(settings.seed, 5, number)
            file = folder / f"{number:04d}-{n}-{seed % 10**9}.safetensors"
            if not file.exists():
                x, log_p = flow.sample_with_log_prob(n, seed=seed)
                x = x.cpu()
                part = {"x": x.to(torch.uint8), "log_p": log_p.cpu(), "valid": torch.tensor(valid(decode(x)))}
                write_atomic(file, lambda temporary, part=part: save_file(part, temporary))
                print(f"{begin + n:,} of {settings.draws:,} draws, {float(part['valid'].float().mean()):.2%} valid")
            parts.append(load_file(file))
    return {name: torch.cat([part[name] for part in parts]) for name in ("x", "log_p", "valid")}


def refine_prior(settings: RefineSettings) -> TokenFlow:
    """The refined prior, gone on with where a part is there, and written to ``folder/model`` in float16.

    Raises:
        FileNotFoundError: where there is no prior to start from.
        ValueError: where all draws are valid, so that there is nothing to learn, or the folder is of another beta.
    """
    folder = Path(settings.folder)
    note = folder / "refined.json"
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != {"beta": settings.beta}:
        raise ValueError(f"{folder} holds a training with another beta: take another folder")
    start = Flow.load(settings.start)
    assert isinstance(start, TokenFlow)
    flow = balanced(start)
    flow.to(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    write_text(note, json.dumps({"beta": settings.beta}))
    drawn = own_draws(flow, settings)
    valid = drawn["valid"]
    if bool(valid.all()):
        raise ValueError(f"all of the {len(valid):,} draws are valid: there is nothing to learn from them")
    z = flow.vocabulary.encode(drawn["x"].long()).to(flow.device)
    target = (drawn["log_p"] - settings.beta * (~valid).double()).to(flow.device)
    share = float((~valid).double().mean())
    log_w = torch.where(valid, (1 - _INVALID) / max(1 - share, 1e-9), _INVALID / share).double().log()

    def population(rows: Tensor) -> Population:
        return Population(z[rows], target[rows], Resample().prepare(log_w[rows], log_w[rows]))

    own, watched = held_out_split(len(z))
    made = train(
        flow.network,
        LogVariance(flow.vocabulary, population(own), population(watched)),
        steps=settings.steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        options=TrainingOptions(
            learning_rate=settings.learning_rate, ema=0.99, autocast=flow.device.type == "cpu", folder=folder,
            resume=True, checkpoint_every=250, log_every=50,
        ),
    )  # fmt: skip
    refined = copy.copy(flow)
    refined.network = made.network.half()
    refined.save(folder / "model")
    refined.network.float()
    return refined


if __name__ == "__main__":
    refine_prior(read_settings(RefineSettings, sys.argv[1:]))
