"""The log-variance: 0 at the target and nowhere else, and its gradient leads there from rows of any distribution."""

from itertools import product

import pytest
import torch

from egflow.flow import TokenFlow
from egflow.network import Recurrent
from egflow.training import LogVariance, Population, StepDraws, TrainingOptions, train
from egflow.weights import Resample

VOCABULARY, LENGTH, PAD = 3, 4, 3
SPACE = torch.tensor([row + (PAD,) * (LENGTH - len(row)) for k in range(1, 5) for row in product(range(3), repeat=k)])


@pytest.fixture
def flow() -> TokenFlow:
    torch.manual_seed(0)
    network = Recurrent(inputs=VOCABULARY + 2, outputs=VOCABULARY + 1, length=LENGTH, width=32)
    return TokenFlow(network, LENGTH, vocab_size=VOCABULARY, pad_id=PAD)


def problem(flow: TokenFlow, target: torch.Tensor) -> LogVariance:
    even = torch.zeros(len(SPACE), dtype=torch.float64)
    rows = Population(flow.vocabulary.encode(SPACE), target, Resample().prepare(even, even))
    return LogVariance(flow.vocabulary, rows)


def test_it_is_zero_at_the_flow_itself_up_to_a_constant(flow: TokenFlow) -> None:
    matching = problem(flow, flow.log_prob(SPACE) + 7.0)
    batch = matching.batch(StepDraws.at(0, 0, 64, torch.Generator()), matching.train)
    losses = matching.losses(flow.network, batch).detach()
    assert losses.shape == (64,) and float(losses.max()) < 1e-8
    parts = batch.split(4)
    assert [len(part.target) for part in parts] == [16] * 4
    torch.testing.assert_close(torch.cat([part.point.x_1 for part in parts]), batch.point.x_1)


def test_an_energy_is_learnt_from_rows_that_are_drawn_evenly(flow: TokenFlow) -> None:
    """Rows stand for themselves: no weight says how likely they are."""
    energy = (SPACE == 2).sum(1).double()
    log_w = flow.log_prob(SPACE) - 2.0 * energy
    # left out of the space are rows that are empty or begin with the end
    target = torch.softmax(log_w, 0)
    options = TrainingOptions(progress="quiet", learning_rate=5e-3, ema=0.9)
    made = train(flow.network, problem(flow, log_w), steps=400, batch_size=64, seed=0, options=options)
    flow.network = made.network
    log_q = flow.log_prob(SPACE)
    gap = log_q - log_w
    assert float(gap.std()) < 0.1
    assert float((torch.softmax(log_q, 0) - target).abs().sum()) / 2 < 0.03
