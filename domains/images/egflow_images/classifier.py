"""Small classifiers of pictures, trained here on the training part alone: energies, and a fixed space to compare in.

That of the digits is trained in seconds, the same each time. That of the emoji ships with the package, made by

    python -m egflow_images.classifier

and its features are where pictures in colour are compared, of any set and size: no network is downloaded. One of a
folder's sub-folders is trained when its energy is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from egflow._files import write_atomic
from egflow.report import held_out_split
from egflow_images.digits import LEVELS, digits
from egflow_images.emoji_set import CATEGORIES, emoji
from egflow_images.folder import Pictures

Model = TypeVar("Model", bound=nn.Module)
BATCH = 128
EMOJI_FILE = Path(__file__).parent / "emoji" / "classifier.safetensors"
DIGIT_STEPS, COLOUR_STEPS = 600, 2_400
_SHIFT = 2  # pixels a training picture is moved by, at most


class DigitClassifier(nn.Module):
    """Logits (batch, 10) of pictures (batch, 1, 8, 8). Pixels are clipped to [0, 1], so they are finite everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(4 * x.clamp(0, 1).flatten(1) - 2)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, (batch, 128)."""
        return self.layers[:-1](4 * x.clamp(0, 1).flatten(1) - 2)


class ColourClassifier(nn.Module):
    """Logits (batch, classes) of pictures (batch, 3, h, w), h and w at least 8: four convolutions and their mean.

    Pixels are clipped to [0, 1], so the logits are finite everywhere.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        widths = (width, 2 * width, 3 * width, 4 * width)
        layers, before = [], 3
        for k, now in enumerate(widths):
            stride = 2 if k else 1
            layers += [nn.Conv2d(before, now, 3, stride=stride, padding=1), nn.GroupNorm(8, now), nn.SiLU()]
            before = now
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Tensor:
        """What the last layer sees, (batch, 4·width)."""
        return self.layers(4 * x.clamp(0, 1) - 2).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


@lru_cache(maxsize=1)
def digit_classifier() -> DigitClassifier:
    """The classifier, trained on the training part of the digits only (see `egflow.report.held_out_split`).

    The noise of the dequantisation is drawn anew in each step. The caller's random state is left as it was.
    """
    x, labels = digits()
    kept, _ = held_out_split(len(x))
    values, labels = (x[kept] * LEVELS).floor(), labels[kept]

    def batch() -> tuple[Tensor, Tensor]:
        index = torch.randint(len(values), (BATCH,))
        return (values[index] + torch.rand(BATCH, 1, 8, 8)) / LEVELS, labels[index]

    return _trained(DigitClassifier, batch, DIGIT_STEPS)


@lru_cache(maxsize=1)
def emoji_classifier() -> ColourClassifier:
    """The classifier of the emoji's ten categories that ships, trained on the training part only."""
    model = ColourClassifier(len(CATEGORIES))
    model.load_state_dict(load_file(EMOJI_FILE))
    return model.eval().requires_grad_(False)


def colour_classifier(x: Tensor, labels: Tensor, classes: int) -> ColourClassifier:
    """A classifier of pictures in colour, trained on their training part; the caller's random state is left.

    Training pictures are moved by two pixels at most, and mirrored at random.

    Args:
        x: (N, 3, h, w) in [0, 1].
        labels: (N,) long from 0.
        classes: how many labels there are.
    """
    kept, _ = held_out_split(len(x))
    x, labels = x[kept], labels[kept]
    size = x.shape[-1]

    def batch() -> tuple[Tensor, Tensor]:
        index = torch.randint(len(x), (BATCH,))
        wide = F.pad(x[index], (_SHIFT,) * 4, mode="replicate")
        down, right = torch.randint(2 * _SHIFT + 1, (2,)).tolist()
        moved = wide[:, :, down : down + size, right : right + size]
        return torch.where(torch.rand(BATCH, 1, 1, 1) < 0.5, moved, moved.flip(-1)), labels[index]

    return _trained(lambda: ColourClassifier(classes), batch, COLOUR_STEPS)


def classifier_of_folder(found: Pictures) -> ColourClassifier:
    """The classifier of a folder's sub-folders, kept beside the prepared pictures once it is trained."""
    assert found.label is not None
    file = found.file.with_suffix(".classifier.safetensors")
    if not file.exists():
        print(f"egflow: training a classifier of {', '.join(found.classes)}: some minutes, once", file=sys.stderr)
        model = colour_classifier(found.x(), found.label, len(found.classes))
        write_atomic(file, lambda place: save_file(model.state_dict(), place))
    model = ColourClassifier(len(found.classes))
    model.load_state_dict(load_file(file))
    return model.eval().requires_grad_(False)


def _trained(make: Callable[[], Model], batch: Callable[[], tuple[Tensor, Tensor]], steps: int) -> Model:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        model = make()
        optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(steps):
            pictures, labels = batch()
            loss = F.cross_entropy(model(pictures), labels, label_smoothing=0.02)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval().requires_grad_(False)


if __name__ == "__main__":
    known = emoji()
    made = colour_classifier(known.x, known.category, len(CATEGORIES))
    save_file(made.state_dict(), EMOJI_FILE)
    _, held = held_out_split(len(known.x))
    right = (made(known.x[held]).argmax(1) == known.category[held]).double().mean()
    print(f"{EMOJI_FILE}: {right:.3f} of the {len(held)} held-out emoji are put in their category")
