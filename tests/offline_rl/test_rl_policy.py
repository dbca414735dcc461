"""A policy acts in the environment's units, comes back from disk as it was, and refuses what it cannot read."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from egflow_offline_rl import load_policy
from egflow_offline_rl.actors import FlowActor
from egflow_offline_rl.baselines.qgpo import GuidedActor
from egflow_offline_rl.networks import DeterministicActor, GaussianActor, OneStepActor, TwinQ
from egflow_offline_rl.policy import ACTORS, Policy
from egflow_offline_rl.replay import Scaling

from egflow.flow import Flow
from egflow.network import MLP

LOW, HIGH = torch.tensor([-2.0, 0.1]), torch.tensor([1.0, 0.7])
SCALING = Scaling(torch.tensor([1.0, 0.0, -3.0]), torch.tensor([2.0, 1.0, 0.5]), LOW, HIGH)


def flow() -> Flow:
    torch.manual_seed(3)
    network = MLP((2,), width=16, depth=1, condition_dim=3)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made = Flow(network, (2,))
    made.condition_shape = (3,)
    return made


def actors() -> dict[str, object]:
    torch.manual_seed(0)
    return {
        "DeterministicActor": DeterministicActor(3, 2, width=8),
        "GaussianActor": GaussianActor(3, 2, width=8),
        "OneStepActor": OneStepActor(3, 2, width=8, depth=1),
        "FlowActor": FlowActor(flow(), "euler:4"),
        "GuidedActor": GuidedActor(flow(), width=8, depth=2, scale=0.5, solver="euler:4"),
    }


def policy(actor: object | None = None) -> Policy:
    return Policy(
        scaling=SCALING,
        actor=actor or (lambda observations, seed: observations[:, :2]),  # type: ignore[arg-type]
        critic=TwinQ(3, 2, width=8),
        method="qipo",
        env_spec=gym.spec("Pendulum-v1"),
        dataset="egflow/pendulum/medium-v0",
        reference=(-1200.0, -150.0),
        facts={"beta": 3.0},
    )


OBSERVATIONS = np.random.default_rng(0).normal(size=(6, 3)) * 3


def test_units_bounds_and_shapes() -> None:
    given = policy()
    # standardised: (1 − 1)/2 = 0 and (.5 − 0)/1 = .5, in units of the space; then the middle, and .4 + .5·.3
    single = given.act(np.array([1.0, 0.5, 9.0]))
    assert single.shape == (2,) and single.dtype == np.float32 and single.tolist() == pytest.approx([-0.5, 0.55])
    many = given.act(np.array([[1e6, -1e6, 0.0], [1.0, 0.5, 9.0]]))
    assert many.shape == (2, 2) and many[1].tolist() == single.tolist()
    assert many[0].tolist() == [np.float32(1.0), np.float32(0.1)]  # exactly at the bounds, not past them by rounding
    assert given.act(np.zeros((0, 3))).shape == (0, 2)


def test_dict_observations() -> None:
    seen = {"achieved_goal": np.full(2, 99.0), "desired_goal": np.array([9.0]), "observation": np.array([1.0, 0.5])}
    assert policy().act(seen).tolist() == pytest.approx([-0.5, 0.55])
    batch = {key: np.stack([value] * 4) for key, value in seen.items()}
    assert policy().act(batch).shape == (4, 2)


@pytest.mark.parametrize("name", ACTORS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    given = policy(actors()[name])
    given.save(tmp_path / "run" / "model")
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        back = load_policy(folder)
        assert np.array_equal(back.act(OBSERVATIONS, seed=5), given.act(OBSERVATIONS, seed=5))
        best = back.best_of(4).act(OBSERVATIONS, seed=5)
        assert np.array_equal(best, given.best_of(4).act(OBSERVATIONS, seed=5))
    assert back.env_spec is not None and back.env_spec.id == "Pendulum-v1" and back.env_spec.max_episode_steps == 200
    kept = ("method", "dataset", "reference", "facts")
    assert [getattr(back, key) for key in kept] == [getattr(given, key) for key in kept]
    files = {file.name for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert files == {"model.json", "weights.safetensors"}
    given.save(tmp_path / "run" / "model")  # over itself


def test_an_actor_that_draws_is_fixed_by_its_seed_alone() -> None:
    given = policy(actors()["FlowActor"])
    first, again, other = (given.act(OBSERVATIONS, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    torch.manual_seed(0)
    assert not np.array_equal(given.act(OBSERVATIONS), given.act(OBSERVATIONS))


def test_best_of_takes_the_draw_with_the_largest_least_q() -> None:
    class Grid:
        def __call__(self, observations: torch.Tensor, seed: int) -> torch.Tensor:
            return torch.linspace(-2, 2, len(observations) // 2).repeat(2)[:, None].expand(-1, 2)

    class Critic(torch.nn.Module):
        def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
            assert float(actions.abs().max()) <= 1  # clipped before Q
            peak = -(actions[:, 0] - 0.5).abs()
            return torch.stack([peak, 0 * peak + 10])

    best = replace(policy(Grid()), critic=Critic()).best_of(9)
    units = SCALING.to_unit(torch.from_numpy(best.act(np.zeros((2, 3)))))
    assert torch.allclose(units, torch.full((2, 2), 0.5), atol=1e-6)


def test_observations_it_cannot_read() -> None:
    wrong = OBSERVATIONS.copy()
    wrong[4, 1] = np.nan
    for observation, expected in (
        (np.zeros(4), "observation must have shape (3,) or (n, 3), got (4,)"),
        (np.zeros((2, 2, 3)), "got (2, 2, 3)"),
        (np.float64(1.0), "got ()"),
        (wrong, "observation must be finite, got nan at index (4, 1)"),
        (np.array([1.0, 1e300, 0.0]), "got inf at index (1,)"),
        ({"observation": np.zeros(2)}, "got (2,)"),
        ("left", "cannot be read as numbers"),
    ):
        with pytest.raises(ValueError) as error, np.errstate(over="ignore"):
            policy().act(observation)  # type: ignore[arg-type]
        assert expected in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(RuntimeError, match="gave NaN"):
        policy(lambda observations, seed: observations[:, :2] * torch.nan).act(OBSERVATIONS)


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be saved"):
        policy(lambda observations, seed: observations).save(tmp_path / "model")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="not a saved model"):
        policy(actors()["FlowActor"]).save(tmp_path / "other")
    assert not (tmp_path / "model").exists() and (tmp_path / "other" / "thesis.txt").read_text() == "mine"
    with pytest.raises(ValueError, match="needs a critic"):
        replace(policy(), critic=None).best_of(2)


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    policy(actors()["FlowActor"]).save(tmp_path / "whole")

    def change(key: str, value: object) -> None:
        content = json.loads((tmp_path / "broken" / "model.json").read_text()) | {key: value}
        (tmp_path / "broken" / "model.json").write_text(json.dumps(content))

    def cut(file: str, at: int) -> None:
        (tmp_path / "broken" / file).write_bytes((tmp_path / "broken" / file).read_bytes()[:at])

    harms = {
        "json": lambda: cut("model.json", 50),
        "weights": lambda: cut("weights.safetensors", 100),
        "no weights": lambda: (tmp_path / "broken" / "weights.safetensors").unlink(),
        "flow": lambda: cut("flow/weights.safetensors", 100),
        "no flow": lambda: shutil.rmtree(tmp_path / "broken" / "flow"),
        "schema": lambda: change("schema", "egflow-policy/9"),
        "actor": lambda: change("actor", {"name": "os.system", "config": {}}),
        "argument": lambda: change("actor", {"name": "FlowActor", "config": {"nothing": 1}}),
        "flows": lambda: change("flows", ["../flow"]),
        "critic": lambda: change("critic", {"observation_size": 4, "action_size": 2, "width": 8}),
        "list": lambda: (tmp_path / "broken" / "model.json").write_text("[]"),
    }
    for name, harm in harms.items():
        shutil.rmtree(tmp_path / "broken", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "broken")
        harm()
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            load_policy(tmp_path / "broken")
        assert "broken" in str(error.value) and "\n" not in str(error.value), name
    with pytest.raises(FileNotFoundError, match="holds no whole saved policy"):
        load_policy(tmp_path / "nowhere")


def test_an_environment_that_would_run_foreign_code_is_left_out(tmp_path: Path) -> None:
    policy(actors()["DeterministicActor"]).save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    content = json.loads(file.read_text())
    content["environment"]["entry_point"] = "os:system"
    file.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="would run os:system"):
        assert load_policy(tmp_path / "model").env_spec is None
