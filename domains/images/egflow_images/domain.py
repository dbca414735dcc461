"""The images domain: what the command line asks of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from egflow.domain import Data
from egflow_images._figure import grid_figure
from egflow_images.classifier import digit_classifier
from egflow_images.digits import digits
from egflow_images.energies import DigitClass, Ink, Symmetry

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.report import TiltReport

SETS = ("digits",)


class Images:
    """Pictures (N, c, h, w) in [0, 1), energies on them, and a grid to look at.

    Args:
        digit: the digit that the energy ``class`` asks for.

    Example:
        >>> Images().data("digits", seed=0).x.shape
        torch.Size([1797, 1, 8, 8])
    """

    def __init__(self, digit: int = 3) -> None:
        self.energies: Mapping[str, Callable[..., EnergyModel]] = {
            "ink": Ink,
            "symmetry": Symmetry,
            "class": partial(DigitClass, digit=digit),
        }
        self.decoders: Mapping[str, Callable[[Tensor], Any]] = {"image": picture}

    def data(self, name: str | None, seed: int) -> Data:
        """The pictures of the set, the same for every seed. Raises ValueError that names the nearest set."""
        self._check(name)
        x, _ = digits()
        return Data(x=x, info={"data": "digits"})

    def default_energy(self, name: str | None) -> str:
        """``ink``, for every set."""
        self._check(name)
        return "ink"

    def network(self, data: Data) -> nn.Module | None:
        """None: the core's own network for square pictures, a small `egflow.network.UNet`."""
        return None

    def save_samples(self, samples: Tensor, folder: Path) -> Path:
        """Write ``samples.npy``, float32 of shape (n, c, h, w), as generated: grey values are not clipped."""
        file = folder / "samples.npy"
        np.save(file, samples.detach().cpu().float().numpy())
        return file

    def figures(self, report: TiltReport, folder: Path) -> list[Path]:
        """Draw ``grid.png``: pictures of the data, of the weighted data, and generated ones."""
        return [grid_figure(report.evidence, folder)] if report.evidence is not None else []

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
        if name is not None and name not in SETS:
            near = get_close_matches(name, SETS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"data={name} is not a set of images.{hint} There are: {', '.join(SETS)}.")


def picture(x: Tensor) -> Tensor:
    """The decoder ``image``: (batch, c, h, w) clipped to [0, 1]."""
    return x.clamp(0, 1)


def near_copy_share(samples: Tensor, train: Tensor) -> float:
    """Share of samples nearer to a training picture than the 1st percentile of the training's own nearest distances.

    Args:
        samples: (n, c, h, w).
        train: (N, c, h, w), N ≥ 2.

    Returns:
        A share in [0, 1]. About .01 is what fresh pictures would show; 1 is a generator that copies.
    """
    own = torch.cdist(train.flatten(1), train.flatten(1)).fill_diagonal_(torch.inf).min(dim=1).values
    nearest = torch.cat(
        [torch.cdist(part, train.flatten(1)).min(dim=1).values for part in samples.flatten(1).split(4096)]
    )
    return round(float((nearest < own.quantile(0.01)).double().mean()), 4)
