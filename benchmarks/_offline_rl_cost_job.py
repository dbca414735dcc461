"""The rows, the environment and the loop in which a process is asked to work, in `suite=offline_rl_cost`.

Needs torch, NumPy and, to evaluate, gymnasium and MuJoCo: it also runs in the environments of the peers. A peer is a
script that calls `serve` with what makes its works; requests and answers are lines of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

N, OBSERVATION, ACTION, BATCH, WIDTH, EPISODES = 100_000, 11, 3, 256, 256, 20
Work = Callable[[int], object]
"""Does so much of its work: gradient steps, states with a support, or environment steps of each of 20 episodes."""


def rows() -> dict[str, np.ndarray]:
    """Random transitions, float32: the cost of a step does not depend on values. Episodes of 1,000 end by time."""
    random = np.random.default_rng(0)
    return {
        "observations": random.standard_normal((N, OBSERVATION), dtype=np.float32),
        "actions": np.tanh(random.standard_normal((N, ACTION), dtype=np.float32)),
        "rewards": random.standard_normal(N, dtype=np.float32),
        "next_observations": random.standard_normal((N, OBSERVATION), dtype=np.float32),
        "terminals": np.zeros(N, dtype=np.float32),
    }


def hopper(length: int) -> Any:
    """A Hopper that runs for so many steps whatever it does, so that all who evaluate take equally many."""
    import gymnasium
    import mujoco

    mujoco.set_mju_user_warning(lambda message: None)  # pyright: ignore[reportAttributeAccessIssue] - not in its stubs
    return gymnasium.make("Hopper-v5", terminate_when_unhealthy=False, max_episode_steps=length)


def serve(make: Callable[[], Mapping[str, Work]]) -> None:
    """Answer requests until the input ends, in seconds of CPU. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    works = make()

    def answer(request: dict[str, Any]) -> dict[str, object]:
        if request["do"] == "works":
            return {"works": list(works), "torch": torch.__version__}
        began = time.process_time()
        works[request["do"]](request["count"])
        return {"seconds": time.process_time() - began}

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
