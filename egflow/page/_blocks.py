"""What a domain may add to the page: pictures that follow the slider, a grid that can be sorted, values with errors."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, shown as an image: whatever an SVG holds is not run.

    Attributes:
        content: of a PNG file, or the text of an SVG.
        alt: what is to be seen, for those who do not see it.

    Raises:
        ValueError: for bytes that are no PNG.
    """

    content: bytes | str
    alt: str

    def __post_init__(self) -> None:
        if isinstance(self.content, bytes) and not self.content.startswith(_PNG):
            raise ValueError("a picture is the bytes of a PNG file, or the text of an SVG")

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address."""
        kind, raw = ("png", self.content) if isinstance(self.content, bytes) else ("svg+xml", self.content.encode())
        return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"


@dataclass(frozen=True, slots=True)
class Card:
    """One picture of a grid, with what it can be sorted by. None and NaN come last."""

    picture: Picture
    caption: str
    values: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grid:
    """Cards in a grid with a button for each of their values; the first value is the one they are sorted by already."""

    title: str
    words: str
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class Stops:
    """One picture for each stop of the page's slider; or a single one, which stands still."""

    title: str
    words: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Values with their standard errors (or None), one below the other on a common axis: (name, value, error)."""

    title: str
    words: str
    rows: Sequence[tuple[str, float, float | None]]


Block = Grid | Stops | Intervals
