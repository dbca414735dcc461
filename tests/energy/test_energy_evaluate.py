"""Every mistake of an energy or its input is one clear error."""

import math

import numpy as np
import pytest
import torch

from egflow.energy import EnergyError, EnergyModel, EnergyValues, as_energy, evaluate

X = torch.arange(8.0)[:, None]


def at_three(bad):
    return lambda x: torch.where(x[:, 0] == 3, bad, x[:, 0])


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x: x, r"shape \(8, 1\) for 8 items.*squeeze\(-1\)"),
        (lambda x: x.sum(), r"shape \(\).*not over the batch"),
        (lambda x: x[1:, 0], r"shape \(7,\) for 8 items.*one energy for each"),
        (lambda x: x[:, 0][:, None] + x[:, 0], r"shape \(8, 8\)"),
        (lambda x: x[:, 0].long(), r"dtype torch.int64.*\.float\(\)"),
        (lambda x: x[:, 0] > 2, r"dtype torch.bool"),
        (lambda x: x[:, 0].to(torch.complex64), r"dtype torch.complex64.*\.real"),
        (lambda x: np.ones((8, 1)), r"shape \(8, 1\)"),
        (lambda x: np.ones(8, dtype=int), r"numpy array of dtype int64"),
        (lambda x: np.array(["a"] * 8), r"numpy array of dtype <U1"),
        (lambda x: [1.0] * 8, r"returned a list"),
        (lambda x: 1.0, r"returned a float"),
        (lambda x: "low", r"returned a str"),
        (lambda x: None, r"returned a NoneType"),
        (at_three(math.nan), r"NaN for item 3: an energy is finite"),
        (at_three(-math.inf), r"-inf for item 3"),
        (lambda x: x[:, 0] * math.nan, r"NaN for item 0 \(and for 7 more of 8\)"),
        (lambda x: torch.full((8,), math.inf), r"forbids all 8 items"),
    ],
)
def test_what_an_energy_may_not_return(fn, message):
    with pytest.raises(EnergyError, match=message) as caught:
        evaluate(fn, X)
    assert "\n" not in str(caught.value)


def test_index_counts_over_batches():
    with pytest.raises(EnergyError, match="item 3") as caught:
        evaluate(at_three(math.nan), X, batch_size=2)
    assert caught.value.index == 3


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("batch_size", [3, 100])
def test_a_raising_energy_tells_its_message_and_the_item(batch, batch_size):
    def fn(x):
        if (x == 5).any():
            raise ArithmeticError("five, of all things")
        return x[:, 0] if batch else float(x[0])

    with pytest.raises(EnergyError, match="item 5: ArithmeticError: five, of all things") as caught:
        evaluate(as_energy(fn, batch=batch), X, batch_size=batch_size)
    assert caught.value.index == 5 and isinstance(caught.value.__cause__ or caught.value.__context__, ArithmeticError)


def test_a_raising_model_of_the_users_own_and_in_a_tree():
    class Model(EnergyModel):
        def forward(self, x, condition=None):
            if (x == 5).any():
                raise KeyError("five")
            return x[:, 0]

    for energy in (Model(), 2 * Model() + 1.0):
        with pytest.raises(EnergyError, match="item 5: KeyError: 'five'") as caught:
            evaluate(energy, X, batch_size=3)
        assert caught.value.index == 5


def test_a_failure_of_no_single_item_blames_none():
    def fn(x):
        if len(x) > 4:
            raise MemoryError("too many")
        return x[:, 0]

    with pytest.raises(EnergyError, match="on a batch of 8: MemoryError: too many") as caught:
        evaluate(fn, X)
    assert caught.value.index is None


@pytest.mark.parametrize("bad", ["1.0", None, True, [1.0], torch.ones(1), 1j, math.nan])
def test_one_item_is_one_float(bad):
    with pytest.raises(EnergyError, match=r"item 0: .*it returned"):
        evaluate(as_energy(lambda x: bad, batch=False), X)


@pytest.mark.parametrize("good", [2, 2.0, np.float32(2), np.array(2.0), torch.tensor(2.0)])
def test_what_counts_as_one_float(good):
    assert evaluate(as_energy(lambda x: good, batch=False), X).values.tolist() == [2.0] * 8


@pytest.mark.parametrize("batch", [True, False])
def test_forbid_counts_and_says_what_failed_first(batch):
    def fn(x):
        if (x == 2).any() or (x == 6).any():
            raise ArithmeticError("even")
        value = torch.where(x[..., 0] == 4, math.nan, x[..., 0])
        return value if batch else float(value)

    values = evaluate(as_energy(fn, batch=batch, on_failure="forbid"), X, batch_size=5)
    assert values.forbidden.nonzero().flatten().tolist() == [2, 4, 6]
    assert (values.calls, values.failed) == (8, 3)
    assert values.failure is not None
    assert values.failure.startswith("item 2: ArithmeticError: even (test_energy_evaluate.py, line ")
    assert values.values[[0, 1, 3, 5, 7]].tolist() == [0, 1, 3, 5, 7]


def test_forbid_of_everything_names_the_cause():
    energy = as_energy(lambda x: 1 / 0, batch=False, on_failure="forbid")
    with pytest.raises(EnergyError, match=r"all 8 items.*failed for 8 of them, first item 0: ZeroDivisionError"):
        evaluate(energy, X)
    assert evaluate(energy, X, allow_all_forbidden=True).failed == 8


def test_forbid_does_not_forgive_minus_infinity_or_a_wrong_shape():
    with pytest.raises(EnergyError, match="-inf for item 3"):
        evaluate(as_energy(at_three(-math.inf), on_failure="forbid"), X)
    with pytest.raises(EnergyError, match="squeeze"):
        evaluate(as_energy(lambda x: x, on_failure="forbid"), X)


@pytest.mark.parametrize(
    ("x", "condition", "error", "message"),
    [
        ([[1.0]], None, TypeError, "x is a list"),
        (torch.ones(()), None, ValueError, r"x has shape \(\)"),
        (torch.ones(0, 2), None, ValueError, r"x has shape \(0, 2\)"),
        (X, torch.ones(7), ValueError, r"condition has shape \(7,\) and x \(8, 1\)"),
        (X, torch.ones(()), ValueError, r"condition has shape \(\)"),
        (X, [0] * 8, TypeError, "condition is a list"),
    ],
)
def test_inputs_are_checked(x, condition, error, message):
    with pytest.raises(error, match=message):
        evaluate(lambda x: x[:, 0], x, condition)


def test_batch_size_is_checked():
    with pytest.raises(ValueError, match="batch_size is 0"):
        evaluate(lambda x: x[:, 0], X, batch_size=0)


def test_progress_goes_up_to_the_end():
    seen = []
    evaluate(lambda x: x[:, 0], X, batch_size=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 8), (6, 8), (8, 8)]


def test_no_graph_is_kept_and_integers_are_welcome():
    weight = torch.ones(1, requires_grad=True)
    assert not evaluate(lambda x: x[:, 0] * weight, X).values.requires_grad
    assert evaluate(lambda x: x[:, 0].float(), X.long()).values.tolist() == list(range(8))


def test_a_plain_function_is_called_once_a_batch():
    calls = []

    def fn(x):
        calls.append(len(x))
        return x[:, 0]

    assert evaluate(fn, torch.zeros(200_000, 2)).calls == 200_000
    assert calls == [65536, 65536, 65536, 200_000 - 3 * 65536]


def test_values_from_a_tensor():
    values = EnergyValues.from_tensor(torch.tensor([1.0, math.inf, -2.0]))
    assert values.values.tolist() == [1.0, 0.0, -2.0] and values.energy.tolist() == [1.0, math.inf, -2.0]
    assert len(values) == 3 and values.at(torch.tensor([True, True, False])).energy.tolist() == [1.0, math.inf]
    for bad in (torch.tensor([math.nan]), torch.tensor([-math.inf]), torch.tensor([1]), torch.ones(2, 1), [1.0]):
        with pytest.raises(EnergyError):
            EnergyValues.from_tensor(bad)
