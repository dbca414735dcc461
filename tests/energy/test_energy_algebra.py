"""Forbidden stays forbidden, a mistake stays a mistake, and the rest is arithmetic."""

import math
from operator import neg

import pytest
import torch

from egflow.energy import EnergyError, as_energy, evaluate

INF, NAN = math.inf, math.nan
X = torch.arange(4.0)[:, None]


def values(*numbers, dtype=torch.float32):
    return as_energy(lambda x: torch.tensor(numbers, dtype=dtype)[x[:, 0].long()])


A = values(1.0, -2.0, INF, 4.0)
B = values(0.5, INF, 3.0, INF)


@pytest.mark.parametrize(
    ("energy", "expected"),
    [
        (-A, [-1, 2, INF, -4]),
        (0 * A, [0, 0, INF, 0]),
        (-0.0 * A, [0, 0, INF, 0]),
        (-3 * A, [-3, 6, INF, -12]),
        (A / 2, [0.5, -1, INF, 2]),
        (A / -2, [-0.5, 1, INF, -2]),
        (A + 3.0, [4, 1, INF, 7]),
        (3.0 - A, [2, 5, INF, -1]),
        (A.clip(0, 2), [1, 0, INF, 2]),
        (A.clip(hi=0), [0, -2, INF, 0]),
        (A.clip(lo=0), [1, 0, INF, 4]),
        (A + B, [1.5, INF, INF, INF]),
        (A - B, [0.5, INF, INF, INF]),
        (A - A, [0, 0, INF, 0]),
        (2 * A + B, [2.5, INF, INF, INF]),
        (-(A - B).clip(-1, 0.25), [-0.25, INF, INF, INF]),
        (sum([A, B, 1.0]), [2.5, INF, INF, INF]),
        (torch.tensor(2.0).item() * A, [2, -4, INF, 8]),
        (A * torch.tensor(2.0), [2, -4, INF, 8]),
    ],
)
def test_forbidden_survives_every_operation(energy, expected):
    assert energy(X).tolist() == expected
    assert evaluate(energy, X, allow_all_forbidden=True).energy.tolist() == expected


@pytest.mark.parametrize("bad", [NAN, -INF])
@pytest.mark.parametrize(
    "operation",
    [
        lambda a: -a,
        lambda a: 0 * a,
        lambda a: a + 1,
        lambda a: a.clip(0, 1),
        lambda a: a + B,
        lambda a: A - a,
        lambda a: -a + values(INF, INF, INF, INF),
        lambda a: neg(neg(a)),
    ],
)
def test_no_operation_hides_a_mistake(bad, operation):
    energy = operation(values(1.0, bad, 2.0, 3.0))
    with pytest.raises(EnergyError, match=r"NaN for item 1|-inf for item 1|item 1"):
        evaluate(energy, X, allow_all_forbidden=True)


def test_overflow_is_an_error_and_never_forbidden():
    large = values(1e300, 1.0, 1.0, 1.0, dtype=torch.float64)
    with pytest.raises(EnergyError, match="NaN for item 0"):
        evaluate(1e300 * large, X)
    wide = values(3e38, 1.0, 1.0, 1.0)  # near the end of float32
    assert evaluate(wide + wide, X).values[0] == pytest.approx(6e38, rel=1e-6)


def test_wrong_shape_of_an_operand_is_caught_before_it_broadcasts():
    column = as_energy(lambda x: x)  # (batch, 1)
    with pytest.raises(EnergyError, match=r"\(4, 1\).*squeeze"):
        (A + column)(X)


def test_gradient_of_a_combination():
    square, slope = as_energy(lambda x: x.square().sum(-1)), as_energy(lambda x: x[:, 0])
    x = torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    gradient = (3 * square - slope / 2).gradient(x)
    torch.testing.assert_close(gradient, 6 * x - torch.tensor([0.5, 0.0]), rtol=1e-6, atol=0)
    assert gradient.dtype == x.dtype


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: A * INF, ValueError, "factor of an energy is inf"),
        (lambda: A + NAN, ValueError, "added to an energy is nan"),
        (lambda: A / 0, ValueError, "divided by 0"),
        (lambda: A * B, TypeError, "product of two energies"),
        (lambda: A / B, TypeError, "divisor"),
        (lambda: A * True, TypeError, "factor of an energy is a bool"),
        (lambda: A + (lambda x: x), TypeError, "as_energy"),
        (lambda: A + "1", TypeError, "is a str"),
        (lambda: A + 1j, TypeError, "is a complex"),
        (lambda: A.clip(), ValueError, "neither lo nor hi"),
        (lambda: A.clip(2, 1), ValueError, "lo=2 above hi=1"),
        (lambda: A.clip(0, INF), ValueError, "clip's hi is inf"),
    ],
)
def test_forbidden_algebra(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_names_read_as_the_algebra_does():
    a, b = as_energy(lambda x: x[:, 0], name="a"), as_energy(lambda x: x[:, 0], name="b")
    assert (2 * a + b).describe() == "2*a + b"
    assert (a - b / 2).describe() == "a - 0.5*b"
    assert (-(a + 1)).describe() == "-(a + 1)"
    assert ((2 * a).clip(0, 1) - 3).describe() == "(2*a).clip(0, 1) - 3"
    assert a.clip(hi=5).describe() == "a.clip(None, 5)"
