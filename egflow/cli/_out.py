"""Where ``out=`` of ``egflow sample`` leads: into a folder, in the domain's own format, or to a file by its ending."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from egflow._sample_files import ARRAY_ENDINGS, check_ending, write_samples_file
from egflow.cli._loaded import check_out, out_folder
from egflow.cli._write import write_samples
from egflow.domain import Domain, OwnMethods


def out_file(out: str | None) -> Path | None:
    """The file that ``out=`` names, by an ending of letters; None where it is a folder (or not given).

    Raises:
        ValueError: for a file that is there, or a folder that holds something.
        NotADirectoryError: where the folder cannot be made.
    """
    ending = "" if out is None else Path(out).suffix
    named = out is not None and not out.endswith("/") and re.fullmatch(r"\.[A-Za-z]\w{0,9}", ending) is not None
    file = Path(out) if out is not None and named and not Path(out).is_dir() else None
    if file is not None and file.exists():
        raise ValueError(f"out={out} is there already: name another file")
    check_out(out)
    return file


def check_file(file: Path | None, domain: Domain | OwnMethods, event_shape: Sequence[int] = ()) -> None:
    """Whether the domain writes files of that ending.

    Raises:
        ValueError: naming the endings it writes.
        ModuleNotFoundError: for Parquet without pyarrow.
    """
    if file is None:
        return
    endings = tuple(getattr(domain, "write_as", ARRAY_ENDINGS))
    if file.suffix not in endings:
        raise ValueError(
            f"out={file}: samples of this run are written as {', '.join(endings)}; for a folder of that name end it "
            "with a slash"
        )
    check_ending(file, event_shape if endings == ARRAY_ENDINGS else ())


def deliver(
    domain: Domain | OwnMethods,
    samples: Any,
    columns: Mapping[str, Tensor],
    file: Path | None,
    out: str | None,
    run: Path,
) -> Path:
    """Write samples to the file, or else into the folder that ``out=`` or the run gives. Returns what was written."""
    if file is None:
        return write_samples(domain, samples, out_folder(out, run, "samples"), columns)
    own: Mapping[str, Callable[..., object]] | None = getattr(domain, "write_as", None)
    if own is None:
        write_samples_file(file, {"x": samples.numpy()})
    else:
        own[file.suffix](samples, columns, file)
    return file
