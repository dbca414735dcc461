"""Teach a prior validity from its own mistakes, while it goes on learning the data.

    python -m egflow_molecules.refine_prior start=runs/prior/model folder=runs/refined steps=4000

The loss of a step is the cross-entropy of a batch of MOSES, plus

    strength · mean_i (1{x_i invalid} − share of invalid) · log q(x_i),      x_i drawn from q itself,

whose gradient is that of strength · P_q(invalid) (Williams 1992, doi 10.1007/BF00992696, with the mean as baseline).
No molecule of the data is invalid, so both terms are least at the data's own distribution: what the second adds is
where q goes wrong, which data alone never show.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from egflow.flow import Flow, TokenFlow
from egflow.report import held_out_split
from egflow.training import Population, TokenMatching, TrainingOptions, train
from egflow.weights import Resample
from egflow_molecules import moses
from egflow_molecules._rdkit import mol_from_smiles
from egflow_molecules.smiles import decode, encode
from egflow_molecules.train_prior import balanced, read_settings


@dataclass(frozen=True, slots=True)
class RefineSettings:
    """How a prior is refined.

    Attributes:
        start: the saved prior.
        folder: of checkpoints, metrics and the result, ``folder/model``.
        moses: where `egflow_molecules.moses` put the data.
        steps, batch_size, learning_rate: of the training; a half of the batch are data, a half own samples.
        strength: of the second term.
        seed: fixes everything on one device with one number of threads.
    """

    start: str = "runs/prior/model"
    folder: str = "runs/refined"
    moses: str = str(moses.FOLDER)
    steps: int = 4_000
    batch_size: int = 256
    learning_rate: float = 2e-4
    strength: float = 10.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Half:
    """A batch in two halves: data with their batch, and own samples with their advantage."""

    data: Any
    own: Any

    def split(self, parts: int) -> Sequence[Half]:
        """The same rows in consecutive parts."""
        return [Half(*both) for both in zip(self.data.split(parts), self.own.split(parts), strict=True)]


@dataclass(frozen=True, slots=True)
class Validity:
    """`egflow.training.Problem` of data and of the flow's own samples, of which each is a half of the batch.

    Attributes:
        matching: the data's part.
        flow: whose network is the one that is trained.
        strength, seed: see `RefineSettings`.
    """

    matching: TokenMatching
    flow: TokenFlow
    strength: float
    seed: int

    @property
    def train(self) -> Population:
        """The data to fit."""
        return self.matching.train

    held_out = None

    def batch(self, draws: Any, population: Population) -> Half:
        """A batch of data, and as many samples of the network as it now is."""
        data = self.matching.batch(draws, population)
        half = len(draws.u) // 2
        data = data.split(2)[0]
        self.flow.network.eval()
        x = self.flow.solve(half, seed=int(torch.randint(2**62, (), generator=draws.generator))).y.cpu()
        self.flow.network.train()
        wrong = torch.tensor([not one or mol_from_smiles(one) is None for one in decode(x)]).double()
        drawn = weighted_batch(self.matching, x, -self.strength * (wrong - wrong.mean()))
        return Half(data, drawn)

    def losses(self, network: nn.Module, batch: Half) -> Tensor:
        """Loss of each row, data first, (batch,)."""
        return torch.cat([self.matching.losses(network, batch.data), self.matching.losses(network, batch.own)])


def weighted_batch(matching: TokenMatching, x: Tensor, weight: Tensor) -> Any:
    """Rows x (n, length) of the user's ids as a batch with these weights of their cross-entropy."""
    from egflow.training import TokenBatch

    z = matching.vocabulary.encode(x).to(matching.train.x.device)
    t = torch.zeros(len(z), device=z.device)
    point = matching.path.sample(z, t, lambda *shape: torch.rand(len(z), *shape), matching.vocabulary)
    return TokenBatch(point, None, None, weight.to(t))


def refine_prior(settings: RefineSettings, x: Tensor | None = None) -> TokenFlow:
    """The refined prior, gone on with where a checkpoint is there, and written to ``folder/model`` in float16.

    Args:
        settings: see there.
        x: MOSES's training part by `egflow_molecules.smiles.encode`, or other molecules for a trial; None reads it.

    Raises:
        FileNotFoundError: where there is no prior to start from, or MOSES was not fetched, naming the command.
    """
    folder = Path(settings.folder)
    start = Flow.load(settings.start)
    assert isinstance(start, TokenFlow)
    flow = balanced(start)
    x = encode(moses.smiles("train", settings.moses)) if x is None else x
    kept, _ = held_out_split(len(x))  # those that the prior itself was held against stay unseen
    z = flow.vocabulary.encode(x[kept])
    uniform = torch.zeros(len(z), dtype=torch.float64)
    matching = TokenMatching(flow.path, flow.vocabulary, Population(z, None, Resample().prepare(uniform, uniform)))
    options = TrainingOptions(
        learning_rate=settings.learning_rate, ema=0.995, autocast=True, folder=folder, resume=True,
        checkpoint_every=250, log_every=50,
    )  # fmt: skip
    problem = Validity(matching, flow, settings.strength, settings.seed)
    made = train(
        flow.network,
        problem,
        steps=settings.steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        options=options,
    )
    refined = copy.copy(flow)
    refined.network = made.network.half()
    refined.save(folder / "model")
    refined.network.float()
    return refined


if __name__ == "__main__":
    refine_prior(read_settings(RefineSettings, sys.argv[1:]))
