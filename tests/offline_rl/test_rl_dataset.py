"""The loader, on episodes whose numbers say where they belong; and everything it refuses."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
import torch
from egflow_offline_rl import dataset as dataset_module
from egflow_offline_rl._checks import check_environment, digest, warn_of_versions
from egflow_offline_rl.dataset import Transitions, discounted_returns, load_dataset
from egflow_offline_rl.environments import (
    flatten_observation,
    foreign_entry,
    make_environment,
    reference_scores,
    spec_from_json,
)
from gymnasium.spaces import Box, Dict, Discrete, Space
from minari.data_collector import EpisodeBuffer

NAME = "egflow/hand/made-v0"
VECTOR = Box(-np.inf, np.inf, (2,), np.float64)
ACTIONS = Box(np.float32(-2.0), np.float32(3.0), (1,), np.float32)


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def episode(number: int, steps: int, terminated: bool, observations: Any = None) -> EpisodeBuffer:
    """Observation t is (100 number + t, -t), action t is t + 0.5, reward t is 1000 number + t."""
    time = np.arange(steps + 1)
    ends = np.arange(steps) == steps - 1
    return EpisodeBuffer(
        observations=np.stack([100.0 * number + time, -1.0 * time], 1) if observations is None else observations,
        actions=(time[:-1, None] + 0.5).astype(np.float32),
        rewards=1000.0 * number + time[:-1],
        terminations=ends & terminated,
        truncations=ends & (not terminated),
    )


def write(episodes: list[EpisodeBuffer], observation_space: Space = VECTOR, action_space: Space = ACTIONS, **more: Any):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Minari would like an author, a link and so on
        minari.create_dataset_from_buffers(
            NAME, episodes, observation_space=observation_space, action_space=action_space, **more
        )


def write_three() -> None:
    write([episode(0, 3, True), episode(1, 2, False), episode(2, 1, True)])


def file_of(root: Path) -> Path:
    return root / NAME / "data" / "main_data.hdf5"


def change(root: Path, field: str, function: Callable[[np.ndarray], np.ndarray], number: int = 1) -> None:
    with h5py.File(file_of(root), "a") as stored:
        group = stored[f"episode_{number}"]
        assert isinstance(group, h5py.Group)
        array = np.asarray(group[field])
        del group[field]
        group[field] = function(array)


def test_rows_are_aligned_and_none_is_lost() -> None:
    write_three()
    rows = load_dataset(NAME)
    assert len(rows) == 6
    assert rows.observations.tolist() == [[0, 0], [1, -1], [2, -2], [100, 0], [101, -1], [200, 0]]
    assert rows.next_observations.tolist() == [[1, -1], [2, -2], [3, -3], [101, -1], [102, -2], [201, -1]]
    assert rows.actions[:, 0].tolist() == [0.5, 1.5, 2.5, 0.5, 1.5, 0.5]
    assert rows.rewards.tolist() == [0, 1, 2, 1000, 1001, 2000]
    assert rows.terminations.tolist() == [False, False, True, False, False, True]
    assert rows.truncated.tolist() == [False, False, False, True, True, False]
    assert rows.episode.tolist() == [0, 0, 0, 1, 1, 2]
    assert rows.step.tolist() == [0, 1, 2, 0, 1, 0]
    assert rows.episode_returns.tolist() == [3, 2001, 2000]
    assert (rows.action_low.tolist(), rows.action_high.tolist()) == ([-2.0], [3.0])
    for name in ("observations", "next_observations", "actions", "rewards", "episode_returns"):
        tensor = getattr(rows, name)
        assert tensor.dtype == torch.float32 and tensor.is_contiguous(), name
    assert rows.env_spec is None and rows.reference is None and rows.name == NAME


def test_returns_by_hand_and_where_they_are_trusted() -> None:
    write_three()
    returns, trusted = discounted_returns(load_dataset(NAME), 0.5)
    assert returns.tolist() == [0 + 0.5 + 0.5, 1 + 1, 2, 1000 + 500.5, 1001, 2000]
    assert trusted.tolist() == [True, True, True, False, False, True]


def test_a_return_is_trusted_once_the_cut_tail_weighs_five_per_cent() -> None:
    write([episode(0, 6, False)])
    _, trusted = discounted_returns(load_dataset(NAME), 0.5)
    assert trusted.tolist() == [True, True, False, False, False, False]  # .5**6, .5**5 = .031, then .0625 and more


def test_a_termination_within_an_episode_ends_its_returns(root: Path) -> None:
    write([episode(0, 4, False)])
    change(root, "terminations", lambda flags: np.array([False, True, False, False]), number=0)
    rows = load_dataset(NAME)
    returns, trusted = discounted_returns(rows, 1.0)
    assert rows.terminations.tolist() == [False, True, False, False]
    assert returns.tolist() == [1, 1, 5, 3] and trusted.tolist() == [True, True, False, False]


@pytest.mark.parametrize("discount", [-0.1, 1.1, float("nan")])
def test_a_discount_outside_the_unit_interval_is_refused(discount: float) -> None:
    write_three()
    with pytest.raises(ValueError, match="discount="):
        discounted_returns(load_dataset(NAME), discount)


def test_dict_observations_in_the_stated_order() -> None:
    space = Dict(zebra=Box(-9, 9, (1,)), achieved_goal=VECTOR, desired_goal=Box(-9, 9, (1,)), observation=VECTOR)
    parts = {
        "zebra": np.full((3, 1), 7.0, np.float32),
        "achieved_goal": np.full((3, 2), 9.0),
        "desired_goal": np.full((3, 1), 5.0, np.float32),
        "observation": np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]),
    }
    write([episode(0, 2, True, parts)], space)
    rows = load_dataset(NAME)
    assert rows.observations.tolist() == [[0, 1, 5, 7], [2, 3, 5, 7]]
    assert rows.next_observations.tolist() == [[2, 3, 5, 7], [4, 5, 5, 7]]
    assert rows.facts["observation_keys"] == ["observation", "desired_goal", "zebra"]
    one = {key: value[1] for key, value in parts.items()}
    assert flatten_observation(one).tolist() == [2, 3, 5, 7] and flatten_observation(one).dtype == np.float32


def test_an_environment_is_found_again_and_the_reference_is_the_datasets_own() -> None:
    write([episode(0, 2, True, np.zeros((3, 3), np.float32))], Box(-8, 8, (3,)), Box(-2, 2, (1,)), env="Pendulum-v1")
    rows = load_dataset(NAME)
    assert rows.env_spec is not None and rows.env_spec.id == "Pendulum-v1"
    assert rows.facts["environment_error"] == "" and rows.reference is None
    minari.delete_dataset(NAME)
    spaces = {"observation_space": Box(-8, 8, (3,)), "action_space": Box(-2, 2, (1,))}
    scores = {"ref_min_score": -5.0, "ref_max_score": 7.0}
    write([episode(0, 2, True, np.zeros((3, 3), np.float32))], **spaces, env="Pendulum-v1", **scores)
    assert load_dataset(NAME).reference == (-5.0, 7.0)


def test_an_action_space_without_bounds_takes_the_datas_range() -> None:
    write([episode(0, 3, True)], action_space=Box(-np.inf, np.inf, (1,), np.float32))
    rows = load_dataset(NAME)
    assert (rows.action_low.tolist(), rows.action_high.tolist()) == ([0.5], [2.5])
    assert "no bounds" in rows.facts["notes"][0]


@pytest.mark.parametrize(
    ("field", "function", "words"),
    [
        (
            "rewards",
            lambda a: np.where(a == 1001, np.nan, a),
            "episode 1: rewards hold NaN or infinity, first at step 1",
        ),
        ("observations", lambda a: np.where(a == -2, np.inf, a), "episode 1: observations hold NaN .* at step 2"),
        ("actions", lambda a: a.astype(np.float64) * 1e39, "episode 1: actions hold NaN"),
        ("actions", lambda a: a[:-1], "episode 1: 1 actions for 2 rewards; expected 2"),
        ("actions", lambda a: a[:, 0], r"episode 1: actions have the shape \(2,\); expected \(2, 1\)"),
        ("observations", lambda a: a[:-1], "episode 1: 2 observations for 2 rewards; expected 3"),
        ("observations", lambda a: np.repeat(a, 2, 1), r"episode 1: observations have the shape \(3, 4\)"),
        ("terminations", lambda a: a[:-1], "episode 1: 1 terminations for 2 rewards"),
        ("rewards", lambda a: a[:0], "episode 1 is empty"),
    ],
)
def test_bad_arrays_are_refused_by_episode_and_field(
    root: Path, field: str, function: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    write_three()
    change(root, field, function)
    with pytest.raises(ValueError, match=words) as caught:
        load_dataset(NAME)
    assert "\n" not in str(caught.value) and NAME in str(caught.value)


@pytest.mark.parametrize(
    ("observation_space", "action_space", "words"),
    [
        (VECTOR, Discrete(3), "actions are Discrete"),
        (VECTOR, Box(0, 5, (1,), np.int64), "continuous control only"),
        (VECTOR, Box(-1, 1, (2, 2), np.float32), "expected vectors"),
        (Box(0, 255, (8, 8, 3), np.uint8), ACTIONS, "expected a vector"),
        (Dict(observation=VECTOR, kind=Discrete(3)), ACTIONS, "kind is Discrete"),
    ],
)
def test_spaces_that_are_no_vectors_are_refused(
    root: Path, observation_space: Space, action_space: Space, words: str
) -> None:
    write_three()
    from minari.serialization import serialize_space

    file = root / NAME / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    metadata |= {"observation_space": serialize_space(observation_space)}
    metadata |= {"action_space": serialize_space(action_space)}
    file.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=words):
        load_dataset(NAME)


def test_spaces_that_do_not_fit_the_environment_are_refused(root: Path) -> None:
    write_three()
    file = root / NAME / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    file.write_text(json.dumps(metadata | {"env_spec": gym.spec("Pendulum-v1").to_json()}))
    with pytest.raises(
        ValueError, match=r"observations have the shape \(2,\), but its environment Pendulum-v1 has \(3,\)"
    ):
        load_dataset(NAME)


def test_an_environment_that_cannot_be_made_is_a_fact_and_no_error(root: Path) -> None:
    write_three()
    file = root / NAME / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    spec = json.loads(gym.spec("Pendulum-v1").to_json()) | {"entry_point": "no.such:Thing"}
    file.write_text(json.dumps(metadata | {"env_spec": json.dumps(spec)}))
    assert "no" in load_dataset(NAME).facts["environment_error"]


def test_corrupt_files_are_refused(root: Path) -> None:
    write_three()
    whole = file_of(root).read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"not hdf5" * 100):
        file_of(root).write_bytes(broken)
        with pytest.raises(ValueError, match="corrupt or half-written"):
            load_dataset(NAME)
    file_of(root).unlink()
    with pytest.raises(ValueError, match=r"No data found|corrupt"):
        load_dataset(NAME)


def test_a_flipped_byte_in_a_file_of_ours_is_seen(root: Path) -> None:
    write_three()
    note = root / NAME / "data" / "metadata.json"
    metadata = json.loads(note.read_text())
    metadata["egflow"] = {"sha256": digest(file_of(root)), "total_steps": metadata["total_steps"]}
    note.write_text(json.dumps(metadata))
    assert len(load_dataset(NAME)) == 6
    content = bytearray(file_of(root).read_bytes())
    content[content.index(np.float64(1001.0).tobytes())] ^= 1
    file_of(root).write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256"):
        load_dataset(NAME)


def test_a_dataset_that_is_not_there_ends_at_once_with_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr("minari.storage.hosting.download_dataset", never)
    with pytest.raises(FileNotFoundError) as caught:
        load_dataset("mujoco/walker2d/medium-v0")
    for remedy in ("minari download mujoco/walker2d/medium-v0", "make_data env=Walker2d-v5 quality=medium"):
        assert remedy in str(caught.value)
    with pytest.raises(FileNotFoundError, match="make_data env=HalfCheetah-v5 quality=medium-expert"):
        load_dataset("egflow/halfcheetah/medium-expert-v0")
    with pytest.raises(FileNotFoundError, match=r"download D4RL/pointmaze/medium-v2 .* env=PointMaze_Medium-v3$"):
        load_dataset("D4RL/pointmaze/medium-v2")
    with pytest.raises(FileNotFoundError, match=r"minari download mujoco/ant/expert-v0 .* env=…"):
        load_dataset("mujoco/ant/expert-v0")


@pytest.mark.parametrize("name", ["hopper-medium", "../secret-v0", "", "a b-v0"])
def test_a_name_that_is_no_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no Minari id"):
        load_dataset(name)


def test_a_missing_extra_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'egflow\[offline-rl\]'"):
        load_dataset(NAME)
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(ModuleNotFoundError, match=r"egflow\[offline-rl\]"):
        make_environment("PointMaze_UMaze-v3")


def test_a_number_is_a_vector_of_one() -> None:
    write([episode(0, 2, True, np.array([3.0, 4.0, 5.0]))], Box(-9, 9, (), np.float64))
    assert load_dataset(NAME).next_observations.tolist() == [[4], [5]]


def test_no_episodes_are_refused() -> None:
    write([])
    with pytest.raises(ValueError, match="no episodes"):
        load_dataset(NAME)


@pytest.mark.parametrize(
    ("made_with", "installed", "warns"),
    [
        ("3.2.3", "4.0.0", True),
        ("mujoco==3.2.3", "3.8.1", True),
        ("mujoco>=3.1,<3.2", "3.9.0", True),
        ("4.0.0", "3.3.7", True),
        ("3.2.3", "3.7.0", False),
        ("3.8.1", "4.0.0", False),
        ("mujoco>=3.0", "4.0.0", False),
        (None, "4.0.0", False),
        ("3.2.3", None, False),
    ],
)
def test_other_physics_is_warned_of(made_with: str | None, installed: str | None, warns: bool) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        warn_of_versions(NAME, made_with, installed)
    assert bool(seen) == warns


def test_the_loader_warns_of_a_mujoco_environment_only(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write([episode(0, 2, True, np.zeros((3, 11)))], Box(-9, 9, (11,), np.float64), Box(-1, 1, (3,), np.float32))
    change(root, "actions", lambda a: np.repeat(a, 3, 1), number=0)
    file = root / NAME / "data" / "metadata.json"
    metadata = json.loads(file.read_text()) | {"requirements": ["mujoco==3.2.3", "gymnasium>=1.0"]}
    file.write_text(json.dumps(metadata))
    assert load_dataset(NAME).facts["mujoco"] == "mujoco==3.2.3"
    monkeypatch.setattr(dataset_module, "_installed", lambda package: "4.0.0")
    file.write_text(json.dumps(metadata | {"env_spec": gym.spec("Hopper-v5").to_json()}))
    with pytest.warns(UserWarning, match="dynamics"):
        load_dataset(NAME)


def test_reference_scores_by_family() -> None:
    assert reference_scores("Hopper-v2") == reference_scores("Hopper-v5") == (-20.272305, 3234.3)
    assert reference_scores("PointMaze_Medium_Diverse_GR-v3") == (13.13, 277.39)
    assert reference_scores("AntMaze_UMaze-v5") == (0.0, 1.0)
    assert reference_scores("Ant-v5") == (-325.6, 3879.7)
    assert reference_scores("PointMaze_UMazeDense-v3") is None


def test_an_unknown_environment_is_one_line() -> None:
    with pytest.raises(ValueError, match="NoSuchThing"):
        make_environment("NoSuchThing-v0")


def test_transitions_are_frozen() -> None:
    write_three()
    rows = load_dataset(NAME)
    assert isinstance(rows, Transitions)
    with pytest.raises(AttributeError):
        rows.name = "other"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("change", "foreign"),
    [
        ({}, None),
        ({"id": "Other-v0", "entry_point": "evil:Env"}, "evil:Env"),
        ({"id": "Other-v0", "entry_point": "gymnasium.envs.registration:make"}, "gymnasium.envs.registration:make"),
        ({"entry_point": "evil:Env"}, "evil:Env"),
    ],
)
def test_a_stored_environment_runs_nothing_that_is_not_registered(change: dict[str, str], foreign: str | None) -> None:
    fields = json.loads(gym.spec("Pendulum-v1").to_json()) | change
    assert foreign_entry(spec_from_json(json.dumps(fields))) == foreign


def test_action_bounds_must_be_the_environments() -> None:
    spec = gym.spec("Pendulum-v1")
    seen = Box(-np.inf, np.inf, (3,))
    assert check_environment("hand", spec, seen, Box(-2.0, 2.0, (1,))) == ""
    with pytest.raises(ValueError, match="its lowest actions are"):
        check_environment("hand", spec, seen, Box(-50.0, 50.0, (1,)))
