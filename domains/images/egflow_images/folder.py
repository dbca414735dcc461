"""Any folder of pictures: read, laid on white, cut square, resized, and kept prepared for the next time."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.lib.format import open_memmap  # no zip and no pickle, as np.load would look for
from PIL import Image, ImageOps
from torch import Tensor

from egflow._files import write_atomic, write_text
from egflow._untrusted import fits, read_json
from egflow_images.emoji_set import on_white

SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm")
CACHE = Path.home() / ".cache" / "egflow" / "images"
LEAST = 20
_CHANNELS = (1, 3, 4)
_SLACK = 0.5  # that resizing or a flow may go past [0, 1]
_BROKEN = 0.05  # of the files, at most
_SAID = 5  # broken files that are named
_EVERY = 10.0  # seconds between lines of progress


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What a folder holds.

    Attributes:
        values: (N, size, size, 3) uint8, memory-mapped.
        file: where they are kept.
        label: (N,) long, places of the sub-folders in ``classes``; None where some pictures lie in the folder itself.
        classes: names of the sub-folders.
        broken: files that are no pictures, with the reason.
        shapes: modes and sizes as found, with how many.
    """

    values: np.ndarray
    file: Path
    label: Tensor | None
    classes: tuple[str, ...]
    broken: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, int] = field(default_factory=dict)

    def x(self) -> Tensor:
        """(N, 3, size, size) float32 in [0, 1], of 256 levels."""
        return rearrange(torch.from_numpy(np.array(self.values)).float() / 255, "n h w c -> n c h w").contiguous()


def read_folder(folder: str | Path, size: int = 32, cache: str | Path | None = None) -> Pictures:
    """Every picture under a folder, in the order of their paths.

    The middle square of each is resized (area-averaged), grey becomes RGB, what is transparent becomes white. What was
    prepared is kept in ``cache`` (`CACHE`) and taken from there as long as no file changed.

    Args:
        folder: of files with one of `SUFFIXES`; sub-folders are searched, and are classes if no picture is outside.
        size: of the result.
        cache: where what is prepared is kept.

    Raises:
        FileNotFoundError: where there is no such folder.
        ValueError: for a folder with fewer than 20 pictures, or more than one broken file in twenty, naming some.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"data={folder} is no folder: give one with pictures ({', '.join(SUFFIXES)})")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(found) < LEAST:
        raise ValueError(
            f"data={folder} holds {len(found)} pictures ({', '.join(SUFFIXES)}): at least {LEAST} are needed"
        )
    state = [[str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns] for path in found]
    key = hashlib.sha256(json.dumps([str(folder.resolve()), size, state]).encode()).hexdigest()[:24]
    place = Path(cache or CACHE)
    kept, told = place / f"{key}.npy", place / f"{key}.json"
    ready = _prepared(kept, told, size)
    if ready is None:
        _prepare(found, folder, size, kept, told)
        ready = _prepared(kept, told, size)
    if ready is None:
        raise ValueError(f"data={folder}: what was prepared of it in {place} cannot be read back")
    values, facts = ready
    names = [Path(name).parts for name in facts["names"]]
    classes = tuple(sorted({parts[0] for parts in names})) if all(len(parts) > 1 for parts in names) else ()
    label = torch.tensor([classes.index(parts[0]) for parts in names]) if len(classes) > 1 else None
    return Pictures(values, kept, label, classes if label is not None else (), facts["broken"], facts["shapes"])


def _prepared(kept: Path, told: Path, size: int) -> tuple[np.ndarray, dict[str, Any]] | None:
    """What was prepared before, if it is there and whole."""
    if not (kept.is_file() and told.is_file()):
        return None
    try:
        facts, values = read_json(told), open_memmap(kept, mode="r")
    except (ValueError, EOFError, OSError, SyntaxError, TokenError):
        return None
    whole = fits(facts, dict[str, Any]) and set(facts) == {"names", "broken", "shapes"}
    whole = whole and fits(facts["names"], list[str]) and fits(facts["broken"], dict[str, str])
    whole = whole and all(facts["names"]) and fits(facts["shapes"], dict[str, int])
    if not whole or values.dtype != np.uint8 or values.shape != (len(facts["names"]), size, size, 3):
        return None
    return values, facts


def read_array(file: str | Path) -> tuple[Tensor, str]:
    """The pictures of a ``.npy`` file as (N, c, h, w) float32 in [0, 1], and what was made of its values, or "".

    Args:
        file: (N, h, w), (N, c, h, w) or (N, h, w, c) with c of 1, 3 or 4 (the fourth is cover: laid on white), square;
            numbers in [0, 1], from −.5 to 1.5 cut to it, or in [0, 255], 2 and more among them.

    Raises:
        ValueError: for anything else, naming what is wrong.
    """
    try:
        values = open_memmap(file, mode="r")
    except (ValueError, EOFError, OSError, SyntaxError, TokenError) as error:  # the last two of a damaged header
        raise ValueError(f"data={file} is no array of numbers: {error}") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "buif":
        raise ValueError(f"data={file} holds no array of numbers: save one with numpy.save")
    if values.ndim == 3:
        values = values[..., None]
    elif values.ndim == 4 and values.shape[1] in _CHANNELS and values.shape[2] == values.shape[3]:
        values = rearrange(values, "n c h w -> n h w c")
    if values.ndim != 4 or values.shape[-1] not in _CHANNELS or values.shape[1] != values.shape[2]:
        raise ValueError(
            f"data={file} has shape {values.shape}: square pictures (N, size, size, c) or (N, c, size, size) are "
            "needed, c of 1, 3 or 4"
        )
    if values.shape[1] % 4:
        raise ValueError(
            f"data={file} has pictures of {values.shape[1]} pixels a side, which the network halves twice: cut or pad "
            "them to a multiple of 4"
        )
    if len(values) < LEAST or not values.size:
        raise ValueError(f"data={file} holds {len(values)} pictures: at least {LEAST} are needed")
    low, high = float(values.min()), float(values.max())
    x, told = torch.from_numpy(np.array(values, dtype=np.float32)), ""
    if low >= -_SLACK and high <= 1 + _SLACK:
        if low < 0 or high > 1:
            x, told = x.clamp(0, 1), f"values of {low:g} to {high:g} are cut to [0, 1]"
    elif low >= 0 and 2 <= high <= 255:
        x, told = x / 255, f"values of {low:g} to {high:g} are taken as [0, 255] and divided by 255"
    else:
        raise ValueError(f"data={file} has values from {low:g} to {high:g}: [0, 1] or [0, 255] is needed")
    if x.shape[-1] == 4:
        x = x[..., :3] * x[..., 3:] + 1 - x[..., 3:]
    return rearrange(x, "n h w c -> n c h w").contiguous(), told


def _prepare(found: list[Path], folder: Path, size: int, kept: Path, told: Path) -> None:
    """Read all pictures into one array on disk. Raises ValueError where too many are broken."""
    broken: dict[str, str] = {}
    shapes: Counter[str] = Counter()
    values, names = [], []
    for path in _told(found):
        name = str(path.relative_to(folder))
        try:
            one, shape = read_picture(path, size)
        except Exception as error:  # a decoder's own, of many kinds
            broken[name] = f"{type(error).__name__}: {str(error)[:120]}"
            continue
        values.append(one)
        names.append(name)
        shapes[shape] += 1
    if len(broken) > _BROKEN * len(found):
        some = "; ".join(f"{name} ({word})" for name, word in list(broken.items())[:_SAID])
        raise ValueError(f"{len(broken)} of {len(found)} files in data={folder} are no pictures: {some}: remove them")
    kept.parent.mkdir(parents=True, exist_ok=True)
    array = np.stack(values)

    def save(file: Path) -> None:
        with open(file, "wb") as stream:
            np.save(stream, array)

    write_atomic(kept, save)
    facts = {"names": names, "broken": broken, "shapes": dict(shapes.most_common())}
    write_text(told, json.dumps(facts))


def read_picture(path: Path, size: int) -> tuple[np.ndarray, str]:
    """One picture (size, size, 3) uint8, and its mode and size as found."""
    with Image.open(path) as opened:
        shape = f"{opened.mode} {opened.width}x{opened.height}"
        if opened.mode in ("I", "F"):
            raise ValueError(f"its mode {opened.mode} does not say where white is")
        turned = ImageOps.exif_transpose(opened) or opened
        if turned.mode.startswith("I;16"):
            turned = Image.fromarray((np.asarray(turned).astype(np.float32) / 257).round().astype(np.uint8))
        square = ImageOps.fit(turned.convert("RGBA"), (size, size), Image.Resampling.BOX)
    return on_white(np.asarray(square)), shape


def _told(found: list[Path]) -> Iterator[Path]:
    """The files, with a line of progress every ten seconds."""
    last = time.monotonic()
    for i, path in enumerate(found):
        if time.monotonic() - last > _EVERY:
            last = time.monotonic()
            print(f"egflow: {i:,} of {len(found):,} pictures read", file=sys.stderr)
        yield path
