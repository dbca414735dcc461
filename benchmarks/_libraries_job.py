"""The job that every library does in `suite=libraries`, and the loop in which a process is asked to do it.

Needs torch and safetensors alone: it also runs in the environments of the peers. A library is a script that calls
`serve` with its own training and its own solvers; requests and answers are lines of JSON.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Draw = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(x_0, x_1) -> t (batch,), x_t and its velocity: all of a training step that a library brings to the loop."""
Train = Callable[[nn.Module, Tensor, int, int, bool], float]
"""(network, x, steps, batch, ot) -> seconds."""
Solve = Callable[["Network", Tensor, float], Tensor]
"""(network, points, setting) -> samples, or log-densities."""


class Network(nn.Module):
    """Four hidden layers of 256 on (x, t), as one would write it by hand; counts the rows that pass through it."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (3, 256, 256, 256, 256)
        layers = [part for i, o in pairwise(sizes) for part in (nn.Linear(i, o), nn.SiLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(256, 2))
        self.rows = 0

    def forward(self, x: Tensor, t: Tensor, condition: None = None, beta: None = None) -> Tensor:
        self.rows += len(x)
        return self.layers(torch.cat([x, t[:, None]], 1))


def loop(network: nn.Module, x: Tensor, steps: int, batch: int, draw: Draw) -> float:
    """Training by hand around a library's draw: fused Adam, cosine schedule, clipping, averaged weights. Seconds."""
    parameters = list(network.parameters())
    average = [p.detach().clone() for p in parameters]
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)
    start = time.perf_counter()
    for step in range(steps):
        x_1 = x[torch.randint(len(x), (batch,))]
        t, x_t, velocity = draw(torch.randn_like(x_1), x_1)
        loss = (network(x_t, t) - velocity).square().mean()
        optimiser.param_groups[0]["lr"] = 0.5e-3 * (1 + math.cos(math.pi * step / steps))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(parameters, 1.0)
        if not math.isfinite(norm):
            raise RuntimeError("loss is not finite")
        optimiser.step()
        with torch.no_grad():
            for kept, new in zip(average, parameters, strict=True):
                kept.lerp_(new, 1e-3)
    return time.perf_counter() - start


def log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I) of (batch, 2)."""
    return -0.5 * z.square().sum(1) - math.log(2 * math.pi)


def serve(train: Train, sample: Mapping[str, Solve], likelihood: Mapping[str, Solve]) -> None:
    """Answer requests until the input ends. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    problem = load_file(folder / "problem.safetensors")
    weights = load_file(folder / "weights.safetensors")
    start = Network()
    network = Network()
    network.load_state_dict(weights)
    network.eval()

    def answer(request: dict[str, Any]) -> dict[str, object]:
        if request["do"] == "solvers":
            return {"sample": list(sample), "likelihood": list(likelihood), "torch": torch.__version__}
        if request["do"] == "train":
            torch.manual_seed(0)
            start.load_state_dict(weights)  # the same network for every block
            seconds = train(start, problem["x"], request["steps"], request["batch"], request["ot"])
            return {"seconds": seconds}
        job, solver = str(request["do"]), str(request["solver"])
        solve = (sample if job == "sample" else likelihood)[solver]
        points, reference = problem[f"{job}_points"], problem[f"{job}_reference"]
        network.rows = 0
        began = time.perf_counter()
        found = solve(network, points, float(request["setting"]))
        seconds = time.perf_counter() - began
        error = math.sqrt(float((found.detach().double() - reference).square().mean()))
        return {"seconds": seconds, "evaluations": network.rows / len(points), "error": error}

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
