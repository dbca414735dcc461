"""One contract for every built-in way to make an energy: shapes, forbidden items, conditions, subsets, names."""

from operator import neg

import energy_functions
import pytest
import torch

from egflow.energy import BlackBox, Differentiable, EnergyError, EnergyModel, as_energy, bind_decoders, evaluate

N = 12


class Half(EnergyModel):
    """x_0² / 2, forbidden where x_0 < −1.5; a module of the user's own."""

    def forward(self, x, condition=None):
        return torch.where(x[:, 0] < -1.5, torch.inf, x[:, 0].square() / 2)


def wall(x):
    return torch.where(x[:, 0] < -1.5, torch.inf, x[:, 0].square() / 2)


def one(x):
    return float("inf") if x[0] < -1.5 else float(x[0] ** 2 / 2)


def by_condition(x, condition):
    return wall(x) + condition


ENERGIES = {
    "subclass": Half(),
    "function": as_energy(wall),
    "numpy": as_energy(lambda x: wall(x).numpy()),
    "one by one": as_energy(one, batch=False),
    "forbid": as_energy(wall, on_failure="forbid"),
    "decoded": as_energy(lambda items: torch.stack([wall(i[None])[0] for i in items]), decode=list),
    "decoded one by one": as_energy(one, decode=list, batch=False),
    "named decoder": bind_decoders(as_energy(one, on="row", batch=False), {"row": list}),
    "sum": 0.5 * Half() + as_energy(wall) / 2,
    "difference": 2 * Half() - as_energy(wall),
    "negated twice": neg(neg(Half())),
    "shifted": 3 + as_energy(wall) - 3,
    "reflected": 1 - (1 - Half()),
    "clipped": as_energy(wall).clip(0, 1e6),
    "summed": sum([Half(), as_energy(wall)]) / 2,
    "of an energy": as_energy(Half(), name="again"),
    "tree of all": (as_energy(one, batch=False) + Half().clip(hi=1e9)) / 2,
}


@pytest.fixture(scope="module")
def x():
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64).clamp(min=-1.4)
    x[4, 0] = -2.0
    return x


@pytest.mark.parametrize("name", ENERGIES)
def test_contract(name, x):
    energy = ENERGIES[name]
    raw = energy(x)
    assert raw.shape == (N,) and raw.dtype.is_floating_point
    values = evaluate(energy, x)
    expected = x[:, 0].square() / 2
    assert values.values.dtype == torch.float64 and values.values.shape == (N,)
    assert values.forbidden.nonzero().flatten().tolist() == [4]
    # float64 all through, a handful of roundings of numbers below 10
    torch.testing.assert_close(values.values, expected.masked_fill(values.forbidden, 0.0), rtol=0, atol=1e-12)
    assert torch.equal(values.energy == torch.inf, values.forbidden)
    assert (values.calls, values.failed, values.cached) == (N, 0, 0)
    assert torch.equal(values.energy, evaluate(energy, x, batch_size=5).energy), "batches change nothing"
    part = torch.tensor([4, 0, 7])
    assert torch.equal(evaluate(energy, x[part]).energy, values.at(part).energy), "an item's energy is its own"
    assert energy.describe() and "<locals>" not in energy.describe() and "\n" not in energy.describe()
    assert isinstance(energy, BlackBox)


@pytest.mark.parametrize("name", ENERGIES)
def test_gradient_or_a_refusal(name, x):
    energy = ENERGIES[name]
    if not energy.differentiable or name == "numpy":
        with pytest.raises((TypeError, EnergyError), match=r"gradient|torch|grad"):
            energy.gradient(x)
        return
    assert isinstance(energy, Differentiable)
    expected = torch.zeros_like(x)
    expected[:, 0] = x[:, 0]
    expected[4] = 0  # forbidden
    torch.testing.assert_close(energy.gradient(x), expected, rtol=0, atol=1e-12)


def test_black_boxes_in_a_tree_make_it_one(x):
    assert {name for name, energy in ENERGIES.items() if not energy.differentiable} == {
        "one by one", "forbid", "decoded", "decoded one by one", "named decoder", "tree of all",
    }  # fmt: skip


@pytest.mark.parametrize("batch", [True, False])
def test_condition_reaches_the_energy_row_by_row(x, batch):
    condition = torch.arange(N, dtype=torch.float64)
    energy = as_energy(by_condition) if batch else as_energy(lambda x, c: one(x) + float(c), batch=False)
    both = 2 * energy + as_energy(wall)
    got = evaluate(both, x, condition, batch_size=5)
    expected = 1.5 * x[:, 0].square() + 2 * condition
    torch.testing.assert_close(got.values, expected.masked_fill(got.forbidden, 0.0), rtol=0, atol=1e-11)


def test_condition_is_given_only_to_those_who_ask(x):
    condition = torch.ones(N)
    assert evaluate(as_energy(lambda x, k=3.0: x[:, 0] * k), x, condition).values[0] == 3 * x[0, 0]
    assert evaluate(as_energy(lambda x, condition=None: x[:, 0] * condition), x, condition).values[0] == x[0, 0]
    assert evaluate(as_energy(lambda *rows: rows[0][:, 0] * len(rows)), x, condition).values[0] == x[0, 0]


def test_decorator_forms():
    @as_energy
    def plain(x):
        return x[:, 0]

    @as_energy(batch=False, on_failure="forbid")
    def optioned(x):
        return float(x[0])

    x = torch.tensor([[1.0], [2.0]])
    assert isinstance(plain, EnergyModel) and plain(x).tolist() == [1.0, 2.0]
    assert optioned(x).tolist() == [1.0, 2.0] and optioned.describe() == "optioned"
    assert as_energy(plain) is plain
    renamed = as_energy(optioned, name="other")
    assert renamed.describe() == "other" and renamed.call.batch is False and renamed.policy == "forbid"
    assert energy_functions.decorated.workers.count == 2


def test_module_moves_and_is_evaluated_in_eval_mode():
    network = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Dropout(0.5), torch.nn.Flatten(0))
    energy = as_energy(network)
    x = torch.ones(64, 2)
    assert evaluate(energy, x).values.unique().numel() == 1, "dropout is off"
    assert network[1].training, "and on again afterwards"
    assert energy.double()(x.double()).dtype == torch.float64


def test_undecodable_items_are_forbidden_and_never_reach_the_function():
    def decode(x):
        return [None if row[0] < 0 else f"{row[0]:g}" for row in x]

    seen = []

    def energy(texts):
        seen.extend(texts)
        return torch.tensor([float(t) for t in texts])

    values = evaluate(as_energy(energy, decode=decode), torch.tensor([[1.0], [-1.0], [2.0]]))
    assert values.energy.tolist() == [1.0, float("inf"), 2.0] and seen == ["1", "2"]
    assert values.failed == 0


def test_bind_decoders_names_the_nearest_and_walks_trees():
    energy = 2 * as_energy(energy_functions.text_length, on="word", batch=False) + 1.0
    with pytest.raises(EnergyError, match=r"no decoder .* bound"):
        evaluate(energy, torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"'word'.*Did you mean 'words'\? It decodes: words"):
        bind_decoders(energy, {"words": list})
    assert bind_decoders(energy, {"word": lambda x: ["ab"] * len(x)}) is energy
    assert evaluate(energy, torch.ones(3, 1)).values.tolist() == [5.0] * 3
    with pytest.raises(EnergyError, match="2 objects for 3 rows"):
        evaluate(bind_decoders(energy, {"word": lambda x: ["a", "b"]}), torch.ones(3, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": -1}, "workers is -1"),
        ({"workers": 2.0}, "workers is 2.0"),
        ({"time_limit": 1.0}, "needs workers"),
        ({"time_limit": 0.0, "workers": 1}, "time_limit is 0.0"),
        ({"on_failure": "zero"}, "'raise' or 'forbid'"),
        ({"on": "a", "decode": list}, "both on= and decode="),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        as_energy(wall, **options)


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (3, "this is a int"),
        (dict, "dict is a class"),
        (lambda: 0, "no positional argument"),
        (lambda *, x: 0, "no positional argument"),
        (lambda x, c, k: 0, "requires k"),
        (lambda x, *, k: 0, "requires k"),
    ],
)
def test_what_is_no_energy_function(fn, message):
    with pytest.raises(TypeError, match=message):
        as_energy(fn)


def test_forward_must_be_written():
    with pytest.raises(NotImplementedError, match="EnergyModel has no forward"):
        EnergyModel()(torch.ones(2, 1))
