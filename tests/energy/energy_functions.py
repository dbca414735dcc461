"""Energies at the top level of a module, where a worker process can find them."""

import ctypes
import faulthandler
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import torch

from egflow.energy import as_energy
from egflow.energy._cache import store


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


def takes_four_gigabytes_at_three_and_five(x):
    if x[0] == 3:
        np.ones(4_000_000_000 // 8)
    if x[0] == 5:
        torch.ones(1_000_000_000)
    return float(x.sum())


KEPT = []


def keeps_twenty_megabytes(x):
    KEPT.append(np.ones(20_000_000 // 8))
    return float(x.sum())


def multiplies_matrices(x):
    product = torch.ones(500, 500) @ torch.ones(500, 500)
    return float(x.sum() + product.mean() - 500)


def killed_at_two_and_crashes_at_six(x):
    if x[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if x[0] == 6:
        faulthandler.disable()
        ctypes.string_at(0)
    return float(x.sum())


def tells_its_process_and_hangs(x):
    Path(os.environ["TELL"], f"worker-{os.getpid()}").touch()
    time.sleep(600)


def kills_the_server_at_two(x):
    if x[0] == 2:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(5)
    return float(x.sum())


def fails_in_every_way(x):
    way = int(x[0])
    if way == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if way == 3:
        os._exit(3)
    if way == 5:
        time.sleep(600)
    if way == 6:
        faulthandler.disable()
        ctypes.string_at(0)
    if way == 7:
        os._exit(0)
    if way == 8:
        raise ArithmeticError("eight")
    return {9: float("nan"), 10: float("inf")}.get(way, float(x.sum()) / 3)


def writes_for_ever(folder, seed, on):
    """Fill a cache with values that tell by themselves whether they are right."""
    rng = random.Random(seed)
    while True:
        keys = [rng.randrange(100_000) for _ in range(200)]
        store(folder, [(key.to_bytes(16, "big"), key / 7) for key in keys])
        on.set()
