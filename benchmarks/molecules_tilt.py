"""Tilts of the molecules' prior: how exact before the correction and after it, and how long they take.

The prior is tilted by a forecast of the energy (`method="twist"`, 20,000 draws of the prior, one training for every
beta from 0 to 3), for a property with a target, |logP − 4|; another, |TPSA − 60| / 20; and a black box without a
gradient or a scale, (rings − 3)² + 1 where there is no sulfonamide. p is the prior; invalid molecules are forbidden.

- `prior`: n_eff / N of exp(−beta·E) over the prior's own samples: what the tilt starts from.
- `tilted`: n_eff / N of prior·exp(−beta·E) / q over 2,000 of the flow's own samples, before any correction.
- `mean`, `target`: the mean energy of 1,000 delivered (corrected) molecules, and of 20,000 fresh draws of the prior,
  weighted, ± their standard errors; `errors`: the difference in standard errors of both.
- `KS`: between the two, of the energy. `unique`: different SMILES of the 1,000. `valid` before the correction.
- `train s`, `sample s`: CPU seconds of the training (once for both betas, without the draws), and of delivering 1,000.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from egflow_molecules.decoders import mols
from egflow_molecules.pretrained import prior
from egflow_molecules.smiles import decode
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.Crippen import MolLogP  # pyright: ignore[reportAttributeAccessIssue]  made at run time

from egflow._correct import correction_log_weights
from egflow._tilt_inputs import TiltInputs
from egflow._twist import twist
from egflow.energy import as_energy, evaluate
from egflow.flow import TokenFlow
from egflow.training import TrainingOptions
from egflow.weights import n_eff

TITLE = "Molecules: exactness of tilts of the prior, before and after correction"
BETAS = (1.0, 3.0)
SULFONAMIDE = Chem.MolFromSmarts("S(=O)(=O)N")


def black_box(mol: Chem.Mol) -> float:
    """A rule that nobody would differentiate."""
    return float((rdMolDescriptors.CalcNumRings(mol) - 3) ** 2 + (not mol.HasSubstructMatch(SULFONAMIDE)))


ENERGIES: dict[str, Callable[[Chem.Mol], float]] = {
    "abs(logP − 4)": lambda mol: abs(MolLogP(mol) - 4),
    "abs(TPSA − 60) / 20": lambda mol: abs(rdMolDescriptors.CalcTPSA(mol) - 60) / 20,
    "black box": black_box,
}


def run(out: Path, quick: bool = False) -> Iterator[dict[str, object]]:
    """Yield a row for each energy and beta. quick: one energy, barely trained."""
    cells = out / "molecules_tilt_cells"
    cells.mkdir(parents=True, exist_ok=True)
    scale = 20 if quick else 1
    base, draws = prior(), None
    for number, (name, fn) in enumerate(list(ENERGIES.items())[: 1 if quick else 3]):
        files = [cells / f"{number}-{beta:g}.json" for beta in BETAS]
        if not all(file.exists() for file in files):
            energy = as_energy(fn, decode=mols, batch=False, name=name)
            draws = [base.sample(20_000 // scale, seed=seed) for seed in (11, 12)] if draws is None else draws
            values = [evaluate(energy, x) for x in draws]
            started = time.process_time()
            flow = twist(
                base,
                TiltInputs(draws[0], None, None, [energy], [values[0]], "base"),
                ((0.0, BETAS[-1]),),
                steps=600 // scale,
                batch_size=256,
                seed=0,
                options=TrainingOptions(learning_rate=3e-3, ema=0.99, autocast=True, progress="plain"),
            )
            flow.base, flow.energy = base, energy
            seconds = time.process_time() - started
            for beta, file in zip(BETAS, files, strict=True):
                row = {"energy": name, "beta": beta} | measure(flow, beta, values[1], 2_000 // scale, 1_000 // scale)
                file.write_text(json.dumps(row | {"train s": round(seconds)}))
        yield from (json.loads(file.read_text()) for file in files)
    shutil.rmtree(cells)


def measure(flow: TokenFlow, beta: float, fresh, own: int, n: int) -> dict[str, object]:
    """The figures of a row."""
    at, energy = flow.at(beta), flow.energy
    assert at.base is not None and energy is not None and not isinstance(energy, list)
    solution = at.solve(own, seed=5)
    log_w, values = correction_log_weights(solution.y, at, at.base, energy, beta, None, solution.log_q)
    target_w = (-beta * fresh.values).masked_fill(fresh.forbidden, -math.inf)
    share = torch.softmax(target_w, 0)
    finite = fresh.values.masked_fill(fresh.forbidden, 0.0)
    target = float(share @ finite)
    target_error = float((share.square() @ (finite - target).square()).sqrt())
    started = time.process_time()
    made = at.sample(n, seed=6)
    seconds = time.process_time() - started
    got = evaluate(energy, made).values
    # of the correction's own draws: at least four times n, n_eff / N of them effective
    error = float(got.std()) / math.sqrt(min(n, 4 * n * n_eff(log_w) / own))
    return {
        "prior": round(n_eff(target_w) / len(target_w), 3),
        "tilted": round(n_eff(log_w) / own, 3),
        "valid": round(1 - float(values.forbidden.double().mean()), 3),
        "mean": f"{float(got.mean()):.3f} ± {error:.3f}",
        "target": f"{target:.3f} ± {target_error:.3f}",
        "errors": round(abs(float(got.mean()) - target) / math.hypot(error, target_error), 2),
        "KS": round(weighted_ks(got, finite, share), 3),
        "unique": round(len(set(decode(made))) / n, 3),
        "sample s": round(seconds, 1),
    }


def weighted_ks(x: torch.Tensor, y: torch.Tensor, share: torch.Tensor) -> float:
    """Largest difference of the distribution functions of x (n,) and of y (N,) with these shares."""
    places = torch.cat([x, y]).unique()
    own = torch.searchsorted(x.sort().values, places, right=True).double() / len(x)
    order = y.argsort()
    cumulated = torch.cat([torch.zeros(1, dtype=torch.float64), share[order].cumsum(0)])
    other = cumulated[torch.searchsorted(y[order], places, right=True)]
    return float((own - other).abs().max())
