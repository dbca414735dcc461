"""``domain=offline_rl`` from a data set to a report, and again: every method, small; what is refused and printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from egflow_offline_rl import SPEC, load_policy
from egflow_offline_rl._figures import returns_figure
from egflow_offline_rl._returns import Returns, return_metrics, words
from egflow_offline_rl._rollout import render, roll_out
from egflow_offline_rl.dataset import Transitions
from egflow_offline_rl.domain import OfflineRL, making
from egflow_offline_rl.evaluation import Evaluation
from egflow_offline_rl.methods import METHODS
from egflow_offline_rl.options import Options

from egflow.cli import _door
from egflow.cli._compose import Arguments, compose
from egflow.cli._own import job_of

SMALL = [
    "domain=offline_rl",
    "trainer.steps=20",
    "trainer.batch_size=32",
    "trainer.progress=quiet",
    "n=300",
    *(f"offline_rl.{name}=12" for name in ("width", "policy_width", "critic_steps")),
    *("offline_rl.policy_steps=20", "offline_rl.support_states=100", "offline_rl.support=4", "offline_rl.best_of=2"),
    *("offline_rl.depth=1", "offline_rl.policy_depth=1", "offline_rl.episodes=2", "offline_rl.renew_every=10"),
]
KEYS = {
    *("return_mean", "return_std", "normalized_return_mean", "normalized_return_std", "data_return_mean"),
    *("bc_return_mean", "episodes", "sigma_q", "q_return_correlation", "beats_data", "beats_bc"),
}
AGAIN = ("td3bc", "qgpo")  # without a behaviour policy; with a potential beside its flow
Command = Callable[..., tuple[int, str, str]]


def swings(name: str = "test/pendulum/random-v0", episodes: int = 12) -> Transitions:
    """Random actions on Pendulum, 50 steps an episode."""
    environment, rng = gym.make("Pendulum-v1"), np.random.default_rng(0)
    rows: list[tuple[np.ndarray, np.ndarray, float, np.ndarray, int, int]] = []
    for episode in range(episodes):
        seen, _ = environment.reset(seed=episode)
        for step in range(50):
            action = rng.uniform(-2, 2, 1).astype(np.float32)
            after, reward, *_ = environment.step(action)
            rows.append((seen, action, float(reward), after, episode, step))
            seen = after
    seen, action, reward, after, episode, step = (
        torch.from_numpy(np.array(column)) for column in zip(*rows, strict=True)
    )
    return Transitions(
        observations=seen,
        actions=action,
        rewards=reward.float(),
        next_observations=after,
        terminations=torch.zeros(len(rows), dtype=torch.bool),
        episode=episode,
        step=step,
        truncated=torch.ones(len(rows), dtype=torch.bool),
        action_low=torch.tensor([-2.0]),
        action_high=torch.tensor([2.0]),
        episode_returns=reward.float().reshape(episodes, 50).sum(1),
        name=name,
        env_spec=replace(gym.spec("Pendulum-v1"), max_episode_steps=20),
        reference=(-1500.0, -150.0),
        facts={"environment_error": ""},
    )


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """A command in this process on data that are made in memory: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("egflow_offline_rl.domain.load_dataset", swings)
    monkeypatch.setattr("egflow_offline_rl._rollout.render", lambda *_: (None, "no frames in this test"))

    def call(name: str, *argv: str) -> tuple[int, str, str]:
        code = _door.run(name, argv)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def report(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def test_a_run_its_evaluation_and_its_samples(command: Command, tmp_path: Path) -> None:
    code, out, err = command("train", *SMALL, "data=test/pendulum/random-v0", "run_dir=run", "beta=.3")
    assert (code, err) == (0, "")
    run = tmp_path / "run"
    pictures = {file.name for file in (run / "figures").iterdir()}
    own = {"returns.png", "q.png", "actions.png", "achieved_beta.png", "rollout.png"}
    assert pictures == own | {"energy.png", "samples.png", "loss.png"}
    first = report(run)
    assert (first["domain"], first["method"], first["beta"], first["reference"]) == ("offline_rl", "qipo", 0.3, "base")
    metrics = first["domain_metrics"]
    assert metrics.keys() >= KEYS and metrics["episodes"] == 2 and metrics["best_of_n"] == 2
    # beta is asked for in units of 1/σ_Q (normalize=global_std), and spent on Q's own scale
    spent = first["rounds"]["rounds"][-1]["beta"]
    assert "σ_Q" in first["energy"] and metrics["beta_sigma_q"] == pytest.approx(spent * metrics["sigma_q"], rel=1e-6)
    assert all(key in first["notes"] for key in ("log_z", "reference")) and first["log_z"] is None
    with np.load(run / "samples.npz") as samples:
        assert samples["observations"].shape == (len(samples["actions"]), 3) and samples["actions"].shape[1] == 1
        assert float(np.abs(samples["actions"]).max()) <= 2
        assert np.hypot(samples["observations"][:, 0], samples["observations"][:, 1]) == pytest.approx(1, abs=1e-4)
    shown = out[out.index("return: policy ") + 15 :].partition(" ± ")[0].replace(",", "")
    assert float(shown) == pytest.approx(metrics["return_mean"], rel=0.01)
    assert "behaviour cloning" in out and "(2 episodes of Pendulum-v1" in out and "Written to run" in out

    # the policy that was saved is the one that was reported on
    policy = load_policy(run)
    assert policy.act(np.zeros(3), seed=0).shape == (1,)
    assert command("evaluate", "run=run", "seed=0", "out=same")[0] == 0
    same = report(tmp_path / "same")
    for key in ("return_mean", "bc_return_mean", "best_of_n_return_mean", "sigma_q"):
        assert same["domain_metrics"][key] == pytest.approx(metrics[key], rel=1e-5)
    for key in ("n_eff", "achieved_beta", "energy_ks"):
        assert same[key] == pytest.approx(first[key], rel=1e-4)
    assert command("evaluate", "run=run", "out=more", "offline_rl.episodes=3", "offline_rl.bc_baseline=false")[0] == 0
    more = report(tmp_path / "more")
    assert more["domain_metrics"]["episodes"] == 3 and more["domain_metrics"]["bc_return_mean"] is None
    assert (
        "bc_baseline" in more["notes"]["bc_return_mean"] and (tmp_path / "more" / "figures" / "rollout.png").is_file()
    )

    assert command("sample", "run=run", "n=7", "out=acts")[0] == 0
    assert command("sample", "run=run", "n=7", "out=acts.npz")[0] == 0
    with np.load(tmp_path / "acts" / "samples.npz") as folder, np.load(tmp_path / "acts.npz") as file:
        assert all(np.array_equal(folder[name], file[name]) for name in ("observations", "actions"))
    code, _, err = command("sample", "run=run", "n=7", "out=acts.npy")
    assert code == 2 and "written as .npz, .parquet, .csv" in err
    with np.load(tmp_path / "acts" / "samples.npz") as samples:
        assert samples["observations"].shape == (7, 3) and samples["actions"].shape == (7, 1)
    code, out, err = command("train", "run_dir=run", "resume=true")
    assert code == 0 and "is finished" in out
    code, out, err = command("evaluate", "run=run", "offline_rl.width=3")
    assert code == 2 and "offline_rl.width= was fixed when the run was trained" in err


@pytest.mark.parametrize("method", [name for name in METHODS if name != "qipo"])
def test_every_method(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egflow_offline_rl.domain.load_dataset", swings)
    settings = compose("train", Arguments(dict(argument.split("=", 1) for argument in SMALL)))
    settings |= {"method": method, "beta": 0.2, "data": "test/pendulum/random-v0"}
    domain, job = OfflineRL(**settings["offline_rl"]), job_of(settings, torch.device("cpu"), tmp_path)
    domain.check(job)
    made = domain.run(job)
    assert made.model is not None
    made.model.save(tmp_path / "model")
    found, metrics = made.report, made.report.domain_metrics
    assert metrics.keys() >= KEYS and np.isfinite(metrics["return_mean"])
    missing = {"achieved_beta": found.achieved_beta, "bc_return_mean": metrics["bc_return_mean"]}
    assert all(key in found.notes for key, value in missing.items() if value is None)
    if method in ("bc", "td3bc", "iql", "fql"):
        assert found.beta == 0 and "no beta" in found.notes["beta"]
    elif method in ("qipo_ot", "qipo_diff"):  # two renewals at .2 multiply up
        assert found.beta == pytest.approx(0.4) and "2 renewals" in found.notes["beta"]
    else:
        assert found.beta == 0.2
    policy = load_policy(tmp_path)
    assert policy.method == method and np.isfinite(policy.act(np.zeros((5, 3)))).all()
    if method not in AGAIN:
        return
    again = domain.evaluate(job).report  # from what was saved alone, without the data
    for key, value in metrics.items():
        if key not in ("evaluation_seconds", "actions_per_second"):
            assert again.domain_metrics[key] == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)
    assert again.energy_ks == pytest.approx(found.energy_ks, abs=1e-6) and again.findings == found.findings


WRONG = {
    "method": (["method=qip"], "method=qip: expected qipo, qipo_ot"),
    "method of the core": (["method=cefm"], "method=cefm: expected qipo"),
    "option": (["offline_rl.support=0"], "offline_rl.support=0: expected a whole number of at least 2"),
    "option's name": (["offline_rl.suport=8"], "Did you mean 'offline_rl.support'?"),
    "normalize": (["offline_rl.normalize=std"], "one of none, global_std, per_state_std"),
    "energy": (["energy=mine.py:f"], "energy= means nothing to method=qipo of domain=offline_rl"),
    "rounds": (["rounds=auto"], "rounds= means nothing"),
    "range": (["beta=[0,3]"], "beta=[0,3]: expected a number"),
    "target_ess below one action": (["target_ess=.1"], "target_ess=0.1"),
    "target_ess of bc": (["method=bc", "target_ess=.5"], "target_ess= paces the rounds of qipo"),
    "environment": (["offline_rl.env=Hoper-v9"], "Hoper"),
}


@pytest.mark.parametrize("case", WRONG)
def test_one_line_and_nothing_left(case: str, command: Command, tmp_path: Path) -> None:
    arguments, expected = WRONG[case]
    given = dict(argument.split("=", 1) for argument in [*SMALL, *arguments])
    code, _, err = command("train", *(f"{key}={value}" for key, value in given.items()))
    assert code == 2 and expected in err and err.count("\n") == 1, err
    assert not list(tmp_path.iterdir())


def test_data_without_an_environment(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("egflow_offline_rl.domain.load_dataset", lambda name: replace(swings(name), env_spec=None))
    code, _, err = command("train", *SMALL, "data=test/x-v0")
    assert code == 2 and "give one, as in offline_rl.env=Hopper-v5" in err and not list(tmp_path.iterdir())
    code, _, err = command("train", *SMALL, "data=test/x-v0", "offline_rl.env=Pendulum-v1", "method=bc", "run_dir=run")
    assert code == 0 and report(tmp_path / "run")["domain_metrics"]["environment"] == "Pendulum-v1"


def test_data_that_are_not_there(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from egflow_offline_rl.dataset import load_dataset

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setattr("egflow_offline_rl.domain.load_dataset", load_dataset)
    code, _, err = command("train", *SMALL, "data=mujoco/hopper/medium-v0")
    assert code == 2 and "minari download mujoco/hopper/medium-v0" in err and "make_data" in err, err
    assert err.count("\n") == 1 and not (tmp_path / "runs").exists()


def test_the_default_data_are_made_first(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, str]] = []
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setattr(
        "egflow_offline_rl.make_data.make_dataset", lambda env, quality, *_, **__: made.append((env, quality))
    )
    code, _, err = command("train", *SMALL, "method=bc", "run_dir=run")
    assert code == 0 and made == [("Pendulum-v1", "medium-replay")] and "it is made first" in err
    assert (
        making("egflow/pendulum/medium-v0") == ("Pendulum-v1", "medium") and making("egflow/nothing/medium-v0") is None
    )
    assert making("mujoco/hopper/medium-v0") is None


def test_the_cards_methods_and_the_options_defaults() -> None:
    assert set(SPEC.methods) == set(METHODS)
    config = Path(__file__).parents[2] / "domains/offline_rl/egflow_offline_rl/conf/domain/offline_rl.yaml"
    assert yaml.safe_load(config.read_text())["offline_rl"] == asdict(Options())
    for name, wrong in {
        **{
            "width": 0,
            "discount": 1.0,
            "tau": 0,
            "q_temperature": -1,
            "normalize": "x",
            "defensive": 1,
            "bc_baseline": 1,
        },
        **{"episodes": 2.5, "critic_learning_rate": 0, "reward_scale": float("nan"), "reward_shift": "x", "env": 3},
    }.items():
        with pytest.raises(ValueError, match=rf"offline_rl\.{name}="):
            OfflineRL(**{name: wrong})
    with pytest.raises(ValueError, match=r"Did you mean offline_rl\.episodes\?"):
        OfflineRL(episode=3)


def test_frames_or_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    frames, words = render("Pendulum-v1", 0, np.zeros((4, 1), dtype=np.float32), np.array([0, 2, 4]))
    if frames is None:  # no pygame here
        assert words.startswith("no frames, for no renderer works here: ") and "\n" not in words
    else:
        assert frames.shape[0] == 3 and frames.dtype == np.uint8 and words == ""


def test_a_rollout_is_the_evaluations_first_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    from egflow_offline_rl.evaluation import evaluate_policy
    from egflow_offline_rl.policy import Policy
    from egflow_offline_rl.replay import Scaling

    monkeypatch.setattr("egflow_offline_rl._rollout.render", lambda *_: (None, "none"))
    data = swings(episodes=4)
    policy = Policy(scaling=Scaling.of(data), actor=lambda rows, seed: rows[:, 2:], env_spec=data.env_spec)
    assert data.env_spec is not None
    rollout = roll_out(policy, data.env_spec, seed=3)
    found = evaluate_policy(policy, episodes=1, seed=3)
    assert rollout.rewards.sum() == pytest.approx(found.returns[0], abs=1e-9)
    assert rollout.observations.shape == (21, 3) and rollout.actions.shape == (20, 1)


def evaluation(*returns: float) -> Evaluation:
    made = np.array(returns)
    return Evaluation(made, np.full(len(made), 7), made / 10, "the table", 1.0, 1.0)


def test_returns_side_by_side() -> None:
    policy, bc = evaluation(2000.0, 2200.0, 2400.0), evaluation(800.0, 1000.0, 1200.0)
    middle = evaluation(1500.0, 1500.0)
    found = Returns(policy, None, bc, [(1.0, middle)], 3.0, np.array([500.0, 700.0]), 8, "Hopper-v5")
    error = 200 / 3**0.5
    shown = f"return: policy 2,200 ± {error:.0f}, behaviour cloning 1,000 ± {error:.0f}, data 600 "
    assert words(found).splitlines()[0] == f"{shown}(3 episodes of Hopper-v5, ± standard error)"
    metrics, notes = return_metrics(found)
    assert metrics["beats_data"] == pytest.approx(1600 / error)
    assert metrics["beats_bc"] == pytest.approx(1200 / (error * 2**0.5))
    assert metrics["normalized_return_mean"] == 220 and metrics["normalized_return_std"] == 20
    curve = returns_figure(found).axes[1].lines[0]
    assert curve.get_xdata().tolist() == [0, 1, 3] and curve.get_ydata().tolist() == [1000, 1500, 2200]
    assert returns_figure(replace(found, beta=0.0, between=[])).axes[1].get_title() == "Distribution"
    metrics, notes = return_metrics(replace(found, policy=evaluation(5.0), behaviour=None))
    assert metrics["return_std"] is None and metrics["beats_data"] is None and metrics["bc_return_mean"] is None
    assert {"return_std", "bc_return_mean"} <= notes.keys()
