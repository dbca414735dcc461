"""What domains read, and their names and options: data files, names of sets, energies of presets, stored policies."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from egflow_images.domain import Images
from egflow_images.energies import Brightness, Colour, Factor, Similar, rgb
from egflow_images.folder import read_array, read_folder
from egflow_molecules import files as molecule_files
from egflow_molecules.energies import from_config
from egflow_molecules.smiles import decode, encode
from egflow_offline_rl import load_policy
from egflow_offline_rl.dataset import load_dataset
from egflow_offline_rl.networks import DeterministicActor, TwinQ
from egflow_offline_rl.policy import Policy
from egflow_offline_rl.replay import Scaling
from egflow_toy.domain import Toy
from egflow_toy.energies import Linear, Quadratic
from fuzzing import HOSTILE_JSON, anything, damaged_bytes, damaged_json, files, judged
from gymnasium.spaces import Box
from hypothesis import given
from hypothesis import strategies as st
from minari.data_collector import EpisodeBuffer
from PIL import Image

from egflow.data import open_samples


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


ARRAYS = [
    saved(np.random.default_rng(0).random((20, 4, 4, 3), dtype=np.float32)),
    saved(np.arange(320).astype(np.uint8).reshape(20, 4, 4)),
    saved(np.zeros((24, 2), dtype=">f8")),
    saved(np.zeros((24, 2), dtype=np.complex64)),
    saved(np.full((20, 4, 4), np.nan)),
    saved(np.array([None] * 24, dtype=object)),
    saved(np.zeros((0, 8, 8))),
    saved(np.array("a")),
]
HEADERS = [
    "(20, 4, 4, 3)",
    "(10**12, 8, 8, 3)",
    "(-1, 8)",
    "(24, 0)",
    "()",
    "(True, 8)",
    "'a'",
    "__import__('os').getcwd()",
]


def headers(content: bytes) -> st.SearchStrategy[bytes]:
    """Another shape in the header, in as many bytes."""
    words = [word.encode()[:13].ljust(13) for word in HEADERS]
    return st.sampled_from(words).map(lambda word: content.replace(b"(20, 4, 4, 3)", word))


@given(st.sampled_from(ARRAYS).flatmap(lambda one: st.just(one) | headers(one) | damaged_bytes(one)))
def test_npy(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    place = tmp_path_factory.mktemp("npy")
    file = place / "x.npy"
    file.write_bytes(content)
    before = files(place)
    found = judged(lambda: read_array(file), "data=")
    assert found is None or bool(((found[0] >= 0) & (found[0] <= 1)).all())
    judged(lambda: open_samples(file).shape, "data=")  # its numbers are looked at by `fit`, which goes through all
    assert files(place) == before
    shutil.rmtree(place)


def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table({"a": np.arange(30.0), "b": np.arange(30.0)}), stream)
    return stream.getvalue()


@given(damaged_bytes(parquet()))
def test_parquet(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    place = tmp_path_factory.mktemp("parquet")
    (place / "x.parquet").write_bytes(content)
    judged(lambda: open_samples(place / "x.parquet", cache=place / "cache"), "data=", "column")
    shutil.rmtree(place)


def picture(kind: str, mode: str) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, (12, 9), 3).save(stream, kind)
    return stream.getvalue()


PICTURES = [
    picture(kind, mode) for kind, mode in (("PNG", "RGBA"), ("PNG", "P"), ("JPEG", "L"), ("GIF", "P"), ("TIFF", "I;16"))
]
PICTURES += [picture("BMP", "RGB"), picture("PPM", "RGB"), picture("WEBP", "RGB")]


@given(content=st.sampled_from(PICTURES), data=st.data(), many=st.booleans())
def test_a_folder_of_pictures(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject, many: bool
) -> None:
    """One damaged picture of 21 is passed over, and half of them are an error; the folder is left as it was."""
    place = tmp_path_factory.mktemp("pictures")
    damaged = data.draw(damaged_bytes(content))
    for number in range(21):
        spoilt = number == 3 or (many and number % 2)
        (place / f"{number}.png").write_bytes(damaged if spoilt else PICTURES[0])
    before = files(place)
    found = judged(lambda: read_folder(place, 8, place.with_name("cache")), "data=")
    assert files(place) == before
    if found is not None:
        assert found.x().shape[1:] == (3, 8, 8)
    shutil.rmtree(place)


@given(st.data())
def test_prepared_pictures(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """What was prepared and has been damaged since is prepared again, or refused."""
    place, cache = tmp_path_factory.mktemp("prepared"), tmp_path_factory.mktemp("cache")
    for number in range(20):
        (place / f"{number}.png").write_bytes(PICTURES[0])
    read_folder(place, 8, cache)
    file = data.draw(st.sampled_from(sorted(cache.iterdir())))
    if file.suffix == ".json" and data.draw(st.booleans()):
        file.write_text(json.dumps(data.draw(damaged_json(json.loads(file.read_text())))))
    else:
        file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    found = judged(lambda: read_folder(place, 8, cache), "data=")
    if found is not None:
        assert found.x().shape == (20, 3, 8, 8)
    shutil.rmtree(place)
    shutil.rmtree(cache)


LINES = [b"CCO\nc1ccccc1\nCC(=O)O\n", b"smiles,x\nCCO,1\nc1ccccc1,2\n", b'"CCO\nC",1\nCC,2\n', b"a\tb\tc\nCCO\t1\t2\n"]
LINES += [
    "é,CCO\n".encode(),
    b"C" * 30_000 + b"\n",
    b"[" * 3000 + b"\n",
    b"(" * 3000 + b"\n",
    b"C1" * 900 + b"\n",
    b"#\n\n",
]
BLOCK = b"\n  RDKit\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n"
BLOCK += b"    0.0 0.0 0.0 C   0  0\n    1.0 0.0 0.0 O   0  0\n  1  2  1  0\nM  END\n$$$$\n"


@given(
    name=st.sampled_from(["m.smi", "m.csv", "m.txt", "m.sdf", "m.smi.gz", "m.xyz"]),
    content=st.sampled_from([*LINES, BLOCK]),
    column=st.none() | st.sampled_from(["smiles", "1", "9", "", "é", 1, 0, -1, 10**9]) | st.text(max_size=4),
    data=st.data(),
)
def test_molecules(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes, column: Any, data: st.DataObject
) -> None:
    from egflow_molecules._rdkit import mol_from_smiles

    place = tmp_path_factory.mktemp("molecules")
    (place / name).write_bytes(data.draw(st.just(content) | damaged_bytes(content)))

    def read() -> list[Any]:
        return list(molecule_files.read(place / name, column))

    records = judged(read, "data=", "molecules.column")
    for record in (records or [])[:5]:
        judged(lambda record=record: mol_from_smiles(record.text) and None)
    shutil.rmtree(place)


@given(anything("moons", "8gaussian", "MOONS"))
def test_a_toy_set(name: Any) -> None:
    judged(lambda: Toy(n_data=20).data(name, 0).x, "data", "density", "densities")
    judged(lambda: Toy(n_data=20).default_energy(name), "data", "density", "densities")


@given(anything(1, 20).filter(lambda n: type(n) is not int or n < 10**6))
def test_how_many_points_of_a_toy_set(n: Any) -> None:
    judged(lambda: Toy(n_data=n).data("moons", 0).x, "n_data")


@given(anything([1.0, 2.0], (0, 1)))
def test_energies_of_the_toy_sets(value: Any) -> None:
    judged(lambda: Linear(value)(torch.zeros(3, 2)), "slope")
    judged(lambda: Quadratic(value)(torch.zeros(3, 2)), "centre")


@given(
    value=anything("red", "#ff0000", [0.1, 0.2, 0.3]),
    size=anything(8, 32).filter(lambda n: type(n) is not int or n < 100),
)
def test_energies_of_pictures(value: Any, size: Any) -> None:
    x = torch.full((2, 3, 8, 8), 0.5)
    judged(lambda: rgb(value), "colour")
    judged(lambda: Brightness(value)(x), "target", "brightness")
    judged(lambda: Colour(value)(x), "colour")
    judged(lambda: Factor("size", value).describe(), "target", "size", "factor")
    judged(lambda: Factor(value, 0.5).describe(), "factor")
    judged(lambda: Similar(value), "file", kinds=(ValueError, FileNotFoundError))
    judged(lambda: Images(size=size), "size")


CONFIGS = [
    {"energy": "qed", "maximise": True},
    {"sum": [{"energy": "logp", "target": 2.0, "weight": 1.0}, {"energy": "sa", "minimise": True, "clip": [0, 3]}]},
    {"energy": "similarity", "smiles": "CCO", "maximise": True},
]


@given(st.sampled_from(CONFIGS).flatmap(damaged_json) | st.sampled_from(HOSTILE_JSON))
def test_energies_of_molecules(spec: Any) -> None:
    judged(lambda: from_config(spec).describe(), kinds=(ValueError, TypeError))


@given(
    st.text(max_size=30)
    | st.sampled_from(["C" * 5000, "(" * 2000, "C1CC", "[" * 999, "é", "\0", "%99" * 50, "C.C", "[C@@H]"])
)
def test_words_of_molecules(smiles: str) -> None:
    """What can be encoded is decoded into what it was."""
    rows = judged(lambda: encode([smiles], 64), "smiles", "token", "SMILES")
    assert rows is None or decode(rows) == [smiles]


NAME = "egflow/hand/made-v0"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two episodes, as Minari writes it."""
    root = tmp_path_factory.mktemp("minari")
    ends = np.arange(5) == 4
    episodes = [
        EpisodeBuffer(
            observations=np.zeros((6, 3), dtype=np.float32),
            actions=np.zeros((5, 1), dtype=np.float32),
            rewards=np.ones(5),
            terminations=ends,
            truncations=ends & False,
        )
        for _ in range(2)
    ]
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        warnings.simplefilter("ignore")
        minari.create_dataset_from_buffers(
            NAME,
            episodes,
            env=gym.spec("Pendulum-v1"),
            observation_space=Box(-8, 8, (3,), np.float32),
            action_space=Box(-2, 2, (1,), np.float32),
        )
    return root


@given(st.data())
def test_the_description_of_a_dataset(
    recorded: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(recorded, root, dirs_exist_ok=True)
    file = root / NAME / "data" / "metadata.json"
    if data.draw(st.booleans()):
        file.write_bytes(data.draw(damaged_bytes(file.read_bytes())))
    else:
        content = json.loads(file.read_text())
        inner = data.draw(
            st.sampled_from([key for key in content if isinstance(content[key], str) and "{" in content[key]])
        )
        if data.draw(st.booleans()):
            content[inner] = json.dumps(data.draw(damaged_json(json.loads(content[inner]))))
        else:
            content = data.draw(damaged_json(content))
        file.write_text(json.dumps(content))
    before = files(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(root))
        judged(
            lambda: load_dataset(NAME).observations, "data=", kinds=(ValueError, FileNotFoundError, ModuleNotFoundError)
        )
    assert files(root) == before
    shutil.rmtree(root)


@given(anything("mujoco/hopper/medium-v0", "a/../b-v0", "egflow/none-v0"))
def test_the_name_of_a_dataset(empty: Path, name: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(empty))
        judged(lambda: load_dataset(name), "data=", kinds=(ValueError, FileNotFoundError))


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("policy") / "model"
    Policy(
        scaling=Scaling(torch.zeros(3), torch.ones(3), -torch.ones(2), torch.ones(2)),
        actor=DeterministicActor(3, 2, width=8),
        critic=TwinQ(3, 2, width=8),
        method="td3_bc",
        env_spec=gym.spec("Pendulum-v1"),
        dataset=NAME,
        reference=(-1200.0, -150.0),
        facts={"beta": 3.0},
    ).save(place)
    return place


@given(st.data())
def test_a_policy(policy: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = tmp_path_factory.mktemp("damaged") / "model"
    shutil.copytree(policy, place)
    how: str = data.draw(st.sampled_from(["json", "bytes", "weights"]))
    model: dict[str, Any] = json.loads((place / "model.json").read_text())
    weights = place / "weights.safetensors"
    if how == "json":
        (place / "model.json").write_text(json.dumps(data.draw(damaged_json(model))))
    elif how == "bytes":
        name = data.draw(st.sampled_from(["model.json", "weights.safetensors"]))
        (place / name).write_bytes(data.draw(damaged_bytes((place / name).read_bytes())))
    else:
        weights.write_bytes(data.draw(damaged_bytes(weights.read_bytes())))
        model["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        (place / "model.json").write_text(json.dumps(model))
    before = files(place)
    load: Callable[[], Policy] = lambda: load_policy(place)  # noqa: E731
    found = judged(load, str(place), kinds=(ValueError, FileNotFoundError), seconds=5)
    assert files(place) == before
    if found is not None:
        judged(lambda: found.act(np.zeros((2, 3), dtype=np.float32), seed=0))
    shutil.rmtree(place.parent)
