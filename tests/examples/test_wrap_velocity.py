"""The adapters of the example are exact, and the example runs as a user would run it."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import egflow
from egflow import Flow, TrainingOptions
from egflow.path import VP

FILE = Path(__file__).parents[2] / "examples" / "wrap_velocity.py"
STD = torch.tensor([0.3, 1.5], dtype=torch.float64)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wrap_velocity", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    argv, sys.argv = sys.argv, [str(FILE)]
    try:
        spec.loader.exec_module(module)
    finally:
        sys.argv = argv
    return module


class Exact(nn.Module):
    """The exact network of N(0, STD²), called as ``call`` sorts out what it is given."""

    def __init__(self, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.std, self.call = nn.Parameter(STD), call

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.call(self.std, *args, **kwargs)


def velocity(std: Tensor, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
    t = t[:, None]
    moved = (t * std**2 - (1 - t)) / (t**2 * std**2 + (1 - t) ** 2) * x
    return moved if condition is None else moved + condition[:, None] * x


def noise_at(kept: Tensor, std: Tensor, x: Tensor, step: Tensor) -> Tensor:
    """What a diffusion model knows: E[noise | x] at a step of the schedule."""
    share = kept[step.round().long()][:, None]
    return (1 - share).sqrt() * x / (share * std**2 + 1 - share)


def test_adapters_give_the_density_of_what_they_wrap(example: ModuleType) -> None:
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1_000, dtype=torch.float64), dim=0)
    wrapped = {
        "flow_matching": example.FromFlowMatching(Exact(lambda std, *, x, t: velocity(std, x, t))),
        "U-Net of torchcfm": example.FromTorchCFM(Exact(lambda std, t, x, y=None: velocity(std, x, t))),
        "MLP of torchcfm": example.FromTorchCFM(Exact(lambda std, xt: velocity(std, xt[:, :2], xt[:, 2])), joined=True),
        "turned": example.FromDataToNoise(Exact(lambda std, x, t: -velocity(std, x, 1 - t))),
    }
    x = STD * torch.randn(50, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = torch.distributions.Normal(torch.zeros(2).double(), STD).log_prob(x).sum(1)
    for name, network in wrapped.items():
        flow = Flow(network, event_shape=(2,))
        assert float((flow.log_prob(x) - exact).abs().max()) < 2e-3, name
    diffusion = example.FromDiffusion(Exact(lambda std, x, step: noise_at(kept, std, x, step)))
    flow = Flow(diffusion, event_shape=(2,), path="vp", prediction="noise")
    made = flow.sample(20_000)
    assert ((made.std(0) / STD - 1).abs() < 0.02).all()
    # a step is .001 of the time: the network is asked for a neighbouring one, half a step off in the mean
    log_p = flow.log_prob(x, solver="rk4")
    assert float((log_p - exact).abs().max()) < 0.1


def test_the_linear_schedule_is_the_path_vp() -> None:
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1_000, dtype=torch.float64), dim=0)
    t = 1 - torch.arange(1, 1_001, dtype=torch.float64) / 1_000
    assert float((VP().alpha(t)[0] - kept.sqrt()).abs().max()) < 1e-3


def test_conditions_reach_the_network(example: ModuleType) -> None:
    """Labels by the name that flow_matching's model knows them by, or as torchcfm's y; tilted as any other base."""
    by_name = example.FromFlowMatching(Exact(lambda std, *, x, t, label: velocity(std, x, t, label)), extra="label")
    as_y = example.FromTorchCFM(Exact(lambda std, t, x, y=None: velocity(std, x, t, y)))
    flows = [Flow(network, event_shape=(2,), num_classes=3) for network in (by_name, as_y)]
    samples = [[flow.sample(2_000, condition=label) for label in (0, 2)] for flow in flows]
    assert torch.equal(samples[0][1], samples[1][1])
    # the field x is added `label` times, which carries every point e^label further
    torch.testing.assert_close(samples[0][1].std(0), math.exp(2) * samples[0][0].std(0), rtol=1e-3, atol=0)
    data = (STD * torch.randn(200, 2, dtype=torch.float64)).float()
    guided = egflow.tilt(
        flows[0].to(dtype=torch.float32),
        lambda x: x[:, 0],
        0.1,
        data=data,
        condition=torch.arange(200) % 3,
        steps=2,
        batch_size=16,
        options=TrainingOptions(progress="quiet"),
    )
    assert guided.sample(5, condition=1).shape == (5, 2)
    with pytest.raises(ValueError, match="condition is missing"):
        flows[1].sample(5)
    with pytest.raises(ValueError, match="give one of the two"):
        Flow(as_y, event_shape=(2,), num_classes=3, condition_shape=(2,))
    vectors = Flow(example.FromDataToNoise(Exact(lambda std, x, t, c: x * c[:, :1])), (2,), condition_shape=(4,))
    assert vectors.sample(3, condition=torch.zeros(3, 4)).shape == (3, 2)


def test_the_example_runs_and_moves_every_base() -> None:
    line, environment = [sys.executable, "-W", "error", FILE, "60"], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    means = re.findall(r"^(\S.+?)  +(?:-?\d\.\d+ +){4} +(-?\d\.\d+) ", done.stdout, re.M)
    assert len(means) == 5
    for name, mean in means:
        assert float(mean) < -0.25, (name, done.stdout)
