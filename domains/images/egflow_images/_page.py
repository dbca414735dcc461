"""The images' part of the HTML report: pictures of the run, and what the slider of beta makes of the same noise."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from egflow._untrusted import member
from egflow.page import Block, Drawn, Picture, Stops
from egflow_images._figure import tile

_ROWS, _COLUMNS = 5, 8
_MANY = 96
_PIXELS = 640  # a sheet's width at least, for a browser would blur what it enlarges
_LARGEST = 256  # pixels of a picture's side


def page(folder: Path, drawn: Drawn | None) -> list[Block]:
    """A sheet for each stop of the slider where the run has a range, and one of its samples.npy."""
    blocks: list[Block] = []
    if drawn is not None and drawn.stops:
        names = [", ".join(f"{beta:.4g}" for beta in betas) for betas in drawn.betas]
        sheets = [
            Picture(
                sheet(samples[: _ROWS * _COLUMNS], _COLUMNS), f"Generated pictures at beta {name}, of the same noise"
            )
            for samples, name in zip(drawn.samples, names, strict=True)
        ]
        words = "Each place has its own noise, the same at every beta: move the slider and follow one."
        blocks.append(Stops("Pictures by beta", words, sheets))
    made = _samples(folder)
    title = "Samples of the run" + (", at the upper end of beta" if blocks else "")
    words = f"The first {len(made)} of samples.npy, as they came."
    return [*blocks, Stops(title, words, [Picture(sheet(made, 12), f"{len(made)} generated pictures")])]


def sheet(pictures: Tensor, columns: int) -> bytes:
    """Pictures (n, c, h, w) side by side, as the bytes of a PNG; those of the digits' shape as ink on paper."""
    ink = tuple(pictures.shape[1:]) == (1, 8, 8)
    tiled = tile(pictures, -(-len(pictures) // columns), columns, 0.15 if ink else 0.85)
    pixels = ((1 - tiled if ink else tiled) * 255).round().byte().numpy()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    times = max(1, -(-_PIXELS // image.width))
    written = io.BytesIO()
    image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST).save(
        written, "PNG", optimize=True
    )
    return written.getvalue()


def _samples(folder: Path) -> Tensor:
    """The first pictures of samples.npy. Raises FileNotFoundError or ValueError."""
    array = np.load(member(folder, "samples.npy"), mmap_mode="r", allow_pickle=False)
    good = array.ndim == 4 and array.shape[1] in (1, 3) and max(array.shape[2:]) <= _LARGEST and len(array)
    if not good or array.dtype != np.float32:
        raise ValueError(f"samples.npy holds no pictures: {array.dtype} of shape {array.shape}")
    return torch.from_numpy(np.array(array[:_MANY])).nan_to_num()
