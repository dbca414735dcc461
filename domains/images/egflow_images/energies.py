"""Energies of pictures (batch, c, h, w) -> (batch,), each in its own unit: grey values, pixels, bytes, or nats."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from egflow._kinds import as_number, shown
from egflow.energy import EnergyModel
from egflow_images.classifier import digit_classifier
from egflow_images.folder import read_picture
from egflow_images.shapes import FACTORS, Factors, read

_PART = 512  # pictures that a classifier sees at once
COLOURS = {
    "red": (1.0, 0.0, 0.0),
    "orange": (1.0, 0.5, 0.0),
    "yellow": (1.0, 1.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "cyan": (0.0, 1.0, 1.0),
    "blue": (0.0, 0.0, 1.0),
    "magenta": (1.0, 0.0, 1.0),
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
    "black": (0.0, 0.0, 0.0),
}


class Ink(EnergyModel):
    """E(x) = mean value. Of the digits, whose ink is 1 on 0, low is thin, light strokes; of others it is dark.

    Example:
        >>> Ink()(torch.full((1, 1, 8, 8), 0.5))
        tensor([0.5000])
    """

    def describe(self) -> str:
        return "ink"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x.flatten(1).mean(dim=1)


class Brightness(EnergyModel):
    """E(x) = |mean value − target|, over all pixels and channels.

    Args:
        target: in [0, 1].

    Example:
        >>> Brightness(target=0.75)(torch.full((1, 3, 8, 8), 0.5))
        tensor([0.2500])
    """

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = _number("target of brightness", target, 0.0, 1.0)

    def describe(self) -> str:
        return f"brightness(target={self.target:g})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return (x.flatten(1).mean(dim=1) - self.target).abs()


class Symmetry(EnergyModel):
    """E(x) = mean squared difference between the picture and its left–right mirror image. Low energy is symmetric.

    Example:
        >>> Symmetry()(torch.tensor([[[[0.0, 1.0, 1.0, 0.0]]]]))
        tensor([0.])
    """

    def describe(self) -> str:
        return "symmetry"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return (x - x.flip(-1)).square().flatten(1).mean(dim=1)


class Edges(EnergyModel):
    """E(x) = mean absolute difference of neighbouring pixels, across and down. Low energy is smooth.

    Example:
        >>> Edges()(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]]))
        tensor([0.5000])
    """

    def describe(self) -> str:
        return "edges"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        across, down = x.diff(dim=-1).abs(), x.diff(dim=-2).abs()
        return (across.flatten(1).mean(dim=1) + down.flatten(1).mean(dim=1)) / 2


class Colour(EnergyModel):
    """E(x) = distance in RGB between the target and the mean colour of what is coloured.

    A pixel counts in proportion to its saturation, max − min of its channels, so that a white or grey ground does not.
    A picture without colour is white at most: it is held against the target as grey of its mean value.

    Args:
        target: one of `COLOURS`, "#rrggbb", or three numbers in [0, 1].

    Example:
        >>> Colour(target="red")(torch.tensor([1.0, 0.0, 1.0])[None, :, None, None].expand(1, 3, 4, 4))
        tensor([1.])
    """

    target: Tensor

    def __init__(self, target: str | Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("target", torch.tensor(rgb(target)), persistent=False)
        self.name = target if isinstance(target, str) else [round(float(one), 3) for one in target]

    def describe(self) -> str:
        return f"colour(target={self.name!r})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        _check_channels(x, 3, "colour")
        saturation = x.amax(1) - x.amin(1)
        total = saturation.sum((1, 2))
        mean = (x * saturation[:, None]).sum((2, 3)) / total.clamp_min(1e-6)[:, None]
        grey = x.flatten(1).mean(1)[:, None].expand(-1, 3)
        return (torch.where(total[:, None] > 1e-3, mean, grey) - self.target.to(x)).norm(dim=1)


class Similar(EnergyModel):
    """E(x) = root mean squared difference to a given picture, in [0, 1].

    Args:
        file: of a picture; it is laid on white, cut square and resized to the size of x. Digits are 1 on 0, so that a
            file to compare them with is white on black.

    Raises:
        FileNotFoundError, ValueError: for a file that is none, or no picture.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = str(file)
        try:
            read_picture(Path(self.file), 8)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise ValueError(f"file={file} of similar is no picture: {error}") from None

    def describe(self) -> str:
        return f"similar(file={self.file!r})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        wanted = (
            rearrange(torch.from_numpy(read_picture(Path(self.file), x.shape[-1])[0].copy()), "h w c -> c h w").to(x)
            / 255
        )
        if x.shape[1] == 1:
            wanted = wanted.mean(0, keepdim=True)
        return (x - wanted).square().flatten(1).mean(1).sqrt()


class PngSize(EnergyModel):
    """E(x) = bytes of the picture saved as PNG with 256 levels: a black box, without a gradient anywhere.

    Example:
        >>> PngSize()(torch.zeros(1, 3, 8, 8)) < 100
        tensor([True])
    """

    def describe(self) -> str:
        return "png_size"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        levels = rearrange((x.clamp(0, 1) * 255).round().byte().cpu(), "n c h w -> n h w c").numpy()
        sizes = []
        for one in levels:
            stream = io.BytesIO()
            Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one).save(stream, "PNG")
            sizes.append(float(stream.tell()))
        return torch.tensor(sizes, device=x.device)


class Factor(EnergyModel):
    """E(x) = distance of one factor of `egflow_images.shapes`, as it is read from the picture, to its target.

    Args:
        name: "hue" (around its circle, .5 at most), "radius" or "x" (pixels), or "count".
        target: of the factor.
    """

    def __init__(self, name: str, target: float) -> None:
        super().__init__()
        if not isinstance(name, str) or name not in FACTORS:
            raise ValueError(f"factor must be one of {', '.join(FACTORS)}, got {shown(name)}")
        self.name, self.target = name, _number(f"target of {name}", target)

    def describe(self) -> str:
        return f"{self.name}(target={self.target:g})"

    def of(self, factors: Factors) -> Tensor:
        """E of factors that are known, (n,)."""
        gap = getattr(factors, self.name) - self.target
        return ((gap + 0.5) % 1.0 - 0.5).abs() if self.name == "hue" else gap.abs()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        _check_channels(x, 3, self.name)
        return self.of(read(x)).to(x.device)


class DigitClass(EnergyModel):
    """E(x) = −log p(digit | x), in nats, by a small classifier trained on the training part of the digits.

    At beta 1, q ∝ p(x)·p(digit | x) is p(x | digit), if the classifier is right.

    Args:
        digit: 0 to 9.

    Raises:
        ValueError: for anything else.
    """

    def __init__(self, digit: int = 3) -> None:
        super().__init__()
        if isinstance(digit, bool) or not isinstance(digit, int) or not 0 <= digit <= 9:
            raise ValueError(f"digit must be a whole number from 0 to 9, got {digit!r}: write images.digit=3")
        self.digit = digit
        self.classifier = digit_classifier()

    def describe(self) -> str:
        return f"class(digit={self.digit})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return -torch.log_softmax(self.classifier(x), dim=1)[:, self.digit]


class PictureClass(EnergyModel):
    """E(x) = −log p(label | x), in nats, by a classifier of pictures in colour (`egflow_images.classifier`).

    Args:
        classifier: logits of each label.
        labels: their names.
        label: the one that is wanted.

    Raises:
        ValueError: for a label that is none of them, naming them.
    """

    def __init__(self, classifier: nn.Module, labels: Sequence[str], label: str | None) -> None:
        super().__init__()
        if label not in labels:
            near = get_close_matches(str(label), labels, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"class needs a label of the data, got {label!r}.{hint} They are: {', '.join(labels)}")
        self.label, self.place, self.classifier = label, labels.index(label), classifier

    def describe(self) -> str:
        return f"class(label={self.label!r})"

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        _check_channels(x, 3, "class")
        logits = torch.cat([self.classifier(part) for part in x.split(_PART)])
        return -torch.log_softmax(logits, dim=1)[:, self.place]


def rgb(colour: str | Sequence[float]) -> tuple[float, float, float]:
    """A colour by its name, as "#rrggbb", or as three numbers in [0, 1]. Raises ValueError for anything else.

    >>> rgb("#ff8000")
    (1.0, 0.5019607843137255, 0.0)
    """
    if isinstance(colour, str):
        if colour.lower() in COLOURS:
            return COLOURS[colour.lower()]
        if re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
            return red, green, blue
    elif isinstance(colour, Sequence) and len(colour) == 3:
        red, green, blue = (_number("a channel of the colour", one, 0.0, 1.0) for one in colour)
        return red, green, blue
    raise ValueError(f"colour must be one of {', '.join(COLOURS)}, '#rrggbb' or three numbers, got {shown(colour)}")


def _number(what: str, value: float, low: float = -math.inf, high: float = math.inf) -> float:
    value = as_number(what, value)
    if not low <= value <= high:
        raise ValueError(f"{what} must be from {low:g} to {high:g}, got {value:g}")
    return value


def _check_channels(x: Tensor, channels: int, name: str) -> None:
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(
            f"{name} is of pictures (batch, {channels}, h, w), got {tuple(x.shape)}: data in colour needed"
        )
