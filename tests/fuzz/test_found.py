"""Examples that fuzzing found, each once an error from somewhere inside, a hang, or NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from egflow_images.folder import read_array
from egflow_toy.densities import density
from egflow_toy.domain import Toy
from egflow_toy.energies import Linear
from fuzzing import within

import egflow
import egflow.weights
from egflow.data import open_samples
from egflow.energy import EnergyValues
from egflow.training import TrainingOptions
from egflow.weights import log_weights, make_draw, solve_beta

X = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
FEW: dict[str, Any] = {"steps": 1, "batch_size": 4, "options": TrainingOptions(progress="quiet")}
FLOW = egflow.Flow(torch.nn.Linear(2, 2), (2,))


def energies(*values: float) -> EnergyValues:
    return EnergyValues.from_tensor(torch.tensor(values, dtype=torch.float64))


def tilt(**changes: Any) -> egflow.Flow:
    return egflow.tilt(**{"base": None, "energy": lambda x: x[:, 0], "beta": 1.0, "data": X, **FEW} | changes)


def report(**changes: Any) -> Any:
    return egflow.report(**{"samples": X, "energy": lambda x: x[:, 0], "beta": 1.0, "data": X} | changes)


FOUND: dict[str, tuple[str, Callable[[], Any]]] = {
    "bisection without end": ("energies differ by inf", lambda: solve_beta(energies(-1e308, 1e308, 0.0), 0.5)),
    "weights that are all NaN": ("beta", lambda: tilt(beta=1e308)),
    "weights past float64": ("beta", lambda: log_weights(energies(0.0, 1e30), 1e300)),
    "beta of 400 digits": ("beta", lambda: log_weights(energies(0.0), 10**400)),
    "data past float32": ("x must be finite", lambda: egflow.fit(X.double() * 1e300, **FEW)),
    "sparse data": ("x must", lambda: egflow.fit(X.to_sparse(), **FEW)),
    "data without numbers": ("x must", lambda: egflow.fit(torch.empty(40, 2, device="meta"), **FEW)),
    "a label past 64 bits of weights": ("condition", lambda: egflow.fit(X, torch.full((40,), 2**62), **FEW)),
    "conditions of bytes": ("condition", lambda: egflow.fit(X, b"a", **FEW)),
    "a path that is a list": ("path", lambda: egflow.fit(X, path=[], **FEW)),
    "a seed that is a fraction": ("seed", lambda: egflow.fit(X, seed=0.5, **FEW)),
    "a device that is a tensor": ("device", lambda: egflow.fit(X, device=X, **FEW)),
    "a network that is none": ("network", lambda: egflow.fit(X, network=3, **FEW)),
    "options that are a tensor": ("options", lambda: egflow.fit(X, **FEW | {"options": X})),
    "sample weights of words": ("sample_weight", lambda: egflow.fit(X, sample_weight=["a"], **FEW)),
    "a base that is none": ("base", lambda: tilt(base=X)),
    "energies that are a number": ("energies", lambda: tilt(energies=0)),
    "weights that are a class": ("weights", lambda: make_draw(egflow.weights.Resample)),
    "rounds that are an array": ("rounds", lambda: tilt(rounds=np.zeros((2, 2)))),
    "per_condition that is a tensor": ("per_condition", lambda: report(per_condition=X)),
    "notes that are a number": ("notes", lambda: report(notes=3)),
    "against_data of one part": ("against_data", lambda: report(against_data=(X,))),
    "a scale of 0": ("scale", lambda: egflow.Flow(torch.nn.Identity(), (2,), scale=torch.zeros(2))),
    "a shape of fractions": ("event_shape", lambda: egflow.Flow(torch.nn.Identity(), (2.5,))),
    "a density at NaN": ("x must be finite", lambda: FLOW.log_prob(X * math.nan)),
    "a time that is NaN": ("t must be finite", lambda: FLOW.velocity(X, math.nan)),
    "times of another number": ("t must be", lambda: FLOW.velocity(X, torch.rand(3))),
    "a beta that is complex": ("beta", lambda: FLOW.sample(2, beta=1j)),
    "a tolerance that is a word": ("atol", lambda: FLOW.sample(2, atol="NaN")),
    "correct that is a tensor": ("correct", lambda: FLOW.sample(2, correct=X)),
    "a learning rate that is complex": ("learning_rate", lambda: TrainingOptions(learning_rate=1j)),
    "a folder that is a number": ("folder", lambda: TrainingOptions(folder=np.float64(0.5))),
    "a toy set that is a number": ("data=0", lambda: density(0)),
    "True points of a toy set": ("n_data", lambda: Toy(n_data=True)),
    "a slope that is one number": ("slope", lambda: Linear(0.0)),
}


@pytest.mark.parametrize("what", FOUND)
def test_found(what: str) -> None:
    word, call = FOUND[what]
    with within(10), pytest.raises(ValueError) as error:
        call()
    assert word in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"PK\x03\x04",  # numpy.load took it for a zip
        b"\x93NUMPY\x01\x00v\x00{'descr': '<c8', 'fortran_order': False, 'shape'(gWW-: (24, 2), }".ljust(127) + b"\n",
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (20, (4".ljust(127) + b"\n",
    ],
    ids=["zip", "SyntaxError", "TokenError"],
)
def test_arrays_found(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    for read in (read_array, open_samples):
        with pytest.raises(ValueError, match="is no array of numbers"):
            read(tmp_path / "x.npy")
