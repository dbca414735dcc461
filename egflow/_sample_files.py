"""Samples as files that other programs read: .npy, .npz, .csv and Parquet; each whole or not there at all.

Tables have a row a sample. An array (n, d) is d columns, ``x_0 … x_{d−1}``; one of more axes, which a table of numbers
has no place for, is one column of tensors in Parquet (``fixed_shape_tensor`` of Arrow) and is refused in .csv.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from egflow._files import write_atomic

ARRAY_ENDINGS = (".npy", ".parquet", ".csv")
"""How one array of samples may be written."""

Columns = Mapping[str, Any]
"""Name -> an array (n, *event), or a sequence of n numbers, texts or None."""


def write_samples_file(file: Path, columns: Columns) -> None:
    """Write n samples as the file's ending says.

    Args:
        file: .npy (of one array alone), .npz, .csv or .parquet.
        columns: arrays of n rows each.

    Raises:
        ValueError: for another ending, several arrays as .npy, or more than one axis a sample as .csv.
        ModuleNotFoundError: for Parquet without pyarrow, naming the extra.
        OSError: if it cannot be written.
    """
    if file.suffix == ".parquet":
        _write_parquet(file, columns)
    elif file.suffix == ".csv":
        _write_csv(file, columns)
    elif file.suffix == ".npz":
        write_atomic(file, lambda place: np.savez(place, **columns))
    elif file.suffix == ".npy" and len(columns) == 1:
        (array,) = columns.values()
        write_atomic(file, lambda place: np.save(place, array, allow_pickle=False))
    else:
        raise ValueError(f"{file} cannot hold {', '.join(columns)}: end it with .parquet, .csv or .npz")


def check_ending(file: Path, event_shape: Sequence[int] = ()) -> None:
    """Whether the file can be written here, before anything is computed.

    Raises:
        ValueError: for samples of several axes as .csv.
        ModuleNotFoundError: for Parquet without pyarrow.
    """
    if file.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ModuleNotFoundError(f"{file} needs pyarrow: install it with  pip install 'egflow[data]'")
    if file.suffix == ".csv" and len(event_shape) > 1:
        raise ValueError(f"{file} has no place for samples of shape {tuple(event_shape)}: end it with .npy or .parquet")


def _write_csv(file: Path, columns: Columns) -> None:
    for array in columns.values():
        check_ending(file, np.shape(array)[1:])
    flat = _flat(columns)

    def write(place: Path) -> None:
        with place.open("w", encoding="utf-8", newline="") as stream:
            lines = csv.writer(stream)
            lines.writerow(flat)
            lines.writerows(zip(*(getattr(one, "tolist", lambda one=one: one)() for one in flat.values()), strict=True))

    write_atomic(file, write)


def _write_parquet(file: Path, columns: Columns) -> None:
    check_ending(file)
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(values: Any) -> pa.Array:
        if isinstance(values, np.ndarray) and values.ndim > 2:
            return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
        return pa.array(values, from_pandas=True)  # NaN, as None, is a value that is missing

    table = pa.table({name: column(values) for name, values in _flat(columns).items()})
    write_atomic(file, lambda place: pq.write_table(table, place))


def _flat(columns: Columns) -> dict[str, Any]:
    """Columns of one number a row, but for those of more than one axis."""
    found: dict[str, Any] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray) and values.ndim == 2:
            found |= {f"{name}_{i}": values[:, i] for i in range(values.shape[1])}
        else:
            found[name] = values
    return found
