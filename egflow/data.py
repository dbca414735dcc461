"""Samples of p from a file, which may be larger than memory.

A ``.npy`` file is mapped into memory as it is: its pages are read when a batch needs them, and given up when memory is
short. A Parquet file, which cannot be read row by row, is copied once into such a file, one row group at a time.
`egflow.fit`, `egflow.tilt` and `egflow.report` take what `open_samples` returns as any other tensor, and gather from it
batch by batch; beside it they keep some ten numbers a sample (energies, weights, indices).
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import sys
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.lib.format import open_memmap  # no zip and no pickle, as np.load would look for
from torch import Tensor

from egflow._files import write_atomic

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

CACHE = Path.home() / ".cache" / "egflow" / "data"
SUFFIXES = (".npy", ".parquet")
_NO_RESERVE = 0x4000  # MAP_NORESERVE of Linux, which mmap names from Python 3.13 on
_LONG = 2**63 - 1
_NUMBERS = 2**22  # of a row group that are in memory at once


def open_samples(file: str | Path, columns: Sequence[str] | None = None, *, cache: str | Path | None = None) -> Tensor:
    """The samples of a file, as a tensor over a memory-mapped file; writing into it changes no file.

    Args:
        file: ``.npy``, an array (N, *event) of numbers; or ``.parquet`` (extra ``data``), whose columns are the
            coordinates, or whose one column holds lists of one length.
        columns: of a Parquet file, those to take, in this order; None takes all.
        cache: folder where the copy of a Parquet file is kept, under a name made of its place, size, time and columns;
            None is ``~/.cache/egflow/data``.

    Returns:
        (N, *event), float32 or float64, or long where all numbers are whole (tokens). An array of another type, float16
        say, or of the other byte order is copied into memory.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for another kind of file, a damaged one, missing values, or columns that are no numbers.
        ModuleNotFoundError: where pyarrow is missing.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"data={file} is no file")
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(f"data={file} is neither {' nor '.join(SUFFIXES)}: save it as one of them")
    if file.suffix.lower() == ".parquet":
        copy = _prepared(file, columns, Path(cache or CACHE))
        try:
            return _mapped(copy)
        except ValueError:  # the copy is damaged
            copy.unlink()
            return _mapped(_prepared(file, columns, Path(cache or CACHE)))
    if columns is not None:
        raise ValueError(f"columns= chooses columns of a Parquet file, and data={file} is none: leave it out")
    return _mapped(file)


def _mapped(file: Path) -> Tensor:
    try:
        array = open_memmap(file, mode="r")
    except (ValueError, EOFError, OSError, SyntaxError, TokenError) as error:  # the last two of a damaged header
        raise ValueError(f"data={file} is no array of numbers: {error}") from None
    if not isinstance(array, np.memmap) or array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        raise ValueError(f"data={file} holds no array of numbers: save one with numpy.save")
    if array.ndim < 2 or not array.size:
        raise ValueError(f"data={file} has shape {array.shape}: (N, *event) is needed, of numbers (N, 1)")
    wanted = _kept_as(array.dtype)
    if array.dtype == wanted:
        return torch.from_numpy(_writable(file, array))
    # of another type, or in the other byte order: copied into memory
    return torch.from_numpy(_checked(array, str(file)).astype(wanted))


def _writable(file: Path, array: np.memmap[Any, Any]) -> np.ndarray:
    """The array over private pages, which torch may be given: what is written there stays in memory."""
    if sys.platform != "linux":
        return open_memmap(file, mode="c")
    with file.open("rb") as stream:
        # without the flag the kernel refuses what memory and swap could not hold if all of it were written to
        flags = mmap.MAP_PRIVATE | _NO_RESERVE
        pages = mmap.mmap(stream.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    return np.ndarray(array.shape, array.dtype, buffer=pages, offset=array.offset, order=order)


def _checked(array: np.ndarray, name: str) -> np.ndarray:
    """The array, if its whole numbers fit into long. Raises ValueError otherwise."""
    if array.dtype.kind == "u" and array.dtype.itemsize == 8 and array.size and int(array.max()) > _LONG:
        raise ValueError(f"{name} holds whole numbers past 2^63, which a long tensor cannot: save them as float64")
    return array


def _kept_as(kind: np.dtype[Any]) -> np.dtype[Any]:
    if kind.kind in "iu":
        return np.dtype(np.int64)
    return np.dtype(np.float64 if kind.itemsize == 8 else np.float32)


def _prepared(file: Path, columns: Sequence[str] | None, cache: Path) -> Path:
    """The copy of a Parquet file as ``.npy``, made where it is not there."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise ModuleNotFoundError(f"data={file} needs pyarrow: install it with  pip install 'egflow[data]'") from None
    state = file.stat()
    about = [str(file.resolve()), state.st_size, state.st_mtime_ns, None if columns is None else list(columns)]
    kept = cache / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]}.npy"
    if kept.exists():
        return kept
    try:
        with pq.ParquetFile(file) as source:
            names = _chosen(file, source, columns)
            shape, dtype = _layout(file, source, names)
            cache.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, lambda place: _copy(source, names, shape, dtype, place))
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the file system: a full disk, a folder that cannot be written to
        raise ValueError(f"data={file} cannot be read as Parquet: {error}") from None
    return kept


def _chosen(file: Path, source: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
    there = source.schema_arrow.names
    names = there if columns is None else list(columns)
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(f"data={file} has no column {unknown[0]!r}; it has {', '.join(there)}")
    twice = next((name for name in names if there.count(name) > 1 or names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"data={file}: column {twice!r} is there, or asked for, twice: name each once")
    if not names or source.metadata.num_rows == 0:
        raise ValueError(f"data={file} is empty: {source.metadata.num_rows} rows of {len(names)} columns")
    return names


def _layout(file: Path, source: pq.ParquetFile, names: list[str]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape of a sample, and the type of its numbers; found in the first row."""
    first = next(source.iter_batches(batch_size=1, columns=names))
    parts = [_numbers(first.column(name), name) for name in names]
    lists = [name for name, part in zip(names, parts, strict=True) if part.ndim > 1]
    if lists and len(names) > 1:
        raise ValueError(f"data={file}: column {lists[0]!r} holds lists: choose it alone, by columns=[{lists[0]!r}]")
    shape = parts[0].shape[1:] if lists else (len(parts),)
    if 0 in shape:
        raise ValueError(f"data={file}: column {names[0]!r} holds empty lists")
    return shape, _kept_as(np.result_type(*parts))


def _copy(source: pq.ParquetFile, names: list[str], shape: tuple[int, ...], dtype: np.dtype[Any], place: Path) -> None:
    header = {"descr": dtype.str, "fortran_order": False, "shape": (source.metadata.num_rows, *shape)}
    with place.open("wb") as out:
        np.lib.format.write_array_header_2_0(out, header)
        for batch in source.iter_batches(batch_size=max(1, _NUMBERS // math.prod(shape)), columns=names):
            parts = [_checked(_numbers(batch.column(name), name), f"column {name!r}") for name in names]
            rows = np.stack(parts, axis=1) if parts[0].ndim == 1 else parts[0]
            if rows.shape[1:] != shape:
                raise ValueError(f"column {names[0]!r} holds lists of {shape[0]} numbers, and of {rows.shape[1]}")
            out.write(np.ascontiguousarray(rows, dtype=dtype).data)


def _numbers(column: pa.Array, name: str) -> np.ndarray:
    """A column (n,) of numbers, or (n, k) of lists of one length, as an array. Raises ValueError otherwise."""
    import pyarrow as pa

    if column.null_count:
        raise ValueError(f"column {name!r} has missing values: fill or drop those rows")
    kind = column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _numbers(column.storage, name).reshape(len(column), *kind.shape)
    if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner, n = _numbers(column.flatten(), name), len(column)
        sizes = {kind.list_size} if pa.types.is_fixed_size_list(kind) else set(column.value_lengths().to_pylist())
        if len(sizes) != 1:
            raise ValueError(
                f"column {name!r} holds lists of {min(sizes)} to {max(sizes)} numbers: one length is needed"
            )
        return inner.reshape(n, -1)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(f"column {name!r} holds {kind}, no numbers: choose others by columns=")
    return column.to_numpy(zero_copy_only=False)
