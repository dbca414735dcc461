"""What a network is shown: the corruptions' laws, own ids, and the objective's minimiser by enumeration."""

from __future__ import annotations

import pytest
import torch
from token_tables import Table, full_space, padded_space, random_masses

from egflow.objective import cross_entropy
from egflow.path import Masked, Sequential, TokenPoint, UniformTokens, Vocabulary, make_path, make_token_path
from egflow.training import StepDraws


def point(path, x, words, seed=0):
    draws = StepDraws.at(seed, 0, len(x), torch.Generator())
    return path.sample(words.encode(x), draws.t, draws.uniform, words)


def test_masked_hides_every_number_of_positions_alike_and_any_of_them():
    x = torch.arange(5).expand(6_000, 5)
    words = Vocabulary(5)
    made = point(Masked(), x, words)
    hidden = made.x_t == words.own
    assert bool((torch.bincount(hidden.sum(1), minlength=6)[1:] == 1_200).all())  # stratified: exactly a fifth each
    # a position is hidden with probability E[m]/L = .6; over 6,000 rows its standard error is below .0064
    assert bool(((hidden.double().mean(0) - 0.6).abs() < 4 * 0.0064).all())
    assert bool((made.x_t[~hidden] == x[~hidden]).all())
    assert torch.allclose(made.share.sum(1), torch.ones(6_000))
    assert bool((made.share[~hidden] == 0).all())
    assert torch.allclose(made.t, 1 - hidden.float().mean(1))


def test_uniform_keeps_a_token_with_probability_kappa_and_a_chance_hit():
    x = torch.zeros(8_000, 3, dtype=torch.long)
    path = UniformTokens()
    made = point(path, x, Vocabulary(4))
    late = made.t > 0.5
    kept = (made.x_t == 0).double()
    kappa = path.kappa(made.t.double())
    assert torch.allclose(path.time(kappa), made.t.double(), atol=1e-4)
    for rows in (late, ~late):
        mean = float(kappa[rows].mean())
        expected = mean + (1 - mean) / 4
        assert abs(float(kept[rows].mean()) - expected) < 4 * (expected * (1 - expected) / 12_000) ** 0.5
    assert set(made.x_t.unique().tolist()) == {0, 1, 2, 3}


def test_sequential_sees_the_tokens_before_and_counts_up_to_the_first_end():
    words = Vocabulary(3, pad_id=9)
    made = point(Sequential(), torch.tensor([[2, 1, 9, 9], [0, 0, 1, 2], [9, 9, 9, 9]]), words)
    begin, end = words.own, words.end
    assert made.x_t.tolist() == [[begin, 2, 1, end], [begin, 0, 0, 1], [begin, end, end, end]]
    assert (made.share * 4).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


@pytest.mark.parametrize("pad_id", [0, 2, 7, -1])
def test_own_ids_never_leave(pad_id):
    words = Vocabulary(3, pad_id)
    space = padded_space(3, 4, pad_id)
    assert bool((words.decode(words.encode(space)) == space).all())
    assert words.inputs == 5 and words.outputs == 4
    broken = torch.tensor([[1, words.end, 2 if pad_id != 2 else 1, words.end]])
    assert words.decode(broken)[0, 1:].tolist() == [pad_id] * 3


def test_masked_gives_no_chance_to_what_cannot_be():
    words = Vocabulary(2, pad_id=5)
    hidden, end = words.own, words.end
    never = Masked().impossible(torch.tensor([[hidden, 1, hidden, end, hidden]]), words)
    assert never is not None
    assert never[0, 0].tolist() == [False, False, True]  # a token follows: no END here
    assert never[0, 2].tolist() == [False, False, False]
    assert never[0, 4].tolist() == [True, True, False]  # after END only END


@pytest.mark.parametrize("path", [Masked(), UniformTokens(), Sequential()])
@pytest.mark.parametrize("pad_id", [None, 2])
def test_weighted_cross_entropy_is_least_at_the_conditionals_of_q(path, pad_id):
    """Over every state, weighted by exp(−E): any change of the conditionals of q raises the loss."""
    space = full_space(3, 3) if pad_id is None else padded_space(3, 3, 2)
    words = Vocabulary(3, pad_id)
    p, energy = random_masses(len(space), 0), 2 * torch.rand(len(space), generator=torch.Generator().manual_seed(1))
    q = torch.softmax(p.log() - energy, 0)
    made = point(path, space.repeat_interleave(300, 0), words)
    weight = (p * (-energy).exp()).repeat_interleave(300).float()
    network = Table(space, q, words, path.name)

    def loss(shift: float) -> float:
        logits = network(made.x_t, made.t)
        logits[..., 0] += shift
        log_p = path.tell(logits, made.x_t, made.t, words)
        return float((weight * cross_entropy(log_p, made)).double().sum())

    assert loss(0.0) < min(loss(0.3), loss(-0.3))
    of_p = Table(space, p, words, path.name)
    log_p = path.tell(of_p(made.x_t, made.t), made.x_t, made.t, words)
    assert loss(0.0) < float((weight * cross_entropy(log_p, made)).double().sum())


def test_cross_entropy_is_the_negative_log_likelihood():
    """Sequential: L · loss = −log p(x) exactly. Masked: its mean over draws is, for conditionals that agree."""
    space, words = full_space(3, 3), Vocabulary(3)
    p = random_masses(27, 3)
    for path, tolerance in ((Sequential(), 1e-5), (Masked(), 0.03)):
        x = space.repeat_interleave(2_000, 0)
        made = point(path, x, words)
        log_p = words.log_softmax(Table(space, p, words, path.name)(made.x_t, made.t))
        bits = 3 * cross_entropy(log_p, made).reshape(27, -1).mean(1)
        # masked: one draw's standard deviation is about .6, that of 2,000 is .013
        assert float((bits + p.log()).abs().max()) < 4 * tolerance


def test_points_split_into_the_same_rows():
    from egflow.training import TokenBatch

    made = point(Masked(), full_space(2, 3), Vocabulary(2))
    batch = TokenBatch(made, torch.arange(8), None, torch.rand(8))
    parts = batch.split(3)
    assert [len(part.point.t) for part in parts] == [3, 3, 2]
    for name in ("x_t", "t", "x_1", "share"):
        assert torch.equal(torch.cat([getattr(part.point, name) for part in parts]), getattr(made, name))
    assert parts[0].beta is None and isinstance(parts[0].point, TokenPoint)


def test_paths_by_name():
    assert make_token_path(None).name == "sequential"
    assert make_token_path("uniform").name == "uniform"
    with pytest.raises(ValueError, match="sequential, masked, uniform where vocab_size is given, got 'cond_ot'"):
        make_token_path("cond_ot")
    with pytest.raises(ValueError, match="path 'masked' is for tokens: give vocab_size="):
        make_path("masked")
