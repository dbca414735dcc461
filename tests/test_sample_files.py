"""Samples as files of other programs: what is written is what is read back, whole or not at all."""

from __future__ import annotations

import csv
import errno
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from egflow_molecules.domain import MoleculesDomain
from egflow_molecules.molecules import Molecules
from egflow_molecules.pretrained import prior
from egflow_molecules.real_sample import real_molecules
from egflow_offline_rl.domain import OfflineRL
from rdkit import Chem

from egflow import _sample_files
from egflow._sample_files import check_ending, write_samples_file
from egflow.cli._out import check_file
from egflow.data import open_samples

POINTS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
TOKENS = np.arange(12).reshape(3, 4)
PICTURES = np.random.default_rng(1).uniform(size=(5, 3, 4, 2)).astype(np.float32)


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("array", [POINTS, TOKENS, PICTURES, POINTS.astype(np.float64)])
def test_arrays_come_back(array: np.ndarray, tmp_path: Path) -> None:
    write_samples_file(tmp_path / "x.npy", {"x": array})
    back = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert back.dtype == array.dtype and np.array_equal(back, array)

    write_samples_file(tmp_path / "x.parquet", {"x": array})
    found = pq.read_table(tmp_path / "x.parquet")
    if array.ndim == 2:
        assert found.column_names == [f"x_{i}" for i in range(array.shape[1])]
        read = np.stack([column.to_numpy() for column in found.columns], 1)
        # what one run wrote is data for another
        assert np.array_equal(open_samples(tmp_path / "x.parquet", cache=tmp_path / "cache").numpy(), array)
    else:
        assert found.column_names == ["x"]
        read = found["x"].combine_chunks().to_numpy_ndarray()
    assert read.dtype == array.dtype and np.array_equal(read, array)

    if array.ndim > 2:
        with pytest.raises(ValueError, match=r"no place for samples of shape \(3, 4, 2\)"):
            write_samples_file(tmp_path / "x.csv", {"x": array})
        assert not (tmp_path / "x.csv").exists()
    else:
        write_samples_file(tmp_path / "x.csv", {"x": array})
        rows = [list(row.values()) for row in table(tmp_path / "x.csv")]
        assert np.array_equal(np.array(rows).astype(array.dtype), array)


def test_columns_of_several_kinds(tmp_path: Path) -> None:
    columns = {"name": ['a,"b"', "c\nd", ""], "score": [1.5, float("nan"), None], "at": TOKENS[:, :2]}
    write_samples_file(tmp_path / "x.parquet", columns)
    found = pq.read_table(tmp_path / "x.parquet").to_pydict()
    assert found == {"name": ['a,"b"', "c\nd", ""], "score": [1.5, None, None], "at_0": [0, 4, 8], "at_1": [1, 5, 9]}
    write_samples_file(tmp_path / "x.csv", columns)
    assert [row["name"] for row in table(tmp_path / "x.csv")] == columns["name"]
    write_samples_file(tmp_path / "x.npz", {"a": POINTS, "b": TOKENS})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as back:
        assert np.array_equal(back["a"], POINTS) and np.array_equal(back["b"], TOKENS)


def test_what_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"end it with \.parquet, \.csv or \.npz"):
        write_samples_file(tmp_path / "x.npy", {"a": POINTS, "b": POINTS})
    with pytest.raises(ValueError, match="cannot hold x"):
        write_samples_file(tmp_path / "x.xlsx", {"x": POINTS})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(_sample_files.importlib.util, "find_spec", lambda name: None)
    for call in (check_ending, lambda file: write_samples_file(file, {"x": POINTS})):
        with pytest.raises(ModuleNotFoundError, match=r"egflow\[data\]"):
            call(tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".npy", ".npz", ".csv", ".parquet"])
def test_a_full_disk_leaves_the_old_file(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / f"x{ending}"
    write_samples_file(file, {"x": POINTS})
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("egflow._files.os.fsync", full)
    with pytest.raises(OSError, match="full"):
        write_samples_file(file, {"x": POINTS[:3]})
    assert file.read_bytes() == before and list(tmp_path.iterdir()) == [file]


def test_molecules_as_table_and_structures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    domain = MoleculesDomain(real=100)
    monkeypatch.setattr(domain, "_known", lambda: real_molecules(100))
    x = prior().sample(8, seed=3)
    score = torch.arange(8.0).roll(3)
    for ending, write in domain.write_as.items():
        write(x, {"score": score}, tmp_path / f"x{ending}")
    rows, found = table(tmp_path / "x.csv"), pq.read_table(tmp_path / "x.parquet").to_pylist()
    assert [float(row["score"]) for row in rows] == sorted(score.tolist(), reverse=True)
    assert [row["SMILES"] for row in found] == [row["SMILES"] for row in rows]
    assert list(found[0]) == list(rows[0])
    for row, one in zip(rows, found, strict=True):
        for name, value in one.items():
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value, rel=1e-5)
            else:
                assert row[name] == ("" if value is None else value)
    mols = [mol for mol in Chem.SDMolSupplier(str(tmp_path / "x.sdf")) if mol is not None]
    valid = [row for row in rows if Molecules([row["SMILES"]]).valid[0]]
    assert [mol.GetProp("score") for mol in mols] == [row["score"] for row in valid]
    assert {file.name for file in tmp_path.iterdir()} == {"x.csv", "x.parquet", "x.sdf"}
    with pytest.raises(ValueError, match=r"written as \.csv, \.sdf, \.parquet"):
        check_file(tmp_path / "x.npy", domain, (80,))


def test_observations_and_actions(tmp_path: Path) -> None:
    domain = OfflineRL()
    samples = {"observations": POINTS, "actions": POINTS[:, :1]}
    for ending, write in domain.write_as.items():
        write(samples, {}, tmp_path / f"x{ending}")
    names = ["observations_0", "observations_1", "observations_2", "actions_0"]
    assert pq.read_table(tmp_path / "x.parquet").column_names == names == list(table(tmp_path / "x.csv")[0])
    with np.load(tmp_path / "x.npz") as back:
        assert np.array_equal(back["observations"], POINTS) and np.array_equal(back["actions"], POINTS[:, :1])
    with pytest.raises(ValueError, match=r"written as \.npz, \.parquet, \.csv"):
        check_file(tmp_path / "x.npy", domain)
