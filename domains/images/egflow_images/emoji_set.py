"""Google's Noto emoji, 3,786 real pictures of 32x32: of the npm package ``emoji-datasource-google`` 16.0.0.

They ship with this package, as one sheet of lossless WebP with their transparency (3.8 MB), and a line of text for
each. The pictures are Google's, under the Apache License 2.0; the sheet and the table are Cal Henderson's, under the
MIT License: see ``emoji/NOTICE``. The files were made, once, by

    npm pack emoji-datasource-google@16.0.0
    python -m egflow_images.emoji_set emoji-datasource-google-16.0.0.tgz
"""

from __future__ import annotations

import csv
import io
import json
import sys
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from egflow._files import write_atomic, write_text

SIZE = 32
CATEGORIES = (
    *("Activities", "Animals & Nature", "Component", "Flags", "Food & Drink", "Objects", "People & Body"),
    *("Smileys & Emotion", "Symbols", "Travel & Places"),
)
_COLUMNS = 62
_FOLDER = files("egflow_images") / "emoji"


@dataclass(frozen=True, slots=True, eq=False)
class Emoji:
    """The pictures and what is known of them.

    Attributes:
        x: (3786, 3, 32, 32) float32 in [0, 1], on white, of 256 levels.
        category: (3786,) long, places in `CATEGORIES`.
        name: of each; those that differ in skin alone share one.
        skin: whether each is a variation in skin of another.
    """

    x: Tensor
    category: Tensor
    name: tuple[str, ...]
    skin: Tensor


@lru_cache(maxsize=1)
def emoji() -> Emoji:
    """All of them, in the package's order.

    Example:
        >>> len(emoji().name), emoji().x.shape[1:]
        (3786, torch.Size([3, 32, 32]))
    """
    sheet = np.asarray(Image.open(io.BytesIO((_FOLDER / "sheet.webp").read_bytes())).convert("RGBA"))
    rows = list(csv.reader(io.StringIO((_FOLDER / "emoji.csv").read_text(encoding="utf-8"))))
    pictures = rearrange(sheet, "(r h) (k w) c -> (r k) h w c", h=SIZE, w=SIZE)[: len(rows)]
    values = torch.from_numpy(on_white(pictures))
    x = rearrange(values.float() / 255, "n h w c -> n c h w").contiguous()
    category = torch.tensor([CATEGORIES.index(row[1]) for row in rows])
    return Emoji(x, category, tuple(row[0] for row in rows), torch.tensor([row[2] == "skin" for row in rows]))


def on_white(pictures: np.ndarray) -> np.ndarray:
    """RGBA (…, 4) of 256 levels -> RGB (…, 3) laid on white, uint8."""
    cover = pictures[..., 3:].astype(np.float32) / 255
    return (pictures[..., :3] * cover + 255 * (1 - cover)).round().astype(np.uint8)


def build(tarball: str | Path, folder: str | Path) -> int:
    """Cut the pictures out of the npm package's sheet and write ``sheet.webp`` and ``emoji.csv``; returns how many.

    Raises:
        KeyError, OSError: for a file that is not that package.
    """
    with tarfile.open(tarball) as package:

        def member(name: str) -> bytes:
            stream = package.extractfile(f"package/{name}")
            assert stream is not None
            return stream.read()

        source = np.asarray(Image.open(io.BytesIO(member("img/google/sheets/32.png"))).convert("RGBA"))
        table = json.loads(member("emoji.json"))
    rows, pictures = [], []
    for entry in table:
        for kind, one in [("", entry), *(("skin", one) for one in entry.get("skin_variations", {}).values())]:
            top, left = (one[axis] * (SIZE + 2) + 1 for axis in ("sheet_y", "sheet_x"))  # a pixel lies around each
            pictures.append(source[top : top + SIZE, left : left + SIZE])
            rows.append((entry["short_name"], entry["category"], kind))
    blank = [np.zeros_like(pictures[0])] * (-len(pictures) % _COLUMNS)
    sheet = rearrange(np.stack(pictures + blank), "(r k) h w c -> (r h) (k w) c", k=_COLUMNS)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.ascontiguousarray(sheet))
    write_atomic(folder / "sheet.webp", lambda file: image.save(file, "WEBP", lossless=True, quality=100, method=6))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(folder / "emoji.csv", text.getvalue())
    return len(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print("usage: python -m egflow_images.emoji_set emoji-datasource-google-16.0.0.tgz", file=sys.stderr)
        raise SystemExit(2)
    print(f"{build(sys.argv[1], str(_FOLDER)):,} pictures in {_FOLDER}")
