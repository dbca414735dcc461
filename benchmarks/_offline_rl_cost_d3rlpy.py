"""`suite=offline_rl_cost` with d3rlpy: its `fit`, files and progress bar left out, and its own evaluation.

BCQ is its nearest relative of QIPO: a generative behaviour (there a VAE), twin Q backed up over its sampled actions,
and a policy, all three in every step; here with M = 8 actions as egflow's, not 100.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _offline_rl_cost_job import BATCH, EPISODES, N, Work, hopper, rows, serve
from d3rlpy.algos import BCQConfig, IQLConfig, TD3PlusBCConfig  # pyright: ignore[reportMissingImports] - in its own environment
from d3rlpy.dataset import MDPDataset  # pyright: ignore[reportMissingImports] - in its own environment
from d3rlpy.logging import NoopAdapterFactory  # pyright: ignore[reportMissingImports] - in its own environment
from d3rlpy.metrics.utility import evaluate_qlearning_with_environment  # pyright: ignore[reportMissingImports] - in its own environment

M = 8
METHODS = {
    "td3bc": TD3PlusBCConfig(batch_size=BATCH),
    "iql": IQLConfig(batch_size=BATCH),
    "bcq": BCQConfig(batch_size=BATCH, n_action_samples=M),
}


def works() -> dict[str, Work]:
    """Networks are its defaults, 2 x 256."""
    table, ends = rows(), np.zeros(N, dtype=np.float32)
    ends[999::1_000] = 1
    columns = (table[key] for key in ("observations", "actions", "rewards", "terminals"))
    data, made = MDPDataset(*columns, timeouts=ends), {}
    for name, config in METHODS.items():
        method = config.create(device=False)
        method.build_with_dataset(data)
        made[name] = fitting(method, data)
        made[f"evaluation {name}"] = evaluating(method)
    return made


def fitting(method: Any, data: Any) -> Work:
    return lambda steps: method.fit(
        data, n_steps=steps, n_steps_per_epoch=steps, logger_adapter=NoopAdapterFactory(), show_progress=False
    )


def evaluating(method: Any) -> Work:
    return lambda length: evaluate_qlearning_with_environment(method, hopper(length), n_trials=EPISODES)


if __name__ == "__main__":
    serve(works)
