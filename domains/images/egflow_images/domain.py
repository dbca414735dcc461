"""The images domain: what the command line asks of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from egflow.domain import Data
from egflow.network import UNet, default_network
from egflow_images._figure import grid_figure, nearest_figure
from egflow_images._flow_figure import same_noise_figure, strip_figure, trajectory_figure
from egflow_images.classifier import classifier_of_folder, emoji_classifier
from egflow_images.digits import digits
from egflow_images.emoji_set import CATEGORIES, emoji
from egflow_images.energies import (
    Brightness,
    Colour,
    DigitClass,
    Edges,
    Factor,
    Ink,
    PictureClass,
    PngSize,
    Similar,
    Symmetry,
)
from egflow_images.folder import read_array, read_folder
from egflow_images.metrics import picture_metrics
from egflow_images.shapes import FACTORS, shapes

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.flow import Flow
    from egflow.page import Block, Drawn
    from egflow.report import TiltReport

SETS = ("digits", "emoji", "shapes")


class Images:
    """Pictures (N, c, h, w) in [0, 1], energies on them, and figures to look at.

    Args:
        digit: the digit that the energy ``class`` asks for.
        n_shapes: pictures of the set ``shapes``.
        size: pixels that the pictures of a folder are resized to.
        labels: whether the flow is conditional on what pictures show: the digit, the emoji's category, the sub-folder.
        width: of the network's first resolution, a multiple of 8; None: as wide as the core makes it.
        attention: whether the pixels of its last resolution attend to each other.

    Example:
        >>> Images().data("digits", seed=0).x.shape
        torch.Size([1797, 1, 8, 8])
    """

    energy_options: Mapping[str, Any] = {"on": "image"}
    constant_hint = "pictures are in [0, 1], not in [0, 255]"

    def __init__(
        self,
        digit: int = 3,
        n_shapes: int = 20_000,
        size: int = 32,
        labels: bool = False,
        width: int | None = None,
        attention: bool = False,
    ) -> None:
        for name, value in (("labels", labels), ("attention", attention)):
            if not isinstance(value, bool):
                raise ValueError(f"images.{name} must be true or false, got {value!r}")
        wide = 8 if width is None else width
        for name, value, least in (("n_shapes", n_shapes, 100), ("size", size, 4), ("width", wide, 8)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"images.{name} must be a whole number of at least {least}, got {value!r}")
        if size % 4:
            raise ValueError(f"images.size={size} must be a multiple of 4: the network halves a picture's sides twice")
        if width is not None and width % 8:
            raise ValueError(f"images.width={width} must be a multiple of 8")
        self.n_shapes, self.size, self.labels, self.width, self.attention = n_shapes, size, labels, width, attention
        self._name: str | None = None
        self.energies: Mapping[str, Callable[..., EnergyModel]] = {
            "ink": Ink,
            "brightness": Brightness,
            "symmetry": Symmetry,
            "edges": Edges,
            "colour": Colour,
            "similar": Similar,
            "png_size": PngSize,
            "class": partial(self._class, digit),
            **{name: partial(Factor, name) for name in FACTORS},
        }
        self.decoders: Mapping[str, Callable[[Tensor], Any]] = {"image": picture}

    def data(self, name: str | None, seed: int) -> Data:
        """The pictures of a set, the same for every seed, or of a folder.

        Raises:
            ValueError: for what is neither, naming the nearest set; or a folder that cannot be used.
        """
        name = self._check(name)
        if name == "digits":
            x, digit = digits()
            return Data(x=x, condition=digit if self.labels else None, info={"data": "digits"})
        if name == "shapes":
            if self.labels:
                raise ValueError("images.labels=true: shapes have no labels; digits, emoji and folders of folders do")
            return Data(x=shapes(self.n_shapes)[0], has_density=False, info={"data": "shapes"})
        if name == "emoji":
            category = emoji().category if self.labels else None
            return Data(x=emoji().x, condition=category, has_density=False, info={"data": "emoji"})
        if Path(name).is_file():
            if self.labels:
                raise ValueError("images.labels=true: an array of pictures has no labels; a folder of folders does")
            x, told = read_array(name)
            print(f"{len(x):,} pictures of {x.shape[-1]} pixels{': ' + told if told else ''}")
            return Data(x=x, has_density=False, info={"data": name})
        found = read_folder(name, self.size)
        for file, reason in list(found.broken.items())[:3]:
            print(f"egflow: left out {file}: {reason}", file=sys.stderr)
        kinds = ", ".join(f"{shape} ({count:,})" for shape, count in list(found.shapes.items())[:3])
        print(f"{len(found.values):,} pictures of {len(found.shapes)} kinds: {kinds}, …" if len(found.shapes) > 3 else
              f"{len(found.values):,} pictures: {kinds}")  # fmt: skip
        if self.labels and found.label is None:
            raise ValueError(f"images.labels=true: the pictures of data={name} lie in no sub-folders, or in one alone")
        info = {"data": name, "broken_files": len(found.broken)}
        return Data(x=found.x(), condition=found.label if self.labels else None, has_density=False, info=info)

    def default_energy(self, name: str | None) -> str:
        """``ink`` of the digits, ``brightness`` of arrays, ``colour`` red of what surely has colours."""
        name = self._check(name)
        if name == "digits":
            return "ink"
        return "brightness(target=0.5)" if Path(name).is_file() else "colour(target='red')"

    def network(self, data: Data) -> nn.Module | None:
        """The core's own network for square pictures, an `egflow.network.UNet`, as wide as was asked for."""
        usual = default_network(data.x.shape[1:], data.condition)
        assert isinstance(usual, UNet)
        asked: dict[str, Any] = {} if self.width is None else {"width": self.width}
        return UNet(**{**usual.config, **asked, "attention": self.attention})

    def save_samples(self, samples: Tensor, folder: Path) -> Path:
        """Write ``samples.npy``, float32 of shape (n, c, h, w), as generated: grey values are not clipped."""
        file = folder / "samples.npy"
        np.save(file, samples.detach().cpu().float().numpy())
        return file

    def figures(self, report: TiltReport, folder: Path) -> list[Path]:
        """Draw ``grid.png``, pictures of the data, of the weighted data, and generated ones; and ``nearest.png``."""
        if report.evidence is None:
            return []
        return [grid_figure(report, folder), nearest_figure(report.evidence, folder)]

    def flow_figures(self, flow: Flow, folder: Path, seed: int) -> list[Path]:
        """Draw ``trajectory.png``, and ``same_noise.png`` or, of every beta, ``beta_strip.png``."""
        if flow.condition_shape is not None or (flow.beta_range is not None and len(flow.beta_range) > 1):
            return []
        if flow.beta_range is not None:
            return [strip_figure(flow, folder, seed)]
        both = [same_noise_figure(flow, folder, seed)] if flow.base is not None else []
        return [*both, trajectory_figure(flow, folder, seed)]

    def page(self, report: TiltReport, folder: Path, drawn: Drawn | None) -> list[Block]:
        """Sheets of pictures for the HTML report: of the run's samples, and of a range at each stop of its slider."""
        from egflow_images._page import page

        return page(folder, drawn)

    def metrics(self, report: TiltReport) -> dict[str, Any]:
        """Near copies, the distance, precision and recall of features, and shares: see `egflow_images.metrics`."""
        if report.evidence is None:
            return {}
        return picture_metrics(report.evidence, self._name)

    def _class(self, usual: int, digit: int | None = None, label: str | None = None) -> EnergyModel:
        """The preset ``class``: of the digits by digit, of others by the name of a label."""
        if self._name is None:
            raise ValueError("class is of the data's labels: ask the domain for data(name, seed) first")
        if self._name == "digits":
            if label is not None:
                raise ValueError("class of digits takes digit=, 0 to 9, not label=")
            return DigitClass(usual if digit is None else digit)
        if self._name == "shapes":
            raise ValueError("energy=class: shapes have no labels; hue, radius, x and count are their energies")
        if Path(self._name).is_file():
            raise ValueError("energy=class: an array of pictures has no labels; a folder of folders does")
        if digit is not None:
            raise ValueError("class takes digit= of data=digits alone: give label='a category or sub-folder'")
        if self._name == "emoji":
            return PictureClass(emoji_classifier(), CATEGORIES, label)
        found = read_folder(self._name, self.size)
        if found.label is None:
            raise ValueError(f"energy=class: the pictures of data={self._name} lie in no sub-folders, or in one alone")
        return PictureClass(classifier_of_folder(found), found.classes, label)

    def _check(self, name: str | None) -> str:
        """The set's own name; it is the one that ``class`` is of."""
        name = "shapes" if name is None else name
        array = name.endswith(".npy") and Path(name).is_file()
        if name not in SETS and not Path(name).is_dir() and not array:
            near = get_close_matches(name, SETS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"data={name} is not a set of images, nor a folder or .npy file.{hint} The sets are: {', '.join(SETS)}."
            )
        self._name = name
        return name


def picture(x: Tensor) -> Tensor:
    """The decoder ``image``: (batch, c, h, w) clipped to [0, 1]."""
    return x.clamp(0, 1)
