"""Real text: a prior over RDKit's NCI SMILES, character by character, and its tilt against oxygen. Slow."""

from __future__ import annotations

from pathlib import Path

import pytest
import rdkit
import torch
from torch import Tensor

import egflow
from egflow.flow import Flow
from egflow.network import Recurrent
from egflow.report import held_out_split
from egflow.training import TrainingOptions
from egflow.weights import n_eff

pytestmark = pytest.mark.slow

LONGEST, BETA = 40, 0.7


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def text() -> list[str]:
    lines = (Path(rdkit.__file__).parent / "Data" / "NCI" / "first_5K.smi").read_text().splitlines()
    return sorted({line.split()[0] for line in lines if line.strip() and len(line.split()[0]) <= LONGEST})


@pytest.fixture(scope="module")
def letters(text: list[str]) -> str:
    return "".join(sorted(set("".join(text))))


@pytest.fixture(scope="module")
def tokens(text: list[str], letters: str) -> Tensor:
    """Padded with −1, shuffled: the text was sorted, and the split goes by place."""
    rows = [[letters.index(c) for c in smiles] + [-1] * (LONGEST - len(smiles)) for smiles in text]
    return torch.tensor(rows)[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]


def fit(tokens: Tensor, letters: str, steps: int) -> Flow:
    torch.manual_seed(0)
    network = Recurrent(inputs=len(letters) + 2, outputs=len(letters) + 1, length=LONGEST, width=256)
    options = TrainingOptions(learning_rate=3e-3, autocast=True, ema=0.99, progress="quiet")
    return egflow.fit(
        tokens, vocab_size=len(letters), pad_id=-1, network=network, steps=steps, batch_size=64, options=options
    )


@pytest.fixture(scope="module")
def base(tokens: Tensor, letters: str) -> Flow:
    return fit(tokens, letters, 450)


@pytest.fixture(scope="module")
def oxygens(letters: str) -> egflow.EnergyModel:
    """E: how many O a row has."""
    oxygen = letters.index("O")
    return egflow.as_energy(lambda x: (x == oxygen).sum(1).float())


@pytest.fixture(scope="module")
def guided(base: Flow, oxygens: egflow.EnergyModel, tokens: Tensor) -> Flow:
    options = TrainingOptions(learning_rate=1e-3, autocast=True, ema=0.99, progress="quiet")
    return egflow.tilt(base, oxygens, BETA, data=tokens, steps=150, batch_size=64, options=options)


def valid_share(x: Tensor, letters: str) -> float:
    from rdkit import Chem, RDLogger

    RDLogger.DisableLog("rdApp.*")
    made = ["".join(letters[i] for i in row if i >= 0) for row in x.tolist()]
    return sum(bool(smiles) and Chem.MolFromSmiles(smiles) is not None for smiles in made) / len(made)


def split(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Rows trained on, and held out."""
    train, held_out = held_out_split(len(tokens))
    return tokens[train], tokens[held_out]


def weighted(values: Tensor, log_w: Tensor) -> tuple[float, float]:
    """Self-normalised mean, and its variance."""
    w = torch.softmax(log_w, 0)
    mean = float(w @ values)
    return mean, float(w @ (values - mean).square()) / n_eff(log_w)


def test_the_prior_tells_held_out_molecules_and_writes_valid_ones(base: Flow, tokens: Tensor, letters: str) -> None:
    """Letters drawn at their frequencies take 2.1 nats each and are hardly ever valid."""
    rows = split(tokens)[1]
    letters_and_end = (rows >= 0).sum() + len(rows)
    assert -float(base.log_prob(rows).sum() / letters_and_end) < 0.8
    untrained = fit(tokens, letters, 1)
    assert valid_share(untrained.sample(400), letters) < 0.1
    assert valid_share(base.sample(400), letters) > 0.5


def test_samples_are_as_long_as_molecules_and_padded_at_their_end(base: Flow, tokens: Tensor, letters: str) -> None:
    """Mean length within four standard errors: of the molecules held out, of those trained on, of the samples."""
    x = base.sample(2_000)
    assert x.shape == (2_000, LONGEST) and x.min() >= -1 and x.max() < len(letters)
    padding = x == -1
    assert torch.equal(padding, padding.cummax(1).values)
    lengths = [(rows >= 0).sum(1).double() for rows in (x, *split(tokens))]
    error = sum(float(part.var()) / len(part) for part in lengths) ** 0.5
    assert abs(lengths[0].mean() - lengths[2].mean()) < 4 * error


def test_the_tilt_has_the_letters_of_the_weighted_molecules(
    base: Flow, guided: Flow, oxygens: egflow.EnergyModel, tokens: Tensor
) -> None:
    """Mean count of O against the held-out molecules weighted by exp(−beta·E), within four standard errors: of those
    few, and of those trained on, whose mean the network learns. The prior itself is far outside.
    """
    moments = [weighted(e, -BETA * e) for e in (oxygens(rows).double() for rows in split(tokens))]
    allowed = 4 * sum(variance for _, variance in moments) ** 0.5
    target = moments[1][0]
    generated, prior = (float(oxygens(x).mean()) for x in (guided.sample(4_000, correct=False), base.sample(4_000)))
    assert abs(generated - target) < allowed
    assert abs(prior - target) > 3 * allowed


def test_correction_brings_the_samples_to_the_tilted_prior(
    base: Flow, guided: Flow, oxygens: egflow.EnergyModel
) -> None:
    """Against 20,000 samples of the prior, weighted: the mean energy lands within four standard errors, and the shares
    of molecules with 0, 1, … O come nearer than uncorrected.
    """
    e = oxygens(base.sample(20_000, seed=5)).double()
    target, variance = weighted(e, -BETA * e)
    shares = torch.bincount(e.long(), torch.softmax(-BETA * e, 0), minlength=LONGEST + 1)
    found = {}
    for correct in (False, True):
        made = oxygens(guided.sample(4_000, correct=correct, seed=6)).double()
        own = torch.bincount(made.long(), minlength=LONGEST + 1).double() / len(made)
        found[correct] = (float(made.mean()), float(0.5 * (own - shares).abs().sum()))
    report = guided.report
    assert report is not None and report.correction is not None
    few = n_eff(-BETA * e) / (4_000 * report.correction["ess_fraction"])  # no fewer are behind 4,000 drawn from 16,000
    allowed = 4 * (variance * (1 + few)) ** 0.5
    assert abs(found[True][0] - target) < allowed
    assert found[True][1] < found[False][1]
