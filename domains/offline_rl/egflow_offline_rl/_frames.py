"""``python -m egflow_offline_rl._frames ask.npz frames.npy``: repeat an episode's actions, draw some of its frames."""

from __future__ import annotations

import sys

import numpy as np

from egflow_offline_rl.environments import make_environment, spec_from_json


def main(ask: str, answer: str) -> None:
    """Read what to draw, draw it, write it."""
    with np.load(ask, allow_pickle=False) as given:
        text, seed, actions, steps = (
            str(given["env"]),
            int(given["seed"]),
            given["actions"],
            set(given["steps"].tolist()),
        )
        spec = spec_from_json(text) if bool(given["is_spec"]) else text
    environment = make_environment(spec, render_mode="rgb_array")
    environment.reset(seed=seed)
    frames = [environment.render()] if 0 in steps else []
    for step, action in enumerate(actions, start=1):
        environment.step(action)
        if step in steps:
            frames.append(environment.render())
    environment.close()
    np.save(answer, np.stack(frames).astype(np.uint8))  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
