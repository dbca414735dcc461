"""Train the prior that ships with the package: a recurrent flow of MOSES, left to right.

    python -m egflow_molecules.moses                                        # fetch the data, once
    python -m egflow_molecules.train_prior folder=runs/prior steps=40000    # go on with the same command

A stop costs at most the steps since the last checkpoint in ``folder``: the same command goes on from there. The result
is ``folder/model``, its weights in float16.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

import egflow
from egflow.flow import Flow, TokenFlow
from egflow.network import Recurrent
from egflow.training import TrainingOptions
from egflow_molecules import moses
from egflow_molecules.smiles import LENGTH, NEST, PAD_ID, RINGS, VOCAB_SIZE, encode

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True)
class PriorSettings:
    """How the prior is trained.

    Attributes:
        folder: of checkpoints, metrics and the result.
        moses: where `egflow_molecules.moses` put the data.
        steps, batch_size, learning_rate, ema: as in `egflow.fit`.
        width, depth: of the recurrent network.
        autocast: compute in bfloat16.
        device: None takes CUDA where there is one.
        seed: fixes everything on one device.
    """

    folder: str = "runs/prior"
    moses: str = str(moses.FOLDER)
    steps: int = 40_000
    batch_size: int = 2_048
    learning_rate: float = 2e-3
    ema: float = 0.999
    width: int = 512
    depth: int = 2
    autocast: bool = True
    device: str | None = None
    seed: int = 0


def train_prior(settings: PriorSettings, x: Tensor | None = None) -> Flow:
    """The flow of MOSES, trained or gone on with, and written to ``folder/model`` in float16.

    Args:
        settings: see there.
        x: MOSES's training part by `egflow_molecules.smiles.encode`, or other molecules for a trial; None reads it.

    Raises:
        FileNotFoundError: where MOSES was not fetched, naming the command.
    """
    folder = Path(settings.folder)
    if x is None:
        x = encode(moses.smiles("train", settings.moses))
    torch.manual_seed(settings.seed)
    network = Recurrent(VOCAB_SIZE + 2, VOCAB_SIZE + 1, LENGTH, settings.width, settings.depth, nest=NEST, twice=RINGS)
    flow = egflow.fit(
        x,
        vocab_size=VOCAB_SIZE,
        pad_id=PAD_ID,
        network=network,
        steps=settings.steps,
        batch_size=settings.batch_size,
        device=settings.device,
        seed=settings.seed,
        options=TrainingOptions(
            learning_rate=settings.learning_rate,
            ema=settings.ema,
            autocast=settings.autocast,
            folder=folder,
            resume=True,
            checkpoint_every=2_000,
            log_every=200,
        ),
    )
    flow.network.half()  # half the size on disk; loaded, it computes in float32
    flow.save(folder / "model")
    flow.network.float()
    return flow


def balanced(flow: TokenFlow) -> TokenFlow:
    """The flow with a network that knows which SMILES tokens must balance (`egflow.network.Recurrent`, ``nest``).

    What it learns of them starts at zero, and what is impossible is so at once.
    """
    assert isinstance(flow.network, Recurrent)
    network = Recurrent(**{**flow.network.config, "nest": NEST, "twice": RINGS, "length": LENGTH})
    network.load_state_dict(flow.network.state_dict(), strict=False)
    return TokenFlow(network.eval(), LENGTH, vocab_size=VOCAB_SIZE, pad_id=PAD_ID)


def read_settings(kind: type[Settings], arguments: list[str]) -> Settings:
    """``key=value`` for every field of a dataclass of settings. Raises SystemExit(2) with one line for any other."""
    kinds = {field.name: type(field.default) for field in fields(kind)}  # type: ignore[arg-type]
    given = {}
    for argument in arguments:
        key, sign, value = argument.partition("=")
        if not sign or key not in kinds:
            print(f"error: {argument!r} is not one of {', '.join(f'{name}=' for name in kinds)}", file=sys.stderr)
            raise SystemExit(2)
        if kinds[key] is bool:
            given[key] = value.lower() in ("1", "true")
        else:
            given[key] = value if kinds[key] in (str, type(None)) else kinds[key](value)
    return kind(**given)


if __name__ == "__main__":
    train_prior(read_settings(PriorSettings, sys.argv[1:]))
