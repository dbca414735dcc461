"""Samples from a file: the same flow as from memory, in little memory; what cannot be read is said in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import egflow
from egflow._rows import Rows, mean_and_std
from egflow.data import open_samples

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

QUIET = egflow.TrainingOptions(progress="quiet")
X = np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32)


def parquet(file: Path, **columns: object) -> Path:
    """A table of several row groups."""
    pq.write_table(pa.table(columns), file, row_group_size=700)
    return file


def test_a_npy_file_is_mapped_and_never_written_to(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    x = open_samples(tmp_path / "x.npy")
    assert torch.equal(x, torch.from_numpy(X)) and x.dtype == torch.float32
    x[0] = 7.0
    assert torch.equal(open_samples(tmp_path / "x.npy"), torch.from_numpy(X))


def test_parquet_columns_and_lists(tmp_path: Path) -> None:
    table = parquet(tmp_path / "a.parquet", a=X[:, 0], b=X[:, 1], c=X[:, 2])
    lists = parquet(tmp_path / "b.parquet", v=pa.FixedSizeListArray.from_arrays(X.reshape(-1), 3))
    other = parquet(tmp_path / "c.parquet", v=pa.array(X.tolist()), name=["a"] * len(X))
    cache = tmp_path / "cache"
    assert torch.equal(open_samples(table, cache=cache), torch.from_numpy(X))
    assert torch.equal(open_samples(lists, cache=cache), torch.from_numpy(X))
    assert torch.equal(open_samples(other, ["v"], cache=cache).float(), torch.from_numpy(X))
    assert torch.equal(open_samples(table, ["c", "a"], cache=cache), torch.from_numpy(X[:, [2, 0]]))
    assert len(list(cache.iterdir())) == 4
    whole = open_samples(parquet(tmp_path / "d.parquet", a=np.arange(40), b=np.ones(40, dtype=np.int16)), cache=cache)
    assert whole.dtype == torch.long and whole[39].tolist() == [39, 1]


def test_a_changed_parquet_file_is_read_anew(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", a=X[:, 0])
    assert float(open_samples(file, cache=tmp_path / "c")[0, 0]) == X[0, 0]
    parquet(file, a=X[:, 1])
    assert float(open_samples(file, cache=tmp_path / "c")[0, 0]) == X[0, 1]


def _text(file: Path) -> None:
    file.write_text("no array")


def _objects(file: Path) -> None:
    np.save(file, np.array([[{}], [None]], dtype=object))


def _flat(file: Path) -> None:
    np.save(file, np.zeros(30))


def _words(file: Path) -> None:
    np.save(file, np.array([["a"], ["b"]]))


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("x.npy", _text, "is no array of numbers"),
        ("x.npy", _objects, "is no array of numbers"),
        ("x.npy", _words, "holds no array of numbers"),
        ("x.npy", _flat, r"shape \(30,\)"),
        ("x.csv", _text, "neither .npy nor .parquet"),
        ("x.parquet", _text, "cannot be read as Parquet"),
        ("x.parquet", lambda file: parquet(file, a=[1.0, None]), "column 'a' has missing values"),
        ("x.parquet", lambda file: parquet(file, a=["b", "c"]), "column 'a' holds string, no numbers"),
        ("x.parquet", lambda file: parquet(file, a=[[1.0], [2.0, 3.0]]), "lists of"),
        ("x.parquet", lambda file: parquet(file, a=[[1.0], [2.0]], b=[1.0, 2.0]), "choose it alone"),
        ("x.parquet", lambda file: parquet(file, a=pa.array([], pa.float32())), "is empty"),
    ],
)
def test_what_cannot_be_read_is_said_and_nothing_is_kept(tmp_path: Path, name: str, make, message: str) -> None:
    make(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        open_samples(tmp_path / name, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_no_file_and_no_such_column(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no file"):
        open_samples(tmp_path / "x.npy")
    with pytest.raises(ValueError, match="no column 'z'; it has a"):
        open_samples(parquet(tmp_path / "a.parquet", a=X[:, 0]), ["z"])


def test_a_flow_is_the_same_from_a_file_and_from_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    reports = []
    for x in (torch.from_numpy(X), open_samples(tmp_path / "x.npy")):
        base = egflow.fit(x, steps=30, options=QUIET)
        flow = egflow.tilt(base, lambda x: x[:, 0], 1.0, data=x, steps=30, options=QUIET)
        assert flow.report is not None
        reports.append((flow.report.energy_mean, flow.report.distance, [p.tolist() for p in flow.network.parameters()]))
    assert reports[0] == reports[1]


def test_rows_are_those_of_an_eager_tensor() -> None:
    x = torch.randn(50, 2, 3)
    index, part = torch.randperm(50)[:20], torch.tensor([3, 0, 7])
    rows = Rows(x, index, lambda rows: rows.flatten(1) * 2)
    eager = x[index].flatten(1) * 2
    assert rows.shape == eager.shape and len(rows) == 20
    assert torch.equal(rows[part], eager[part]) and torch.equal(rows[4:9], eager[4:9])
    mask = torch.rand(20) < 0.5
    assert torch.equal(rows.at(mask).at(torch.tensor([0, 1]))[:], eager[mask][:2])
    assert torch.equal(torch.cat(list(rows.split(7))), eager)
    assert torch.equal(Rows(x).at(torch.arange(50) > 40)[:], x[41:])


def test_mean_and_std_in_parts_lose_no_digits_to_a_large_mean() -> None:
    x = torch.randn(1000, 2, 5, dtype=torch.float64) + 1e6
    mean, std = mean_and_std(x.split(77))
    assert mean.shape == (2, 1)
    torch.testing.assert_close(mean.squeeze(1), x.mean((0, 2)), rtol=1e-12, atol=0)
    torch.testing.assert_close(std.squeeze(1), x.std((0, 2)), rtol=1e-9, atol=0)


def test_a_fit_and_a_tilt_of_a_file_take_a_small_part_of_its_size(tmp_path: Path) -> None:
    """Of 400 MB; copies of the data alone would be 1 GB. Some 100 MB are the report's own, whatever N is."""
    file = tmp_path / "x.npy"
    np.save(file, np.random.default_rng(0).standard_normal((100_000, 1_000), dtype=np.float32))
    job = Path(__file__).resolve().parents[1] / "benchmarks" / "_data_size_job.py"
    done = subprocess.run(
        [sys.executable, job, file, "file", "5"],
        # what is freed is given back at once, and not kept by malloc as chance has it
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["peak_mb"] < 150


def test_a_file_larger_than_memory_is_opened(tmp_path: Path) -> None:
    """One and a half times what this machine has, all of it a hole in the file."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows = int(1.5 * memory) // 4_000
    with (tmp_path / "x.npy").open("wb") as stream:
        np.lib.format.write_array_header_2_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (rows, 1_000)})
        stream.truncate(stream.tell() + rows * 4_000)
    x = open_samples(tmp_path / "x.npy")
    assert x.shape == (rows, 1_000) and float(x[rows - 1].sum()) == 0.0
    x[5] = 1.0
    assert float(open_samples(tmp_path / "x.npy")[5].sum()) == 0.0


def test_pictures_of_parquet_keep_their_shape(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).random((50, 3, 4, 4), dtype=np.float32)
    column = pa.FixedShapeTensorArray.from_numpy_ndarray(pictures)
    pq.write_table(pa.table({"x": column}), tmp_path / "x.parquet", row_group_size=20)
    assert torch.equal(open_samples(tmp_path / "x.parquet", cache=tmp_path / "c"), torch.from_numpy(pictures))


def test_a_damaged_copy_of_parquet_is_made_anew(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", a=X[:, 0])
    first = open_samples(file, cache=tmp_path / "c").clone()
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    assert torch.equal(open_samples(file, cache=tmp_path / "c"), first)


def test_a_cache_that_cannot_be_written_is_named_itself(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", a=X[:, 0])
    (tmp_path / "c").write_text("a file, no folder")
    with pytest.raises(OSError, match="File exists"):
        open_samples(file, cache=tmp_path / "c")


def test_whole_numbers_past_long_and_names_that_stand_twice(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.full((30, 2), 2**63, dtype=np.uint64))
    with pytest.raises(ValueError, match=r"past 2\^63"):
        open_samples(tmp_path / "x.npy")
    table = pa.table([pa.array(X[:, 0]), pa.array(X[:, 1])], names=["a", "a"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="column 'a' is there, or asked for, twice"):
        open_samples(tmp_path / "x.parquet", cache=tmp_path / "c")
    with pytest.raises(ValueError, match="empty lists"):
        open_samples(
            parquet(tmp_path / "y.parquet", a=pa.array([[], []], pa.list_(pa.float32()))), cache=tmp_path / "c"
        )
