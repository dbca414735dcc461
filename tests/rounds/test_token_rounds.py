"""Rounds on tokens, left to right: a space that can be enumerated, a target of which p has hardly a draw."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

import egflow
from egflow.flow import TokenFlow
from egflow.network import Recurrent
from egflow.training import TrainingOptions

VOCABULARY, LENGTH = 3, 5
QUIET = TrainingOptions(progress="quiet", learning_rate=4e-3)
SPACE = torch.tensor(list(product(range(VOCABULARY), repeat=LENGTH)))
FIRST = torch.tensor([0.86, 0.1, 0.04])


def table() -> Tensor:
    """(243,) p of each row: letters independent, the last one rare."""
    return FIRST.double()[SPACE].prod(1)


def log_p(x: Tensor) -> Tensor:
    return FIRST.double().log()[x].sum(1)


def rare_letters(x: Tensor) -> Tensor:
    """Minus the number of the rarest letter."""
    return -(x == 2).sum(1).float()


def row_index(x: Tensor) -> Tensor:
    return (x * VOCABULARY ** torch.arange(LENGTH - 1, -1, -1)).sum(1)


@pytest.fixture(scope="module")
def data() -> Tensor:
    return SPACE[torch.multinomial(table(), 2_000, replacement=True, generator=torch.Generator().manual_seed(0))]


@pytest.fixture(scope="module")
def base(data: Tensor) -> TokenFlow:
    torch.manual_seed(0)
    network = Recurrent(inputs=VOCABULARY + 1, outputs=VOCABULARY, length=LENGTH, width=32)
    made = egflow.fit(data, vocab_size=VOCABULARY, network=network, steps=400, batch_size=128, options=QUIET)
    assert isinstance(made, TokenFlow)
    return made


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.filterwarnings("ignore:rounds stopped")
def test_the_enumerated_target_is_met(base: TokenFlow, data: Tensor, given: bool) -> None:
    """At beta 6 the letter of share .04 has .93, a row of five of them .69, where p has one in ten million."""
    made = egflow.tilt(
        base,
        rare_letters,
        6.0,
        data=data if given else None,
        rounds="auto",
        log_p=log_p if given else None,
        method="cefm",
        steps=200,
        batch_size=128,
        options=QUIET,
    )
    assert made.report is not None and made.report.rounds is not None
    assert made.beta == 6.0 and made.report.rounds["stopped"] is None
    # without log_p, p is the base itself, whose probabilities are exact
    p = log_p(SPACE) if given else base.log_prob(SPACE)
    target = torch.softmax(p - 6.0 * rare_letters(SPACE), 0)
    x = made.solve(20_000, seed=1).y
    share = torch.bincount(row_index(x), minlength=len(SPACE)).double() / len(x)
    assert float((share - target).abs().sum()) / 2 < 0.06  # a fit of 200 steps; 20,000 perfect draws give .01
    exact = float(target @ rare_letters(SPACE).double())
    assert float(rare_letters(x).double().mean()) == pytest.approx(exact, abs=0.06)
    found, error = made.report.energy_mean["target"], made.report.energy_mean["target_stderr"]
    assert found is not None and error is not None and found == pytest.approx(exact, abs=4 * error + 1e-9)
    wanted = float(torch.logsumexp(p - 6.0 * rare_letters(SPACE).double(), 0))
    assert made.report.log_z == pytest.approx(wanted, abs=0.3) and math.exp(wanted) > 1e6


def test_paths_without_a_likelihood_are_refused(data: Tensor) -> None:
    masked = egflow.fit(data, vocab_size=VOCABULARY, path="masked", steps=2, batch_size=32, options=QUIET)
    with pytest.raises(ValueError, match="path 'masked' has none"):
        egflow.tilt(masked, rare_letters, 1.0, data=data, rounds="auto", options=QUIET)
