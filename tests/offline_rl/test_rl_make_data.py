"""Data made here: whole episodes as the environment plays them, resumed exactly, and never half under its id."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest
import torch
from egflow_offline_rl import make_data
from egflow_offline_rl.dataset import Transitions, load_dataset
from egflow_offline_rl.environments import make_environment
from egflow_offline_rl.make_data import default_id, main, make_dataset
from egflow_offline_rl.making import _collect, _recipes, _training, _writer
from egflow_offline_rl.making._episodes import Episode, load_episodes, save_episodes
from egflow_offline_rl.making._recipes import thin
from egflow_offline_rl.making._training import Training
from egflow_offline_rl.making._waypoints import next_cell, waypoints

BUDGET = 8_192  # four iterations: 32 episodes of Pendulum
TRAINING = ".training-Pendulum-v1-seed0"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training, done once, that most tests start from."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        make("medium-expert", 10)
    return folder / "egflow/pendulum" / TRAINING


@pytest.fixture(autouse=True)
def root(tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "root"))
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def known(root: Path, trained: Path) -> Path:
    """The root, with the training in it."""
    shutil.copytree(trained, root / "egflow/pendulum" / TRAINING)
    return root


def make(quality: str = "medium-replay", transitions: int = 2_000, **more: Any) -> Transitions:
    return load_dataset(make_dataset("Pendulum-v1", quality, transitions, progress="none", budget=BUDGET, **more))


def same(one: Transitions, other: Transitions) -> bool:
    fields = ("observations", "actions", "rewards", "next_observations", "terminations", "episode", "step")
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in fields)


def episodes_of(lengths: list[int]) -> list[Episode]:
    flags = [np.zeros(length, bool) for length in lengths]
    return [
        Episode(np.zeros((length + 1, 1)), np.zeros((length, 1)), np.zeros(length), flag, flag, seed)
        for seed, (length, flag) in enumerate(zip(lengths, flags, strict=True))
    ]


def test_pendulum_from_end_to_end_is_what_the_environment_plays(known: Path) -> None:
    rows = make()
    assert len(rows) == 2_000 and rows.name == "egflow/pendulum/medium-replay-v0"
    assert not rows.terminations.any() and rows.truncated.all()  # Pendulum only ever runs out of time
    assert rows.reference == (-1225.3, -145.0)
    made = rows.facts["made_by"]
    assert (made["env"], made["quality"], made["seed"], made["transitions_asked"]) == (
        "Pendulum-v1",
        "medium-replay",
        0,
        2_000,
    )
    assert made["statistics"]["return_mean"] == pytest.approx(float(rows.episode_returns.mean()), rel=1e-5)
    assert {"gymnasium", "egflow"} <= set(rows.facts["versions"])
    environment = make_environment("Pendulum-v1")
    for episode in minari.load_dataset(rows.name).iterate_episodes():
        facts = next(iter(minari.load_dataset(rows.name).storage.get_episode_metadata([episode.id])))
        seen = [environment.reset(seed=facts["seed"])[0]]
        for action, reward in zip(episode.actions, episode.rewards, strict=True):
            observation, got, _, short, _ = environment.step(action)
            seen.append(observation)
            assert got == reward
        assert np.array_equal(seen, episode.observations)
        assert short and episode.truncations[-1] and not episode.truncations[:-1].any()
    environment.close()


def test_qualities_share_one_training_and_differ(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("medium")
    monkeypatch.setattr(_training.PPO, "run", None)  # the training that is kept serves the others
    both = make("medium-expert")
    made = both.facts["made_by"]
    medium = load_dataset("egflow/pendulum/medium-v0")
    half = int(both.episode.eq(made["medium_episodes"]).nonzero()[0])
    assert half == 1_000 and len(both) == 2_000
    assert torch.equal(both.actions[:half], medium.actions[:half])
    assert made["expert_noise"] == 0.1 and made["expert"]["return_mean"] >= -1_700
    assert not list(known.rglob(".*.parts")), "the parts of a whole dataset are removed"


def test_stopped_anywhere_and_started_again_gives_the_same(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = make("medium-expert", 6_400, dataset_id="egflow/other/whole-v0")
    monkeypatch.setattr(_training, "_SAVE_EVERY", 1)
    stops = iter([2, 3, None])
    shown = _training.Training

    def trained(order: _recipes.Order, threshold: float) -> Training:
        stop, seen = next(stops), 0

        def show(training: shown) -> None:
            nonlocal seen
            seen += 1
            if seen == stop:
                raise KeyboardInterrupt

        return _training.train(
            order.env,
            order.training,
            seed=0,
            threshold=threshold,
            until="best",
            versions=order.versions,
            show=show,
            budget=order.budget,
        )

    monkeypatch.setattr(_recipes, "_trained", trained)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            make("medium-expert", 6_400)
    waves, played = _collect._wave, 0

    def wave(*arguments: Any) -> list[Episode]:
        nonlocal played
        played += 1
        if played == 2:
            raise KeyboardInterrupt
        return waves(*arguments)

    monkeypatch.setattr(_collect, "_wave", wave)
    with pytest.raises(KeyboardInterrupt):
        make("medium-expert", 6_400)
    assert not (root / default_id("Pendulum-v1", "medium-expert")).exists()
    monkeypatch.setattr(_recipes, "_trained", lambda order, threshold: _whole(order, threshold))
    assert same(make("medium-expert", 6_400), expected)
    assert played == 3 - 1 + 1, "the wave that was whole is not played again"


def _whole(order: _recipes.Order, threshold: float) -> Training:
    return _training.train(
        order.env,
        order.training,
        seed=0,
        threshold=threshold,
        until="best",
        versions=order.versions,
        show=lambda training: None,
        budget=order.budget,
    )


def test_parts_of_other_settings_are_not_taken(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_writer, "write_dataset", _fails)
        patch.setattr(_recipes, "gaussian", lambda policy, noise: _collect.gaussian(policy, 0.5))
        patch.setattr(_recipes, "_digest", lambda policy: "another policy")
        with pytest.raises(OSError, match="full"):
            make("medium")
    assert len(list(known.rglob("wave-*"))) == 1
    after = make("medium")
    assert same(after, make("medium", dataset_id="egflow/pendulum/fresh-v0"))


def _fails(*_: object, **__: object) -> None:
    raise OSError("disk full")


def test_an_id_that_exists_is_refused_and_replaced_only_when_told(known: Path) -> None:
    first = make()
    with pytest.raises(ValueError, match="replace=true"):
        make()
    second = make(transitions=1_000, replace=True)
    assert (len(first), len(second)) == (2_000, 1_000)


def test_a_failed_write_leaves_nothing_under_the_id(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()

    def fails(dataset_id: str, *_: object) -> None:
        (_writer.dataset_folder(dataset_id) / "data").mkdir(parents=True)
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(_writer, "_create", fails)
        with pytest.raises(OSError, match="disk full"):
            make("medium")
        with pytest.raises(OSError, match="disk full"):
            make(replace=True)
    assert not (known / "egflow/pendulum/medium-v0").exists()
    assert not list(known.glob(".egflow-writing-*"))
    assert same(load_dataset(first.name), first), "the old one stays until the new one is whole"
    assert list(minari.list_local_datasets()) == [first.name]


def test_too_short_a_training_says_what_stands_for_medium_and_what_is_there(known: Path) -> None:
    rows = make(transitions=50_000)
    notes = " ".join(rows.facts["made_by"]["notes"])
    assert "no policy reached -865" in notes and "saw 6400 transitions" in notes
    assert len(rows) == 6_400 and rows.facts["made_by"]["transitions_seen"] == 6_400


def test_thinning_keeps_whole_episodes_from_all_of_the_training() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 400).tolist()
    kept = thin(episodes_of(lengths), 5_000)
    assert abs(sum(map(len, kept)) - 5_000) < 100
    places = np.array([episode.seed for episode in kept])
    assert np.diff(places).min() >= 3 and np.diff(places).max() <= 5  # every fourth
    assert [len(episode) for episode in kept] == [lengths[place] for place in places]
    assert len(thin(episodes_of([10] * 7), 70)) == 7 and len(thin(episodes_of([10] * 7), 1)) == 1


@pytest.mark.parametrize("dictionary", [False, True])
def test_episodes_survive_their_file(tmp_path: Path, dictionary: bool) -> None:
    random = np.random.default_rng(0)
    episodes = []
    for length in (3, 1, 2):
        seen: Any = random.normal(size=(length + 1, 2))
        if dictionary:
            seen = {"observation": seen, "desired_goal": random.normal(size=(length + 1, 1))}
        ends = np.arange(length) == length - 1
        steps = (random.normal(size=(length, 1)), random.normal(size=length))
        episodes.append(Episode(seen, *steps, ends, ~ends, int(random.integers(100))))
    save_episodes(tmp_path / "some.safetensors", episodes, {"key": "k"})
    for one, other in zip(load_episodes(tmp_path / "some.safetensors"), episodes, strict=True):
        assert one.seed == other.seed and np.array_equal(one.truncations, other.truncations)
        assert np.array_equal(one.actions, other.actions) and np.array_equal(one.terminations, other.terminations)
        parts = (
            (one.observations, other.observations) if dictionary else ({0: one.observations}, {0: other.observations})
        )
        assert all(np.array_equal(parts[0][key], parts[1][key]) for key in parts[1])  # pyright: ignore


def test_hoppers_falls_are_terminations(tmp_path: Path) -> None:
    pytest.importorskip("mujoco")

    def begin(environments: Any, random: np.random.Generator) -> Any:
        return lambda seen: random.uniform(-1, 1, (len(seen), 3)).astype(np.float32)

    key = {"key": "", "show": lambda episodes: None}
    episodes = _collect.collect("Hopper-v5", begin, tmp_path, transitions=200, seed=0, **key)
    assert sum(map(len, episodes)) >= 200 and sum(map(len, episodes[:-1])) < 200
    environment = make_environment("Hopper-v5")
    for episode in episodes:
        assert episode.terminations[-1] and not episode.terminations[:-1].any() and not episode.truncations.any()
        assert np.array_equal(environment.reset(seed=episode.seed)[0], episode.observations[0])
        for action in episode.actions:
            last, _, over, _, _ = environment.step(action)
        assert over and np.array_equal(last, episode.observations[-1])
    environment.close()


def test_the_shortest_way() -> None:
    ring = [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (1, 2)]
    assert next_cell(ring, (0, 1), (2, 1)) in {(0, 0), (0, 2)}
    assert next_cell(ring, (0, 2), (2, 1)) == (1, 2)
    assert next_cell(ring, (1, 0), (1, 0)) == (1, 0)
    assert next_cell([(0, 0), (5, 5)], (0, 0), (5, 5)) == (5, 5)


def test_a_maze_is_walked_to_its_goal_and_its_data_loads(tmp_path: Path) -> None:
    pytest.importorskip("gymnasium_robotics")
    key = {"key": "", "show": lambda episodes: None}
    direct = _collect.collect(
        "PointMaze_UMaze-v3", waypoints(0.0, 0.0), tmp_path / "direct", transitions=900, seed=0, **key
    )
    assert min(episode.rewards.sum() for episode in direct) > 150  # of 300 steps
    rows = load_dataset(make_dataset("PointMaze_UMaze-v3", transitions=900, progress="none"))
    assert rows.observations.shape == (900, 6) and rows.facts["observation_keys"] == ["observation", "desired_goal"]
    goals = rows.observations[:, 4:]
    near = (rows.next_observations[:, :2] - goals).norm(dim=1) <= 0.45
    assert torch.equal(near.float(), rows.rewards), "the reward is that of the observation that follows"
    assert torch.equal(rows.observations[1:300], rows.next_observations[:299])
    assert rows.env_spec is not None and rows.reference == (14.5, 249.2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["env=Hoper-v5"], "did you mean Hopper-v5?"),
        (["env=Hopper-v5", "quality=medium-rply"], "did you mean medium-replay?"),
        (["env=Hopper-v5", "transition=5"], "did you mean transitions?"),
        (["env=Hopper-v5", "transitions=many"], "transitions='many'"),
        (["env=Hopper-v5", "transitions=0"], "transitions=0"),
        (["env=Hopper-v5", "seed=-1"], "seed='-1'"),
        (["env=Hopper-v5", "replace=perhaps"], "neither true nor false"),
        (["env=Hopper-v5", "id=no good"], "no Minari id"),
        (["env=PointMaze_UMaze-v3", "quality=medium-expert"], "quality=medium only"),
        (["Hopper-v5"], "no key=value"),
        ([], "env= is missing"),
    ],
)
def test_wrong_input_is_one_line_and_starts_nothing(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and error.startswith("error: ")
    assert not list(root.iterdir())


def test_the_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["--help"]) == 0 and "transitions" in capsys.readouterr().out
    monkeypatch.setitem(_training.BUDGETS, "Pendulum-v1", BUDGET)
    assert main(["env=Pendulum-v1", "transitions=1_000", "id=mine/data-v3"]) == 0
    assert "mine/data-v3: 1,000 transitions in 5 episodes" in capsys.readouterr().out
    assert main(["env=Pendulum-v1", "id=mine/data-v3"]) == 2
    monkeypatch.setattr(make_data, "make_episodes", _interrupted)
    assert main(["env=Pendulum-v1"]) == 130
    assert "the same command goes on" in capsys.readouterr().err


def _interrupted(order: object) -> None:
    raise KeyboardInterrupt


def test_the_metadata_is_minaris_own(known: Path) -> None:
    make(transitions=1_000)
    note = json.loads((known / "egflow/pendulum/medium-replay-v0/data/metadata.json").read_text())
    assert note["ref_min_score"] == -1225.3 and note["ref_max_score"] == -145.0
    assert note["algorithm_name"] == "PPO" and note["total_steps"] == 1_000
    recovered = minari.load_dataset("egflow/pendulum/medium-replay-v0").recover_environment()
    assert recovered.spec is not None and recovered.spec.id == "Pendulum-v1"
    recovered.close()
