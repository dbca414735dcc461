"""The public functions with hostile arguments: they work, or say which argument is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import altered, anything, count, judged
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import egflow
from egflow.energy import EnergyValues
from egflow.training import TrainingOptions

QUIET = TrainingOptions(progress="quiet")
X = torch.randn(40, 2, generator=torch.Generator().manual_seed(1))
TOKENS = torch.randint(3, (40, 4), generator=torch.Generator().manual_seed(2))
LABELS = torch.arange(40) % 3


def height(x: Tensor) -> Tensor:
    """E(x), of points and of tokens."""
    return x[:, 0].double()


@pytest.fixture(scope="module")
def flows() -> dict[str, Any]:
    base = egflow.fit(X, steps=2, batch_size=8, options=QUIET)
    labelled = egflow.fit(X, LABELS, steps=2, batch_size=8, options=QUIET)
    tokens = egflow.fit(TOKENS, vocab_size=3, steps=2, batch_size=8, options=QUIET)
    few = {"steps": 2, "batch_size": 8, "options": QUIET}
    return {
        "base": base,
        "labelled": labelled,
        "tokens": tokens,
        "tilted": egflow.tilt(base, height, 0.5, data=X, **few),
        "ranged": egflow.tilt(base, height, (0.0, 1.0), data=X, **few),
    }


SEEDS = anything(0, 3, -1, 2**64, 2**200)
FIT = {
    "x": anything(X, TOKENS),
    "condition": anything(LABELS, X),
    "network": anything().filter(lambda value: not isinstance(value, torch.nn.Module)),  # its own errors are its own
    "vocab_size": count(),
    "pad_id": anything(0, 3),
    "path": anything("vp", "masked", "sequential"),
    "steps": count(),
    "batch_size": count(),
    "sample_weight": anything(torch.ones(40)),
    "device": anything("cpu"),
    "seed": SEEDS,
    "options": anything(),
}


@given(altered(FIT))
def test_fit(changed: dict[str, Any]) -> None:
    flow = judged(lambda: egflow.fit(**{"x": X, "steps": 1, "batch_size": 4, "options": QUIET} | changed), *changed)
    if flow is not None and flow.condition_shape is None:
        judged(lambda: flow.sample(2), *changed)


@given(altered({name: FIT[name] for name in FIT if name != "x"} | {"x": anything(TOKENS)}))
def test_fit_of_tokens(changed: dict[str, Any]) -> None:
    judged(
        lambda: egflow.fit(**{"x": TOKENS, "vocab_size": 3, "steps": 1, "batch_size": 4, "options": QUIET} | changed),
        *changed,
    )


TILT = {
    "energy": anything(height, [height, height], lambda x: x, lambda x: x[:, 0] / 0, lambda x: x[:, 0] * math.nan),
    "beta": anything("auto", (0.0, 1.0), [(0.0, 1.0), (0.0, 2.0)], -2.0, 1e4, 1e30),
    "data": anything(X, TOKENS),
    "condition": anything(LABELS),
    "sample_weight": anything(torch.ones(40)),
    "method": anything("cefm", "ced", "twist", "trajectory_balance"),
    "weights": anything("global", "softmax"),
    "per_condition": anything(True),
    "rounds": anything("auto"),
    "target_ess": anything(0.5),
    "log_p": anything(height),
    "max_calls": anything(),
    "steps": count(),
    "batch_size": count(),
    "device": anything("cpu"),
    "seed": SEEDS,
    "network": anything(),
    "energies": anything([EnergyValues.from_tensor(X[:, 0])]),
    "options": anything(),
    "reporting": anything(),
}


@given(changed=altered(TILT), base=st.sampled_from(["base", "labelled", "tokens"]))
def test_tilt(flows: dict[str, Any], changed: dict[str, Any], base: str) -> None:
    few = {"steps": 1, "batch_size": 4, "options": QUIET, "rounds": None}
    x = {"base": X, "labelled": X, "tokens": TOKENS}[base]
    plain = {"energy": height, "beta": 1.0, "data": x, "condition": LABELS if base == "labelled" else None} | few
    arguments = plain | changed
    if arguments["data"] is None or arguments["rounds"] is not None:
        arguments |= {"draws": 60, "max_calls": 200} if arguments["rounds"] is not None else {"draws": 60}
    names = [*changed, "base", "samples"]  # what does not fit the base, and what the rounds drew
    flow = judged(lambda: egflow.tilt(flows[base], **arguments), *names, kinds=(ValueError, TypeError))
    if flow is not None:
        judged(lambda: flow.report.to_dict())
        judged(lambda: str(flow.report))


@given(altered({"base": anything()}, most=1))
def test_tilt_of_no_flow(changed: dict[str, Any]) -> None:
    judged(lambda: egflow.tilt(changed["base"], height, 1.0, data=X, steps=1, batch_size=4, options=QUIET), "base")


REPORT = {
    "samples": anything(X, TOKENS),
    "energy": TILT["energy"],
    "beta": anything(1e4, -3.0),
    "data": anything(X, TOKENS),
    "condition": anything(LABELS),
    "sample_condition": anything(LABELS),
    "sample_weight": anything(torch.ones(40)),
    "energies": anything(EnergyValues.from_tensor(X[:, 0])),
    "sample_energies": anything(EnergyValues.from_tensor(X[:, 0])),
    "per_condition": anything(True),
    "pad_id": anything(0),
    "log_q": anything(height, lambda x, c: x[:, 0]),
    "log_base": anything(lambda x, c: x[:, 0]),
    "reference": anything("base", "density"),
    "against_data": anything((X, EnergyValues.from_tensor(X[:, 0]))),
    "notes": anything({"nfe": "why"}),
    "energy_name": anything("height"),
}


@given(altered(REPORT))
def test_report(changed: dict[str, Any]) -> None:
    plain = {"samples": X - 0.1, "energy": height, "beta": 1.0, "data": X}
    made = judged(lambda: egflow.report(**plain | changed), *changed, kinds=(ValueError, TypeError))
    if made is not None:
        judged(made.to_dict)
        judged(lambda: str(made))


CORRECT = {
    "samples": anything(X),
    "flow": anything(),
    "base": anything(),
    "energy": TILT["energy"],
    "beta": anything(1e4, [1.0]),
    "condition": anything(LABELS),
    "log_q": anything(torch.zeros(40), torch.full((40,), -math.inf)),
}


@given(altered(CORRECT))
def test_correction_log_weights(flows: dict[str, Any], changed: dict[str, Any]) -> None:
    plain = {"samples": X, "flow": flows["tilted"], "base": flows["base"], "energy": height, "beta": 0.5}
    names = [*changed, "sample", "x must", "beta must"]  # a list of energies needs a list of betas
    kinds = (ValueError, TypeError)
    judged(lambda: egflow.correction_log_weights(**plain | changed)[0], *names, kinds=kinds)


@given(altered(CORRECT | {"n": count(), "seed": SEEDS}))
def test_correct(flows: dict[str, Any], changed: dict[str, Any]) -> None:
    plain = {"samples": X, "flow": flows["tilted"], "base": flows["base"], "energy": height, "beta": 0.5}
    names = [*changed, "sample", "x must", "beta must"]
    judged(lambda: egflow.correct(**plain | changed), *names, kinds=(ValueError, TypeError))


SAMPLE = {
    "n": count(),
    "condition": anything(LABELS, 1, torch.tensor(2)),
    "beta": anything(0.5, [0.5]),
    "solver": anything("euler", "rk4:3", "dopri5", "tuned"),
    "correct": anything(True),
    "energy": anything(height),
    "rtol": anything(1e-3),
    "atol": anything(1e-3),
    "seed": SEEDS,
}


@given(changed=altered(SAMPLE), name=st.sampled_from(["base", "labelled", "tilted", "ranged", "tokens"]))
def test_sample(flows: dict[str, Any], changed: dict[str, Any], name: str) -> None:
    flow = flows[name]
    plain: dict[str, Any] = {"n": 3}
    if name == "ranged":
        plain["beta"] = 0.5
    if name == "labelled":
        plain["condition"] = 1
    if any(isinstance(changed.get(tolerance), float) and changed[tolerance] < 1e-6 for tolerance in ("rtol", "atol")):
        changed = changed | {"rtol": 1e-3, "atol": 1e-3}  # smaller ones rightly take their time
    names = [*changed, "y0"] if name != "tokens" else [*changed, "takes no"]
    judged(lambda: flow.sample(**plain | changed), *names, kinds=(ValueError, TypeError))


@given(
    changed=altered(
        {"x": anything(X, TOKENS), "condition": SAMPLE["condition"], "beta": SAMPLE["beta"], "probes": count()}
    ),
    name=st.sampled_from(["base", "labelled", "ranged", "tokens"]),
)
def test_log_prob(flows: dict[str, Any], changed: dict[str, Any], name: str) -> None:
    plain: dict[str, Any] = {"x": TOKENS if name == "tokens" else X[:2]}
    if name == "ranged":
        plain["beta"] = 0.5
    if name == "labelled":
        plain["condition"] = 1
    judged(lambda: flows[name].log_prob(**plain | changed), *changed, kinds=(ValueError, TypeError))


@given(altered({"x": anything(X), "t": anything(0.5, torch.rand(40)), "condition": anything()}))
def test_velocity(flows: dict[str, Any], changed: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"x": X, "t": 0.5}
    judged(lambda: flows["base"].velocity(**plain | changed).nan_to_num(), *changed)  # at NaN it is NaN


FLOW = {
    "network": anything(lambda z, t, c: 0 * z),
    "event_shape": anything((2,), (2, 2)),
    "path": anything("vp"),
    "prediction": anything("noise", "score_fn"),
    "shift": anything(torch.zeros(2)),
    "scale": anything(torch.ones(2), torch.tensor([1.0, 0.0])),
}


@given(altered(FLOW))
def test_a_flow_of_ones_own(changed: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"network": torch.nn.Identity(), "event_shape": (2,)}
    judged(lambda: egflow.Flow(**plain | changed), *changed)


OPTIONS = {
    "learning_rate": anything(1e-3),
    "ema": anything(0.5),
    "clip": anything(1.0),
    "autocast": anything(),
    "coupling": anything("ot"),
    "accumulate": count(),
    "folder": anything().filter(lambda value: not isinstance(value, str)),  # a name of a folder is one
    "stage": anything(),
    "resume": anything(),
    "checkpoint_every": count(),
    "log_every": count(),
    "progress": anything("quiet"),
    "tensorboard": anything(),
}


@given(altered(OPTIONS))
def test_options(changed: dict[str, Any]) -> None:
    judged(lambda: TrainingOptions(**changed), *changed)


def test_a_seed_or_count_may_be_numpys(flows: dict[str, Any]) -> None:
    """Checks of kind let every whole number through."""
    assert torch.equal(flows["base"].sample(2, seed=np.int64(3)), flows["base"].sample(2, seed=3))
