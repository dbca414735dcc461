"""Generated pictures, as one holds them: Pillow images, and a grid of them in a notebook."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import overload

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from egflow_images._figure import tile

_SHOWN, _COLUMNS, _SIDE = 20, 10, 64  # pictures in a notebook, in a row of it, and pixels of the screen for one

_LINE = 0.85  # grey of what lies between pictures


class Pictures(Sequence[Image.Image]):
    """A sequence of pictures, what ``flow.decode(flow.sample(100))`` gives; shown as a grid in a notebook.

    An item is a Pillow image of 8 bits, values clipped to [0, 1]; a slice is a `Pictures` again.

    Args:
        x: (n, c, h, w) float, grey (c = 1) or red, green and blue (c = 3).

    Attributes:
        x: as given, not clipped.

    Raises:
        ValueError: for another shape.

    Example:
        >>> import torch
        >>> made = Pictures(torch.rand(7, 3, 8, 16))
        >>> made, made[0].size, len(made[2:])
        (Pictures(7 of 3 x 8 x 16), (16, 8), 5)
    """

    def __init__(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"x must have shape (n, c, h, w), c of 1 or 3, got {tuple(x.shape)}")
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> Pictures: ...
    def __getitem__(self, index: int | slice) -> Image.Image | Pictures:
        return (
            Pictures(self.x[index]) if isinstance(index, slice) else _image(rearrange(self.x[index], "c h w -> h w c"))
        )

    def __repr__(self) -> str:
        return f"Pictures({len(self):,} of {' x '.join(str(size) for size in self.x.shape[1:])})"

    def grid(self, n: int = _SHOWN) -> Image.Image:
        """One picture of the first n, ten in a row. Raises ValueError where there is none."""
        shown = self.x[:n]
        if not len(shown):
            raise ValueError("there are no pictures to show")
        columns = min(_COLUMNS, len(shown))
        rows = -(-len(shown) // columns)
        blank = shown.new_full((rows * columns - len(shown), *shown.shape[1:]), _LINE)
        return _image(tile(torch.cat([shown, blank]), rows, columns, _LINE))

    def _repr_html_(self) -> str:
        head = f"<p>{len(self):,} pictures of {' × '.join(str(size) for size in self.x.shape[1:])}"
        if not len(self):
            return f"{head}.</p>"
        drawn, written = self.grid(), io.BytesIO()
        drawn.save(written, "PNG")
        code = base64.b64encode(written.getvalue()).decode()
        shown = min(len(self), _SHOWN)
        wide = min(shown, _COLUMNS) * _SIDE
        style = f"width: {wide}px; max-width: 100%; image-rendering: pixelated"
        return f'{head}; the first {shown}:</p><img style="{style}" src="data:image/png;base64,{code}" alt="{self!r}">'


def _image(values: Tensor) -> Image.Image:
    """(h, w, c) in [0, 1] as a picture of 8 bits."""
    levels = values.detach().cpu().float().clamp(0, 1).mul(255).round().byte().numpy()
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)
