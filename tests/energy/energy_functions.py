"""Energies at the top level of a module, where a worker process can find them."""

import os
import time

import torch

from egflow.energy import as_energy


def total(x):
    return float(x.sum())


def total_and_condition(x, condition):
    return float(x.sum() + condition)


def totals(x):
    return x.sum(-1)


def hangs_at_five(x):
    if x[0] == 5:
        time.sleep(60)
    return float(x.sum())


def exits_at_three_and_seven(x):
    if x[0] == 3:
        os._exit(3)
    if x[0] == 7:
        os._exit(0)
    return float(x.sum())


def raises_at_one_then_exits_at_two(x):
    if x[0] == 1:
        raise ArithmeticError("one")
    if x[0] == 2:
        os._exit(1)
    return float(x.sum())


def raises_at_four(x):
    if x[0] == 4:
        raise ArithmeticError("four is not a number I know")
    return float(x.sum())


def batch_with_bad_items(x):
    if (x[:, 0] == 2).any():
        os._exit(1)
    if (x[:, 0] == 9).any():
        raise ArithmeticError("nine")
    return torch.where(x[:, 0] == 4, torch.nan, x.sum(-1))


def always_exits(x):
    os._exit(1)


def text_length(text):
    return float(len(text))


@as_energy(batch=False, workers=2)
def decorated(x):
    return float(x.sum())
