"""The flow of tokens: likelihoods against enumeration, correction, and what it refuses."""

from __future__ import annotations

import warnings

import pytest
import torch
from test_token_samplers import SPACES, N, chi_square, table_flow
from token_tables import Table, frequencies, random_masses, total_variation

from egflow import as_energy, correct
from egflow.flow import TokenFlow
from egflow.path import Vocabulary
from egflow.solver import CTMC


@pytest.mark.parametrize("name", SPACES)
def test_sequential_likelihood_is_exact(name):
    flow, space, p = table_flow(name, "sequential")
    log_p, error = flow.log_prob_with_error(space)
    assert log_p.dtype == torch.float64 and float((log_p - p.log()).abs().max()) < 1e-5  # float32 logits
    assert bool((error == 0).all())
    x, log_q = flow.sample_with_log_prob(50, seed=3)
    assert torch.equal(x, flow.sample(50, seed=3)) and torch.equal(log_q, flow.log_prob(x))


@pytest.mark.parametrize("name", SPACES)
def test_masked_likelihood_is_exact_where_the_conditionals_agree(name):
    flow, space, p = table_flow(name, "masked")
    log_p, error = flow.log_prob_with_error(space, probes=2)
    assert float((log_p - p.log()).abs().max()) < 1e-5 and float(error.max()) < 1e-5
    assert bool(flow.log_prob_with_error(space[:2], probes=1)[1].isnan().all())


def test_masked_likelihood_bounds_the_sampler_from_below():
    """A network whose conditionals disagree: the mean over orders is under the log-probability of its samples."""
    space, size, _ = SPACES["full"]

    class Disagrees(Table):
        def forward(self, x, t, condition=None, beta=None):
            logits = super().forward(x, t)
            return logits + 1.5 * (x != self.words.own).double().sum(1)[:, None, None] * torch.arange(3)

    flow = TokenFlow(Disagrees(space, random_masses(81, 0), Vocabulary(3), "masked"), 4, vocab_size=size, path="masked")
    log_p, error = flow.log_prob_with_error(space, probes=64)
    drawn = frequencies(flow.sample(40_000), space)
    often = drawn > 0.005  # 200 draws or more: known to 7 %
    assert bool((log_p[often] < drawn[often].log() + 4 * error[often] + 0.3).all())
    assert float((drawn * (drawn.clamp_min(1e-9).log() - log_p)).sum()) > 0.05
    assert float(error.max()) > 0.01


def tilted(path: str = "sequential", wrong: float = 0.0) -> tuple[TokenFlow, torch.Tensor, torch.Tensor]:
    """A flow of q with its base, energy and beta at hand, as tilt leaves it; ``wrong`` adds noise to its masses."""
    base, space, p = table_flow("full", path)
    energy = as_energy(lambda x: (x == 1).double().sum(1))
    target = torch.softmax(p.log() - 1.0 * (space == 1).double().sum(1), 0)
    noise = wrong * torch.randn(len(p), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    network = Table(space, torch.softmax(target.log() + noise, 0), Vocabulary(3), path)
    flow = TokenFlow(network, 4, vocab_size=3, path=path)
    flow.base, flow.energy, flow.beta = base, energy, 1.0
    return flow, space, target


def test_sequential_samples_are_corrected_unless_told_not_to():
    flow, space, target = tilted(wrong=0.7)
    raw, mended = (frequencies(flow.sample(N, correct=c), space) for c in (False, None))
    # 4 N draws resampled to N: not quite independent, so distances are compared, not chi-squares
    floor = total_variation(frequencies(space[torch.multinomial(target, N, True)], space), target)
    assert total_variation(raw, target) > 5 * floor
    assert total_variation(mended, target) < 1.5 * floor
    assert torch.equal(flow.sample(100), flow.sample(100, correct=True))


def test_correction_is_left_out_where_it_cannot_be_had():
    flow, *_ = tilted()
    assert torch.equal(
        flow.sample(50, solver="ancestral", fixed=torch.full((50, 4), -1)), flow.sample(50, correct=False)
    )
    flow.energy = None  # as after loading
    with pytest.warns(UserWarning, match="not corrected: the energy is not at hand after loading"):
        flow.sample(50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.sample(50, correct=False)
        flow.sample(50, energy=as_energy(lambda x: (x == 1).double().sum(1)))
    with pytest.raises(ValueError, match="give energy= again"):
        flow.sample(50, correct=True)
    masked, *_ = tilted("masked")
    masked.sample(50)
    for path in ("masked", "uniform"):
        with pytest.raises(ValueError, match=f"needs exact likelihoods, and path '{path}' has none"):
            tilted(path)[0].sample(50, correct=True)


def test_correction_refuses_samples_that_are_not_the_flows():
    from egflow.solver import Ancestral

    flow, *_ = tilted()
    flow.sample(50, solver=Ancestral(temperature=0.7))  # by default: as it was asked for, not corrected
    with pytest.raises(ValueError, match=r"temperature 0\.7"):
        flow.sample(50, solver=Ancestral(temperature=0.7), correct=True)
    with pytest.raises(ValueError, match=r"temperature 0\.7 is not known"):
        flow.sample_with_log_prob(5, solver=Ancestral(temperature=0.7))
    with pytest.raises(ValueError, match="one prefix for all"):
        flow.sample(50, fixed=torch.full((50, 4), -1), correct=True)


def test_a_prefix_is_corrected_too():
    flow, space, target = tilted(wrong=0.7)
    given = space[:, 0] == 2
    y = flow.sample(N, fixed=torch.tensor([2, -1, -1, -1]))
    conditional = torch.where(given, target, 0.0) / target[given].sum()
    floor = total_variation(frequencies(space[torch.multinomial(conditional, N, True)], space), conditional)
    assert bool((y[:, 0] == 2).all()) and total_variation(frequencies(y, space), conditional) < 1.6 * floor


def test_egflow_correct_takes_tokens():
    flow, space, target = tilted(wrong=0.7)
    x = flow.sample(4 * N, correct=False)
    mended = correct(x, flow, flow.base, flow.energy, 1.0, n=N)
    assert abs(chi_square(mended, space, target)) < 8


def test_egflow_correct_refuses_estimates_and_no_likelihood():
    for path, words in (("masked", "are estimates: fit on path 'sequential'"), ("uniform", "has no likelihood")):
        flow, *_ = tilted(path)
        assert flow.base is not None and not isinstance(flow.energy, list)
        with pytest.raises(ValueError, match=words):
            correct(flow.sample(20), flow, flow.base, flow.energy, 1.0)


def test_refusals():
    flow, space, _ = table_flow("padding outside", "sequential")
    for x, words in (
        (torch.tensor([[0, 1, 3]]), r"must hold tokens 0 … 2 \(vocab_size=3\), or pad_id=-7; x\[0, 2\] is 3"),
        (torch.tensor([[0, -7, 1]]), r"at the end of a row only; x\[0, 2\] is a token after padding"),
        (torch.tensor([[0.0, 1.0, 1.0]]), "must hold tokens, a long tensor"),
        (torch.tensor([[0, 1]]), r"must have shape \(batch, 3\)"),
        (torch.tensor([0, 1, 1]), r"must have shape \(N, length\)"),
    ):
        with pytest.raises(ValueError, match=words):
            flow.log_prob(x)
    for call, words in (
        (flow.velocity, "no velocity"),
        (flow.integrate, "no ODE to integrate"),
        (flow.tune, "no ODE to tune"),
        (lambda: flow.sample(0), "n must be"),
        (lambda: flow.sample(3, beta=1.0), "beta must be None"),
        (lambda: flow.sample(3, fixed=torch.tensor([-1, 1, -1])), "only a prefix can be fixed"),
        (lambda: flow.sample(3, fixed=torch.tensor([3, -1, -1])), r"fixed\[0, 0\] is 3"),
        (lambda: flow.sample(3, fixed=torch.tensor([1, -1])), r"fixed must be long of shape \(3,\) or \(3, 3\)"),
        (lambda: flow.sample(3, fixed=torch.tensor([1.0, -1.0, -1.0])), "fixed must be long"),
        (lambda: flow.sample(3, fixed=torch.tensor([-7, 1, -1])), "fixed may hold padding"),
        (lambda: flow.sample(3, solver="rk4"), "unknown solver 'rk4' of tokens"),
        (lambda: flow.sample(3, condition=1), "condition must be None"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    uniform, *_ = table_flow("full", "uniform")
    for call in (lambda: uniform.log_prob(space), lambda: uniform.sample_with_log_prob(3)):
        with pytest.raises(ValueError, match="path 'uniform' has no likelihood"):
            call()
    with pytest.raises(ValueError, match="fixed positions need path 'masked'"):
        uniform.sample(3, fixed=torch.tensor([1, -1, -1, -1]))
    for arguments, words in (
        ({"vocab_size": 0}, "vocab_size must be a whole number"),
        ({"vocab_size": 3, "pad_id": 1.0}, "pad_id must be a whole number"),
        ({"vocab_size": 1, "pad_id": 0}, "no token is left"),
        ({"vocab_size": 3, "path": "cond_ot"}, "path must be one of sequential, masked, uniform"),
    ):
        with pytest.raises(ValueError, match=words):
            TokenFlow(torch.nn.Identity(), 4, **arguments)


def test_a_flow_names_itself_and_gives_long_tokens():
    flow, *_ = table_flow("full", "masked")
    assert repr(flow) == "TokenFlow(Table, event_shape=(4,), path=masked)"
    assert (flow.vocab_size, flow.pad_id, flow.length) == (3, None, 4)
    y = flow.sample(5, solver=CTMC(steps=2))
    assert y.dtype == torch.long and y.shape == (5, 4)
