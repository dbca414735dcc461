"""A grid of molecules as a picture, with captions: PNG or SVG, of a fixed size, the same each time."""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from egflow._files import write_atomic
from egflow_molecules._rdkit import quiet

MOST, COLUMNS = 40, 4
WIDTH, HEIGHT, LINE, GAP = 240, 170, 18, 14
"""Pixels: a cell's width, its height without the caption, a line of the caption, what is left below it."""
SIZE, WRAP = 14, 30
"""Of a caption: pixels of its font, signs in a line."""


def ranked(mols: Sequence[Chem.Mol | None], scores: Sequence[float] | None = None, n: int = MOST) -> list[int]:
    """Places of up to n molecules to show: the first ones, or with scores the best (high is good), each only once.

    Invalid molecules and NaN scores are left out; equal scores keep their order.

    Raises:
        ValueError: if nothing is left, for scores of another number, or n that is not from 1 to 40.
    """
    if not 1 <= n <= MOST:
        raise ValueError(f"n is {n}; a grid shows 1 to {MOST} molecules")
    places = [place for place, mol in enumerate(mols) if mol is not None]
    if scores is not None:
        if len(scores) != len(mols):
            raise ValueError(f"there are {len(scores)} scores for {len(mols)} molecules; give one for each")
        places = sorted((p for p in places if not math.isnan(scores[p])), key=lambda p: -scores[p])
    if not places:
        raise ValueError(f"none of the {len(mols)} molecules can be shown: none is valid")
    if scores is None:
        return places[:n]
    chosen: dict[str, int] = {}
    for place in places:
        if len(chosen) < n:
            chosen.setdefault(Chem.MolToSmiles(mols[place]), place)
    return list(chosen.values())


def draw_grid(
    mols: Sequence[Chem.Mol | None], captions: Sequence[str], places: Sequence[int], format: str
) -> str | bytes:
    """The molecules at those places, row by row, four in a row, each above its caption.

    Args:
        mols: molecules to choose from, drawn in fresh 2-D coordinates (a conformer of their own is not looked at).
        captions: one for each of ``mols``, of any number of lines; long lines are wrapped.
        places: which of them, in this order, as `ranked` gives them.
        format: "svg" gives a text, "png" bytes.

    Raises:
        ValueError: for captions of another number, or another format.
    """
    if len(captions) != len(mols):
        raise ValueError(f"there are {len(captions)} captions for {len(mols)} molecules; give one for each")
    if format not in ("svg", "png"):
        raise ValueError(f"format is {format!r}; a grid is drawn as 'svg' or 'png'")
    below = [_wrapped(captions[place]) for place in places]
    columns, height = min(COLUMNS, len(places)), HEIGHT + LINE * max(map(len, below)) + GAP
    corners = [(i % columns * WIDTH, i // columns * height) for i in range(len(places))]
    size = (columns * WIDTH, -(-len(places) // columns) * height, WIDTH, HEIGHT)
    drawer = rdMolDraw2D.MolDraw2DSVG(*size) if format == "svg" else rdMolDraw2D.MolDraw2DCairo(*size)
    options = drawer.drawOptions()
    options.fixedBondLength = 20  # an upper bound, or a small molecule fills its cell
    options.includeMetadata = False  # the molecules themselves, pickled
    drawer.ClearDrawing()
    with quiet():
        for place, corner in zip(places, corners, strict=True):
            drawer.SetOffset(*corner)
            drawer.DrawMolecule(flat(mols[place]))
    drawer.FinishDrawing()
    lines = [
        (x + WIDTH / 2, y + HEIGHT + LINE * (i + 0.5), line)
        for (x, y), caption in zip(corners, below, strict=True)
        for i, line in enumerate(caption)
    ]
    drawn: Any = drawer.GetDrawingText()  # text of the one, bytes of the other
    return _write_svg(drawn, lines) if format == "svg" else _write_png(drawn, lines)


def save_grid(
    file: Path,
    mols: Sequence[Chem.Mol | None],
    captions: Sequence[str],
    scores: Sequence[float] | None = None,
    n: int = MOST,
) -> Path:
    """Write the grid of the first, or with scores of the best, n molecules; the suffix says .png or .svg."""
    drawn = draw_grid(mols, captions, ranked(mols, scores, n), file.suffix[1:])

    def write(temporary: Path) -> None:
        temporary.write_bytes(drawn.encode() if isinstance(drawn, str) else drawn)

    write_atomic(file, write)
    return file


def flat(mol: Chem.Mol | None) -> Chem.Mol:
    """A copy without explicit hydrogens, in 2-D coordinates of its own."""
    copy = Chem.RemoveHs(mol)
    rdDepictor.Compute2DCoords(copy)
    rdDepictor.StraightenDepiction(copy)
    return copy


# RDKit writes text byte by byte, so that a β or a − is lost, and sets lines upon each other: captions are written here


def _wrapped(caption: str) -> list[str]:
    return [part for line in caption.splitlines() for part in textwrap.wrap(line, WRAP, replace_whitespace=False)]


def _font(line: str) -> ImageFont.FreeTypeFont:
    """The font that a line is written in: smaller where its signs are wide."""
    from matplotlib import font_manager

    file = font_manager.findfont("DejaVu Sans")  # matplotlib's own, the same everywhere
    wide = ImageFont.truetype(file, SIZE).getlength(line) / (WIDTH - 10)
    return ImageFont.truetype(file, SIZE / max(wide, 1))


def _write_svg(drawn: str, lines: Sequence[tuple[float, float, str]]) -> str:
    head, end = drawn.replace("encoding='iso-8859-1'", "encoding='utf-8'").rsplit("</svg>", 1)
    style = "font-family='DejaVu Sans, Verdana, sans-serif' text-anchor='middle' dominant-baseline='central'"
    texts = [
        f"<text x='{x:g}' y='{y:g}' font-size='{_font(line).size:.1f}px' {style}>{escape(line)}</text>\n"
        for x, y, line in lines
    ]
    return f"{head}{''.join(texts)}</svg>{end}"


def _write_png(drawn: bytes, lines: Sequence[tuple[float, float, str]]) -> bytes:
    with Image.open(io.BytesIO(drawn)) as opened:
        picture = opened.convert("RGB")
    pen = ImageDraw.Draw(picture)
    for x, y, line in lines:
        pen.text((x, y), line, fill="black", font=_font(line), anchor="mm")
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()
