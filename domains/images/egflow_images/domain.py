"""The images domain: what the command line asks of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from egflow.domain import Data
from egflow_images._figure import grid_figure, nearest_figure
from egflow_images._flow_figure import same_noise_figure, strip_figure, trajectory_figure
from egflow_images.classifier import digit_classifier
from egflow_images.digits import digits
from egflow_images.emoji_set import emoji
from egflow_images.energies import Brightness, Colour, DigitClass, Edges, Factor, Ink, PngSize, Similar, Symmetry
from egflow_images.folder import read_folder
from egflow_images.shapes import FACTORS, read, shapes

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.flow import Flow
    from egflow.report import Evidence, TiltReport

SETS = ("digits", "emoji", "shapes")
_OWN = 4_000  # training pictures whose distances from each other say what is near
_BINS = 12  # of a factor


class Images:
    """Pictures (N, c, h, w) in [0, 1], energies on them, and a grid to look at.

    Args:
        digit: the digit that the energy ``class`` asks for.
        n_shapes: pictures of the set ``shapes``.
        size: pixels that the pictures of a folder are resized to.
        labels: whether the flow is conditional on what pictures show: the digit, the emoji's category, the sub-folder.

    Example:
        >>> Images().data("digits", seed=0).x.shape
        torch.Size([1797, 1, 8, 8])
    """

    def __init__(self, digit: int = 3, n_shapes: int = 20_000, size: int = 32, labels: bool = False) -> None:
        if not isinstance(labels, bool):
            raise ValueError(f"images.labels must be true or false, got {labels!r}")
        for name, value, least in (("n_shapes", n_shapes, 100), ("size", size, 4)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"images.{name} must be a whole number of at least {least}, got {value!r}")
        if size % 4:
            raise ValueError(f"images.size={size} must be a multiple of 4: the network halves a picture's sides twice")
        self.n_shapes, self.size, self.labels = n_shapes, size, labels
        self._shapes = False
        self.energies: Mapping[str, Callable[..., EnergyModel]] = {
            "ink": Ink,
            "brightness": Brightness,
            "symmetry": Symmetry,
            "edges": Edges,
            "colour": Colour,
            "similar": Similar,
            "png_size": PngSize,
            "class": partial(DigitClass, digit=digit),
            **{name: partial(Factor, name) for name in FACTORS},
        }
        self.decoders: Mapping[str, Callable[[Tensor], Any]] = {"image": picture}

    def data(self, name: str | None, seed: int) -> Data:
        """The pictures of a set, the same for every seed, or of a folder.

        Raises:
            ValueError: for what is neither, naming the nearest set; or a folder that cannot be used.
        """
        self._check(name)
        self._shapes = name == "shapes"
        if name in (None, "digits"):
            x, digit = digits()
            return Data(x=x, condition=digit if self.labels else None, info={"data": "digits"})
        if name == "shapes":
            if self.labels:
                raise ValueError("images.labels=true: shapes have no labels; digits, emoji and folders of folders do")
            return Data(x=shapes(self.n_shapes)[0], has_density=False, info={"data": "shapes"})
        if name == "emoji":
            category = emoji().category if self.labels else None
            return Data(x=emoji().x, condition=category, has_density=False, info={"data": "emoji"})
        found = read_folder(str(name), self.size)
        for file, reason in list(found.broken.items())[:3]:
            print(f"egflow: left out {file}: {reason}", file=sys.stderr)
        kinds = ", ".join(f"{shape} ({count:,})" for shape, count in list(found.shapes.items())[:3])
        print(f"{len(found.values):,} pictures of {len(found.shapes)} kinds: {kinds}, …" if len(found.shapes) > 3 else
              f"{len(found.values):,} pictures: {kinds}")  # fmt: skip
        if self.labels and found.label is None:
            raise ValueError(f"images.labels=true: the pictures of data={name} lie in no sub-folders, or in one alone")
        info = {"data": str(name), "broken_files": len(found.broken)}
        return Data(x=found.x(), condition=found.label if self.labels else None, has_density=False, info=info)

    def default_energy(self, name: str | None) -> str:
        """``ink`` of the digits, ``colour`` red of what has colours."""
        self._check(name)
        return "ink" if name in (None, "digits") else "colour(target='red')"

    def network(self, data: Data) -> nn.Module | None:
        """None: the core's own network for square pictures, a small `egflow.network.UNet`."""
        return None

    def save_samples(self, samples: Tensor, folder: Path) -> Path:
        """Write ``samples.npy``, float32 of shape (n, c, h, w), as generated: grey values are not clipped."""
        file = folder / "samples.npy"
        np.save(file, samples.detach().cpu().float().numpy())
        return file

    def figures(self, report: TiltReport, folder: Path) -> list[Path]:
        """Draw ``grid.png``, pictures of the data, of the weighted data, and generated ones; and ``nearest.png``."""
        if report.evidence is None:
            return []
        return [grid_figure(report.evidence, folder), nearest_figure(report.evidence, folder)]

    def flow_figures(self, flow: Flow, folder: Path, seed: int) -> list[Path]:
        """Draw ``trajectory.png``, and ``same_noise.png`` or, of every beta, ``beta_strip.png``."""
        if flow.condition_shape is not None or (flow.beta_range is not None and len(flow.beta_range) > 1):
            return []
        if flow.beta_range is not None:
            return [strip_figure(flow, folder, seed)]
        both = [same_noise_figure(flow, folder, seed)] if flow.base is not None else []
        return [*both, trajectory_figure(flow, folder, seed)]

    def metrics(self, report: TiltReport) -> dict[str, Any]:
        """Near copies of training pictures, and the share of each digit, weighted data against generated.

        ``near_copy_share``: share of generated pictures nearer to a training picture than 1 % of the training pictures
        are to one another; ``near_copy_share_held_out``: the same of the held-out pictures, which cannot be copies.
        """
        evidence = report.evidence
        if evidence is None:
            return {}
        held_out = torch.zeros(len(evidence.data), dtype=torch.bool)
        held_out[evidence.held_out] = True
        train = evidence.data[~held_out]
        found: dict[str, Any] = {
            "near_copy_share": near_copy_share(evidence.samples, train),
            "near_copy_share_held_out": near_copy_share(evidence.data[held_out], train),
        }
        if self._shapes:
            return found | factor_metrics(evidence)
        if tuple(evidence.data.shape[1:]) != (1, 8, 8):
            return found
        classify = digit_classifier()
        target = torch.zeros(10, dtype=torch.float64).index_add(
            0, classify(evidence.data).argmax(dim=1), torch.softmax(evidence.log_w, dim=0)
        )
        generated = torch.bincount(classify(evidence.samples).argmax(dim=1), minlength=10).double()
        generated /= len(evidence.samples)
        for digit in range(10):
            found[f"digit_{digit}_target"] = round(float(target[digit]), 4)
            found[f"digit_{digit}_generated"] = round(float(generated[digit]), 4)
        return found

    @staticmethod
    def _check(name: str | None) -> None:
        if name is None or name in SETS or Path(name).is_dir():
            return
        near = get_close_matches(name, SETS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"data={name} is not a set of images, nor a folder.{hint} The sets are: {', '.join(SETS)}.")


def picture(x: Tensor) -> Tensor:
    """The decoder ``image``: (batch, c, h, w) clipped to [0, 1]."""
    return x.clamp(0, 1)


def near_copy_share(samples: Tensor, train: Tensor) -> float:
    """Share of samples nearer to a training picture than the 1st percentile of the training's own nearest distances.

    Those distances are of the first 4,000 training pictures from one another.

    Args:
        samples: (n, c, h, w).
        train: (N, c, h, w), N ≥ 2.

    Returns:
        A share in [0, 1]. About .01 is what fresh pictures would show; 1 is a generator that copies.
    """
    some = train[:_OWN].flatten(1)
    own = torch.cdist(some, some).fill_diagonal_(torch.inf).min(dim=1).values
    nearest = torch.cat(
        [torch.cdist(part, train.flatten(1)).min(dim=1).values for part in samples.flatten(1).split(1024)]
    )
    return round(float((nearest < own.quantile(0.01)).double().mean()), 4)


def factor_metrics(evidence: Evidence) -> dict[str, Any]:
    """Total variation of each factor, generated against the weighted data, in 12 bins; hue's bins go round.

    Pictures are read alike on both sides (`egflow_images.shapes.read`). ``<factor>_tv_floor`` is what as many exact
    draws would show in the mean, √(2 / πn) · Σ √(p(1 − p)) / 2.
    """
    data, made = read(evidence.data), read(evidence.samples)
    weight = torch.softmax(evidence.log_w, 0)
    found: dict[str, Any] = {}
    for name in FACTORS:
        known, new = getattr(data, name).double(), getattr(made, name).double()
        if name == "count":
            edges = torch.arange(-0.5, max(float(known.max()), float(new.max())) + 1.0, dtype=torch.float64)
        else:
            edges = torch.linspace(float(known.min()), float(known.max()) + 1e-9, _BINS + 1, dtype=torch.float64)
        places = [torch.bucketize(values, edges[1:-1], right=True) for values in (known, new)]
        target = torch.zeros(len(edges) - 1, dtype=torch.float64).index_add_(0, places[0], weight)
        share = torch.bincount(places[1], minlength=len(target)).double() / len(new)
        floor = (target * (1 - target)).sqrt().sum() * (2 / (torch.pi * len(new))) ** 0.5 / 2
        found[f"{name}_tv"] = round(float((share - target).abs().sum() / 2), 4)
        found[f"{name}_tv_floor"] = round(float(floor), 4)
    return found
