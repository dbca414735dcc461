"""A search from a base of tokens, in a space that can be enumerated."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

import egflow
from egflow._search import Plan, Search
from egflow.energy import EnergyError, EnergyValues, as_energy
from egflow.flow import TokenFlow
from egflow.network import Recurrent
from egflow.rounds import Pool, Rows
from egflow.training import TrainingError, TrainingOptions

VOCABULARY, LENGTH = 3, 5
SPACE = torch.tensor(list(product(range(VOCABULARY), repeat=LENGTH)))
QUIET = TrainingOptions(progress="quiet", learning_rate=0.024)


def rare_letters(x: Tensor) -> Tensor:
    """Minus the number of the last letter; a row that begins with it and ends with the first is forbidden."""
    energy = -(x == 2).sum(1).float()
    return energy.masked_fill((x[:, 0] == 2) & (x[:, -1] == 0), torch.inf)


@pytest.fixture(scope="module")
def base() -> TokenFlow:
    """Letters that are independent, the last one of share .04."""
    torch.manual_seed(0)
    network = Recurrent(inputs=VOCABULARY + 1, outputs=VOCABULARY, length=LENGTH, width=32)
    share = torch.tensor([0.86, 0.1, 0.04])
    x = torch.multinomial(share, 2_000 * LENGTH, True, generator=torch.Generator().manual_seed(0)).view(-1, LENGTH)
    made = egflow.fit(x, vocab_size=VOCABULARY, network=network, steps=300, batch_size=128, options=QUIET)
    assert isinstance(made, TokenFlow)
    return made


def total_variation(flow: TokenFlow, target: Tensor) -> float:
    place = (flow.solve(20_000, seed=1).y * VOCABULARY ** torch.arange(LENGTH - 1, -1, -1)).sum(1)
    share = torch.bincount(place, minlength=len(SPACE)).double() / len(place)
    return float((share - target).abs().sum()) / 2


def test_the_enumerated_target_is_found_and_its_constant_known(base: TokenFlow, tmp_path: Path) -> None:
    """At beta 6 a row of five last letters has most of q, and one in ten million of p."""
    asked: list[Tensor] = []

    def energy(x: Tensor) -> Tensor:
        asked.append(x)
        return rare_letters(x)

    with pytest.warns(UserWarning, match="repeats"):  # the space is smaller than the budget
        made = egflow.tilt(base, energy, 6.0, rounds="auto", max_calls=600, steps=300, batch_size=64, options=QUIET)
    log_p = base.log_prob(SPACE)
    log_w = log_p - 6.0 * rare_letters(SPACE).double()
    assert isinstance(made, TokenFlow) and made.report is not None and made.report.rounds is not None
    assert total_variation(made, torch.softmax(log_w, 0)) < 0.05  # 20,000 perfect draws give .01
    assert made.report.log_z == pytest.approx(float(torch.logsumexp(log_w, 0)), abs=0.1)
    assert made.report.method == "trajectory_balance" and made.report.reference == "base"
    assert made.report.rounds["stopped"] == "repeats"

    assert made.calls is not None
    pool = made.calls
    searched = torch.cat(asked[:-2])  # the report's own draws and samples come last
    assert len(pool) == len(pool.x.unique(dim=0)) == len(searched) == made.report.rounds["calls"]
    torch.testing.assert_close(pool.x, searched)  # in the order of the calls, each item once
    torch.testing.assert_close(pool.energy, rare_letters(pool.x).double())
    torch.testing.assert_close(pool.log_p, base.log_prob(pool.x))
    assert made.report.energy_calls["calls"] == len(torch.cat(asked))
    assert bool(torch.isinf(pool.energy).any())  # what is forbidden was asked about, once
    assert made.history and made.history[-1]["loss"] != ""
    assert torch.equal(base.log_prob(SPACE), log_p)  # the base itself is not touched

    calls = len(asked)
    assert torch.equal(made.sample(50, seed=2), made.solve(50, seed=2).y) and len(asked) == calls  # calls are counted
    made.sample(50, correct=True, seed=2)
    assert len(asked) > calls
    calls = len(asked)
    made.sample(50, energy=as_energy(energy), seed=2)
    assert len(asked) > calls
    calls = len(asked)
    assert "where told to" in made.report.notes["correction"]
    made.save(tmp_path / "model")
    loaded = egflow.Flow.load(tmp_path / "model")
    assert torch.equal(loaded.sample(50, seed=2), made.sample(50, seed=2)) and len(asked) == calls


def test_negative_beta_searches_for_high_energy(base: TokenFlow) -> None:
    def letters(x: Tensor) -> Tensor:
        return (x == 2).sum(1).float()

    plan = Plan(calls=120, rounds=6, steps=120, batch_size=64, learning_rate=4e-3)
    found = Search(base, as_energy(letters), -4.0, plan, Rows(), QUIET).run()
    means = [record["mean"] for record in found.records]
    assert means[0] < 0.5 and means[-1] > 2.0  # p has .2 such letters, q at −4 some 3.5
    assert found.pool.energy[found.pool.best(-1.0)].diff().max() <= 0
    assert found.records[-1]["best"] == float(found.pool.energy.max()) >= 4.0


def test_a_constant_in_the_energy_changes_nothing(base: TokenFlow) -> None:
    def search(constant: float) -> Search:
        plan = Plan(calls=80, rounds=4, steps=24, batch_size=32, learning_rate=4e-3)
        return Search(base, as_energy(lambda x: constant - x.sum(1).float()), 1.5, plan, Rows(), QUIET).run()

    one, other = search(0.0), search(-40.0)
    assert one.pool.key == other.pool.key
    torch.testing.assert_close(one.flow.log_prob(SPACE), other.flow.log_prob(SPACE), atol=1e-3, rtol=0.0)


def test_a_search_that_is_stopped_twice_goes_on_and_asks_nothing_twice(base: TokenFlow, tmp_path: Path) -> None:
    asked: list[str] = []
    limit = math.inf

    def energy(x: Tensor) -> Tensor:
        if len(asked) + len(x) > limit:
            raise RuntimeError("enough")
        asked.extend(str(row) for row in x.tolist())
        return -x.sum(1).float()

    def search(folder: Path | None, batch_size: int = 16, fn: Callable[[Tensor], Tensor] = energy) -> Search:
        plan = Plan(calls=100, rounds=12, steps=24, batch_size=batch_size, learning_rate=4e-3, seed=5)
        options = replace(QUIET, folder=folder, resume=folder is not None)
        return Search(base, as_energy(fn, name="sum"), 1.0, plan, Edited(), options)

    whole = search(None).run()
    spent = list(asked)
    asked.clear()
    for more in (10, 25, 20):  # before the first checkpoint of five rounds, after it, and again
        limit = len(asked) + more
        with pytest.raises(EnergyError, match="enough"):
            search(tmp_path).run()
        kept = Pool.load(tmp_path / "rounds" / "calls.safetensors", LENGTH, search(tmp_path)._what())
        asked = [str(row) for row in kept.x.tolist()]  # the last batch may have been asked about in part
        assert asked == spent[: len(asked)]
    assert 0 < len(asked) < len(spent)
    limit = math.inf
    again = search(tmp_path).run()
    assert asked == spent
    assert again.pool.key == whole.pool.key and again.records == whole.records
    assert [row["loss"] for row in again.metrics.rows] == [row["loss"] for row in whole.metrics.rows]
    for one, other in zip(again.flow.network.parameters(), whole.flow.network.parameters(), strict=True):
        assert torch.equal(one, other)

    with pytest.raises(ValueError, match="another batch_size"):
        search(tmp_path, batch_size=32).run()
    with pytest.raises(ValueError, match="holds rounds of another run"):
        Search(base, as_energy(energy), 1.0, again.plan, Rows(), replace(QUIET, folder=tmp_path)).run()
    (tmp_path / "rounds" / "calls.safetensors").unlink()
    with pytest.raises(ValueError, match="missing or damaged"):
        search(tmp_path).run()


class Edited(Rows):
    """Edits that turn one letter of a parent into the last one."""

    edits = True

    def edit(self, parents: Tensor, n: int, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        made = parents[torch.randint(len(parents), (n,), generator=generator)].clone()
        made[torch.arange(n), torch.randint(LENGTH, (n,), generator=generator)] = 2
        return made


def test_edits_are_asked_about_beside_draws(base: TokenFlow) -> None:
    plan = Plan(calls=64, rounds=4, steps=8, batch_size=15, learning_rate=4e-3)
    found = Search(base, as_energy(rare_letters), 2.0, plan, Edited(), QUIET).run()
    pool = found.pool
    assert bool(pool.edited.any()) and not bool(pool.edited.all()) and len(pool) <= 64
    assert bool((pool.x[pool.edited] == 2).any(1).all())
    assert pool.round.diff().min() >= 0 and int(pool.round.max()) <= 4


def test_a_search_where_nothing_is_allowed_says_so(base: TokenFlow) -> None:
    plan = Plan(calls=60, rounds=2, steps=4, batch_size=16, learning_rate=4e-3)
    nothing = as_energy(lambda x: torch.full((len(x),), torch.inf))
    with pytest.raises(TrainingError, match=r"round 1: none of the .* has a finite energy"):
        Search(base, nothing, 3.0, plan, Rows(), QUIET).run()


def test_a_damaged_file_of_calls_is_none(tmp_path: Path) -> None:
    (tmp_path / "calls.safetensors").write_bytes(b"nothing of the kind")
    assert len(Pool.load(tmp_path / "calls.safetensors", LENGTH, {})) == 0
    pool = Pool(2)
    pool.save(tmp_path / "empty.safetensors", {"beta": 1.0})
    assert len(Pool.load(tmp_path / "empty.safetensors", 2, {"beta": 1.0})) == 0
    with pytest.raises(ValueError, match="another beta"):
        Pool.load(tmp_path / "empty.safetensors", 2, {"beta": 2.0})


def test_shares_by_rank() -> None:
    pool = Pool(1)
    values = EnergyValues.from_tensor(torch.tensor([3.0, torch.inf, 1.0, 2.0]))
    pool.add(list("abcd"), torch.arange(4)[:, None], values, torch.zeros(4), 1, edited=False)
    order, share = pool.rank_shares()
    assert order.tolist() == [2, 3, 0]
    torch.testing.assert_close(share, 1 / (0.03 + torch.arange(3, dtype=torch.float64)))
    assert pool.best(-1.0).tolist() == [0, 3, 2]
    assert pool.new(["e", "a", None, "e", "f", "g"], 2) == [0, 4]


def test_what_cannot_be_searched_is_refused(base: TokenFlow) -> None:
    def tilt(**given: object) -> None:
        egflow.tilt(base, rare_letters, 1.0, options=QUIET, **given)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="at least 200"):
        tilt(rounds="auto", max_calls=150)
    for given in ({}, {"rounds": 3, "data": SPACE}, {"rounds": 3, "log_p": lambda x: x.sum(1).float()}):
        with pytest.raises(ValueError, match="'trajectory_balance' is for rounds= from a base of tokens"):
            tilt(method="trajectory_balance", **given)
    with pytest.raises(ValueError, match="rounds reach one beta"):
        egflow.tilt(base, rare_letters, (0.0, 1.0), rounds="auto", options=QUIET)


def test_a_loss_that_is_not_finite_is_told(base: TokenFlow) -> None:
    plan = Plan(calls=60, rounds=2, steps=4, batch_size=16, learning_rate=math.inf)
    with pytest.raises(TrainingError, match="not finite in round"):
        Search(base, as_energy(rare_letters), 3.0, plan, Rows(), QUIET).run()
