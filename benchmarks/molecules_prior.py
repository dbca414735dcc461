"""The prior of molecules by MOSES's metrics, beside published models and beside real molecules.

30,000 samples, the first 30,000 of one seed. Metrics are those of `egflow_molecules.metrics`, which agree with molsets
0.3.1; the references are all of MOSES's test (176,074) and scaffold test (176,225) molecules.

- `valid`, `unique@1k`, `unique@10k`, `novelty`: shares; novelty among the different valid ones.
- `IntDiv`: 1 less the mean similarity of two.
- `FCD`, `SNN`, `Frag`, `Scaf`: of the valid ones, against test and testSF, the scaffold test set.
- `FCD@5k/test`: of the first 5,000 valid ones. FCD is biased up at small n: read it beside the row `real molecules`.
- `real molecules`: 30,000 (5,000) test molecules against the other test molecules: what a perfect model would get.
- `samples / CPU s`: drawing and decoding them, one thread.
- `log p, test`: mean natural log-likelihood of 20,000 of MOSES's test SMILES as they are written, ends included.

Published rows are means over runs at 30,000 samples, from the table of github.com/molecularsets/moses (README, commit
dd7ed6a), whose row `train` is all training molecules; and DiGress from its paper (arXiv 2209.14734, MOSES table), which
names no split: there the VAE has FCD .57, SNN .58, Scaf 5.9 %, MOSES's figures for testSF, so its FCD stands there.

Cells are kept in `molecules_prior_cells/` while the suite runs, statistics of the references beside MOSES's files for
good (about an hour the first time): stopped and started again, it goes on. Takes `python -m egflow_molecules.moses` and
`pip install --no-deps fcd_torch==1.0.7`.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _molecules_prior_sets import Statistics, cell, parts, statistics, training_set
from egflow_molecules import metrics, moses
from egflow_molecules.pretrained import prior
from egflow_molecules.smiles import decode, encode

TITLE = "Molecules: the prior by MOSES's metrics"
MOSES, DIGRESS = "github.com/molecularsets/moses", "arXiv 2209.14734"
COLUMNS = ("valid", "unique@1k", "unique@10k", "novelty", "IntDiv", "FCD/test", "FCD/testSF")
COLUMNS += ("SNN/test", "Frag/test", "Scaf/test", "Scaf/testSF")
PUBLISHED: dict[str, tuple[str, Sequence[float | None]]] = {
    "MOSES train": (MOSES, (1.0, 1.0, 1.0, None, 0.8567, 0.008, 0.4755, 0.6419, 1.0, 0.9907, 0.0)),
    "CharRNN": (MOSES, (0.9748, 1.0, 0.9994, 0.8419, 0.8562, 0.0732, 0.5204, 0.6015, 0.9998, 0.9242, 0.1101)),
    "AAE": (MOSES, (0.9368, 1.0, 0.9973, 0.7931, 0.8557, 0.5555, 1.0572, 0.6081, 0.991, 0.9022, 0.0789)),
    "VAE": (MOSES, (0.9767, 1.0, 0.9984, 0.6949, 0.8558, 0.099, 0.567, 0.6257, 0.9994, 0.9386, 0.0588)),
    "JTN-VAE": (MOSES, (1.0, 1.0, 0.9996, 0.9143, 0.8551, 0.3954, 0.9382, 0.5477, 0.9965, 0.8964, 0.1009)),
    "LatentGAN": (MOSES, (0.8966, 1.0, 0.9968, 0.9498, 0.8565, 0.2968, 0.8281, 0.5371, 0.9986, 0.8867, 0.1072)),
    "DiGress": (DIGRESS, (0.857, None, 1.0, 0.950, None, None, 1.19, None, None, None, None)),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Molecules of each kind; None: all."""

    samples: int = 30_000
    small: int = 5_000
    unique: tuple[int, int] = (1_000, 10_000)
    reference: int | None = None
    train: int | None = None
    told: int = 20_000


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for the prior, for real molecules, and for each published model. quick: few of everything."""
    torch.set_num_threads(1)
    sizes = Sizes(300, 100, (50, 100), 1_000, 2_000) if quick else Sizes()
    cells = out / "molecules_prior_cells"
    test = moses.smiles("test")
    test = [test[i] for i in np.random.default_rng(0).permutation(len(test))[: sizes.reference]]
    small, large, *rest = parts("test", test, (0, sizes.small, sizes.samples))
    scaffold_test = reduce(add, parts("test_scaffolds", moses.smiles("test_scaffolds")[: sizes.reference], (0,)))
    itself = metrics.frechet(small.moments, small.moments)
    assert abs(itself) < 1e-6, f"FCD of a set with itself is {itself}"

    flow = prior()
    drawn = cell(cells / "samples.json", lambda: draw(flow, sizes.samples))
    nats = cell(cells / "nats.json", lambda: float(flow.log_prob(encode(test[: sizes.told])).mean()))
    shares = cell(cells / "shares.json", lambda: fractions(drawn["smiles"], sizes))
    made = metrics.canonical(drawn["smiles"])
    first = statistics(made[: sizes.small], cells / "first.npz")
    whole = first + statistics(made[sizes.small :], cells / "rest.npz")
    others, every = reduce(add, rest), reduce(add, rest, small + large)
    row = {"model": f"egflow prior, {len(drawn['smiles']):,}"} | shares
    row |= cell(cells / "prior.json", lambda: distances(whole, every, scaffold_test))
    row |= {"FCD@5k/test": metrics.frechet(first.moments, every.moments)}
    yield row | {"samples / CPU s": drawn["speed"], "log p, test": nats, "source": "this suite"}

    real = test[: sizes.samples]
    shares = cell(cells / "shares_real.json", lambda: fractions(real, sizes))
    row = {"model": f"real molecules, {len(real):,}"} | shares
    row |= cell(cells / "real.json", lambda: distances(small + large, others, scaffold_test))
    row |= {"FCD@5k/test": metrics.frechet(small.moments, (large + others).moments)}
    yield row | {"source": "this suite"}
    for model, (source, figures) in PUBLISHED.items():
        published: dict[str, object] = {"model": model}
        yield published | dict(zip(COLUMNS, figures, strict=True)) | {"source": source}
    shutil.rmtree(cells)


def draw(flow: Any, n: int) -> dict[str, Any]:
    """SMILES of n samples, and how many were made in a CPU second."""
    flow.sample(16, seed=0)
    start = time.process_time()
    smiles = decode(flow.sample(n, seed=1))
    return {"smiles": smiles, "speed": round(n / (time.process_time() - start))}


def fractions(smiles: Sequence[str], sizes: Sizes) -> dict[str, float]:
    """The metrics that take no reference but the training molecules."""
    few, many = sizes.unique
    return {
        "valid": metrics.valid(smiles),
        "unique@1k": metrics.unique(smiles, few),
        "unique@10k": metrics.unique(smiles, many),
        "novelty": metrics.novelty(smiles, training_set(sizes.train), known_canonical=True),
    }


def distances(made: Statistics, test: Statistics, scaffold_test: Statistics) -> dict[str, float]:
    """The metrics of a set against MOSES's references."""
    return {
        "IntDiv": metrics.internal_diversity(made.bits),
        "FCD/test": metrics.frechet(made.moments, test.moments),
        "FCD/testSF": metrics.frechet(made.moments, scaffold_test.moments),
        "SNN/test": metrics.snn(made.bits, test.bits),
        "Frag/test": metrics.frag(made.fragments, test.fragments),
        "Scaf/test": metrics.scaf(made.scaffolds, test.scaffolds),
        "Scaf/testSF": metrics.scaf(made.scaffolds, scaffold_test.scaffolds),
    }
