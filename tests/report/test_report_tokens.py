"""Sequences of tokens: a perfect generator shows the floor, a wrong one is found, and nothing is taken for a copy."""

import numpy as np
import pytest
import torch
from report_sequences import PAD, Words, energy, space

from egflow.report import held_out_split, report
from egflow.report._memory import memory
from egflow.report._tokens import COLUMNS, lengths, same_rows, token_view

SPACES = {"14 states": (2, 3, True), "340 states": (4, 4, True), "4096 states": (4, 6, False)}


def account(made, beta, data, **given):
    return report(made, energy, beta, data, pad_id=PAD, **given)


@pytest.mark.parametrize("name", SPACES)
def test_a_perfect_generator_shows_the_floor(name):
    vocabulary, longest, padded = SPACES[name]
    states = space(vocabulary, longest, padded=padded)
    ratios, good = [], 0
    for seed in range(4):
        words = Words(states, seed)
        found = account(words.draw(1000, 1.0), 1.0, words.draw(6_000))
        assert found.distance["name"] == "sliced_w2_tokens"
        ratios.append(found.distance["value"] / found.distance["floor"])
        good += found.findings == []
    assert 0.9 <= float(np.median(ratios)) <= 1.4
    assert good >= 3  # chance exceeds some limit about once in twenty


@pytest.mark.parametrize("name", ["14 states", "4096 states"])
@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_a_wrong_beta_is_found(name, beta):
    vocabulary, longest, padded = SPACES[name]
    words = Words(space(vocabulary, longest, padded=padded))
    found = account(words.draw(3000, beta), 1.0, words.draw(20_000))
    assert found.findings == (["ignores_energy"] if beta == 0 else ["wrong_beta"]), found.verdict
    assert abs(found.matched_beta - beta) < 4 * found.matched_beta_stderr
    assert found.distance["value"] > found.distance["limit"]


def test_an_order_that_is_wrong_is_found():
    # the same tokens in each sequence, backwards: energies, lengths and counts are right, the order alone is not
    words = Words(space(4, 6, padded=False))
    words.log_p = 0.3 * words.log_p + 1.5 * (words.states[:, 1:] > words.states[:, :-1]).sum(1)  # p likes to go up
    found = account(words.draw(3000, 1.0).flip(1), 1.0, words.draw(10_000))
    assert found.findings and set(found.findings) <= {"distance", "misses"}


def test_a_lost_part_is_found():
    words = Words(space(4, 4))
    made = words.draw(4000, 1.0)
    found = account(made[made[:, 0] != 2], 1.0, words.draw(10_000))
    assert "misses" in found.findings or "distance" in found.findings or "energy" in found.findings


def test_achieved_beta_is_read_from_masses():
    # sequences recur by the thousand, which for points in space would mean that there is no density
    words = Words(space(4, 4))
    row = {tuple(state): k for k, state in enumerate(words.states.tolist())}

    def mass(beta):
        return lambda x, condition=None: words.log_prob(beta)[[row[tuple(one)] for one in x.tolist()]]

    found = account(words.draw(2000, 1.0), 1.0, words.draw(10_000), log_q=mass(0.7), log_base=mass(0.0))
    assert found.achieved_beta == pytest.approx(0.7, abs=1e-6) and found.tilt_r2 == pytest.approx(1.0)


class TestMemory:
    def test_on_a_small_space_nothing_is_a_copy(self):
        for seed in range(4):
            words = Words(space(2, 3), seed)
            data = words.draw(3000)
            found = account(data[held_out_split(3000)[0]], 0.0, data)  # copies, of sequences that all recur
            assert found.findings == [] and found.nearest_in_train["share"] == pytest.approx(0.9, abs=0.02)

    def test_on_a_large_space_copies_are_found(self):
        generator = torch.Generator().manual_seed(0)
        data = torch.randint(1, 30, (2000, 20), generator=generator)
        train = held_out_split(2000)[0]
        fresh = torch.randint(1, 30, (1000, 20), generator=generator)
        assert account(fresh, 0.0, data).findings == []
        copies = data[train[torch.randint(len(train), (1000,), generator=generator)]]
        found = account(copies, 0.0, data)
        assert "memorised" in found.findings and found.nearest_in_train["share"] == 1.0
        half = account(torch.cat((copies[:500], fresh[:500])), 0.0, data)
        assert half.nearest_in_train["share"] == pytest.approx(0.95, abs=4 * half.nearest_in_train["stderr"])

    def test_the_error_is_that_of_random_sides(self):
        # the side of each row is drawn again and again: the share's deviation is what is said, its mean the chance
        x = Words(space(2, 3)).draw(400)
        same, view = same_rows(x), token_view(x, PAD)
        made, shares = view(x[:50]), []
        for seed in range(200):
            trained = torch.zeros(400, dtype=torch.bool)
            trained[torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:360]] = True
            found = memory(made, view(x), trained, same)
            shares.append(found.share)
        assert np.mean(shares) == pytest.approx(0.9, abs=4 * found.stderr / 200**0.5)
        # the rows asked for nearly are all rows, so that the true deviation is smaller: said ones are on the safe side
        assert 0.3 * found.stderr < np.std(shares) < 1.15 * found.stderr


class TestFeatures:
    def test_different_sequences_are_different_points(self):
        states = space(4, 6, padded=False)
        points = token_view(states)(states)
        assert points.shape == (4096, COLUMNS)
        apart = torch.cdist(points, points).fill_diagonal_(9.0)
        assert float(apart.min()) > 0.1
        assert len(same_rows(torch.cat((states, states))).unique()) == 4096

    def test_large_ids_and_a_single_token(self):
        states = torch.tensor([[2**20 + k] for k in range(50)])
        assert len(token_view(states)(states).unique(dim=0)) == 50

    def test_lengths(self):
        assert lengths(torch.tensor([[1, 2, 0], [3, 3, 3]]), PAD).tolist() == [2, 3]
        assert lengths(torch.tensor([[1, 2, 0]]), None).tolist() == [3]

    def test_the_features_never_change(self):
        # pinned: other tables in another version would make a stored distance mean something else
        view = token_view(space(2, 2), PAD)
        torch.manual_seed(5)
        first = view(space(2, 2))
        torch.manual_seed(6)
        assert torch.equal(first, token_view(space(2, 2), PAD)(space(2, 2)))


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_any_whole_numbers_are_tokens(dtype):
    words = Words(space(2, 3))
    found = account(words.draw(300).to(dtype).numpy(), 0.5, words.draw(1000).to(dtype))
    assert found.evidence.data.dtype == torch.int64


@pytest.mark.parametrize("x, words", [(torch.ones(40, 3, 2).long(), "long"), (-torch.ones(40, 3).long(), "below 0")])
def test_what_is_no_sequence_is_refused(x, words):
    with pytest.raises(ValueError, match=words) as error:
        report(x, energy, 1.0, x)
    assert "\n" not in str(error.value)
