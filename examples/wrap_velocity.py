"""A velocity that was trained elsewhere as the base of a tilt: flow_matching, torchcfm, plain torch, a diffusion model.

`egflow.Flow` wraps any `torch.nn.Module` whose ``forward(x, t, condition)`` takes points (batch, *event) and times
(batch,), t = 0 at the noise and t = 1 at the data. What other libraries call their networks with differs by a line; the
four adapters below are those lines. Whatever it was trained by, the base is then tilted, sampled and reported on as any
other, and it is not changed: the tilt trains a copy.

    python examples/wrap_velocity.py          # about half a minute on one core
    python examples/wrap_velocity.py 100      # fewer steps, for a look

None of these libraries is needed to run this: each adapter is shown on a small network with the signature of theirs,
trained here by plain flow matching (or, for the last, by plain diffusion) on data whose answer is known.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

import egflow
from egflow import Flow, TrainingOptions

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 1_500
BETA = 0.5

# --- the adapters: copy the one you need -----------------------------------------------------------------------------


class FromFlowMatching(nn.Module):
    """facebookresearch/flow_matching: a model, or a ``ModelWrapper`` around one, is ``forward(x, t, **extras)``.

    Its t runs from noise to data as here. ``extra`` is the name its model knows a condition by, "label" say.
    """

    def __init__(self, model: nn.Module, extra: str | None = None) -> None:
        super().__init__()
        self.model, self.extra = model, extra

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.model(x=x, t=t, **({} if self.extra is None else {self.extra: condition}))


class FromTorchCFM(nn.Module):
    """torchcfm: its U-Nets are ``forward(t, x, y=None)``; its ``MLP(time_varying=True)`` takes the row [x, t].

    Its t runs from noise to data as here. Its matchers with sigma > 0 end at the data blurred by sigma.
    """

    def __init__(self, model: nn.Module, joined: bool = False) -> None:
        super().__init__()
        self.model, self.joined = model, joined

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        if self.joined:
            return self.model(torch.cat([x, t[:, None]], dim=1))
        return self.model(t, x, *_given(condition))


class FromDataToNoise(nn.Module):
    """Any velocity whose t = 0 is at the data: its time and its sign are turned."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        return -self.model(x, 1 - t, *_given(condition))


class FromDiffusion(nn.Module):
    """A network that predicts noise at one of 1,000 steps, as diffusers' ``UNet2DModel(x, step, labels)``.

    The usual linear schedule, beta from 1e-4 to .02, is the path ``vp`` to within .001 at every step, step 0 being
    almost at the data. diffusers returns the noise inside a record, as ``.sample``.
    """

    def __init__(self, model: nn.Module, steps: int = 1_000) -> None:
        super().__init__()
        self.model, self.steps = model, steps

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        found: Any = self.model(x, ((1 - t) * self.steps - 1).clamp(min=0), *_given(condition))
        return found if isinstance(found, Tensor) else found.sample


def _given(condition: Tensor | None) -> tuple[Tensor, ...]:
    return () if condition is None else (condition,)


# --- stand-ins for pretrained networks, with the signatures of their libraries ---------------------------------------

data = torch.randn(5_000, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.5])


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))


class KeywordModel(nn.Module):
    """As a model of flow_matching is called."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()

    def forward(self, x: Tensor, t: Tensor, **extras: Any) -> Tensor:
        return self.net(torch.cat([x, t.reshape(-1, 1)], dim=1))


class TimeFirst(nn.Module):
    """As a U-Net of torchcfm is called."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()

    def forward(self, t: Tensor, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.net(torch.cat([x, t[:, None]], dim=1))


class NoiseModel(nn.Module):
    """As a network of diffusers is called: time is a step from 0 to 999, and the noise is predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        return self.net(torch.cat([x, step[:, None] / 1_000], dim=1))


class Reversed(nn.Module):
    """As a network is called whose author counts t from the data."""

    def __init__(self) -> None:
        super().__init__()
        self.net = layers()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(torch.cat([x, t[:, None]], dim=1))


def regress(model: nn.Module, draw: Any) -> None:
    """Plain regression of what the model says on what ``draw(x_0, x_1, t)`` gives: (what to call it with, target)."""
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    for _ in range(STEPS):
        x_1 = data[torch.randint(len(data), (512,))]
        given, target = draw(torch.randn_like(x_1), x_1, torch.rand(len(x_1)))
        loss = (model(**given) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()


def straight(x_0: Tensor, x_1: Tensor, t: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Flow matching on the straight path, as flow_matching's CondOTProbPath and torchcfm's matcher with sigma 0."""
    return {"x": t[:, None] * x_1 + (1 - t[:, None]) * x_0, "t": t}, x_1 - x_0


def turned(x_0: Tensor, x_1: Tensor, t: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The same with t = 0 at the data."""
    return {"x": (1 - t[:, None]) * x_1 + t[:, None] * x_0, "t": t}, x_0 - x_1


kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1_000, dtype=torch.float64), dim=0).float()  # DDPM's alpha-bar


def noised(x_0: Tensor, x_1: Tensor, t: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Denoising diffusion on the linear schedule (Ho et al. 2020)."""
    step = (t * 1_000).long()
    share = kept[step][:, None]
    return {"x": share.sqrt() * x_1 + (1 - share).sqrt() * x_0, "step": step.float()}, x_0


# --- wrapped, tilted, reported ---------------------------------------------------------------------------------------


def energy(x: Tensor) -> Tensor:
    """(n, 2) -> (n,), low is good. Tilting a normal density by a linear energy moves its mean by −beta·variance."""
    return x.sum(dim=1)


def main() -> None:
    torch.manual_seed(0)
    joined = layers()  # as torchcfm's MLP is called: model([x, t])
    models: list[tuple[str, nn.Module, Any]] = [
        ("flow_matching", KeywordModel(), straight),
        ("torchcfm, U-Net", TimeFirst(), straight),
        ("t = 0 at the data", Reversed(), turned),
        ("diffusion", NoiseModel(), noised),
    ]
    for _, model, draw in models:
        regress(model, draw)
    regress(joined, lambda *drawn: _rows(*straight(*drawn)))
    fm, cfm, reverse, noise = (model for _, model, _ in models)
    bases = {
        "flow_matching": Flow(FromFlowMatching(fm), event_shape=(2,)),
        "torchcfm, U-Net": Flow(FromTorchCFM(cfm), event_shape=(2,)),
        "torchcfm, MLP": Flow(FromTorchCFM(joined, joined=True), event_shape=(2,)),
        "t = 0 at the data": Flow(FromDataToNoise(reverse), event_shape=(2,)),
        "diffusion": Flow(FromDiffusion(noise), event_shape=(2,), path="vp", prediction="noise"),
    }
    quiet = TrainingOptions(progress="quiet")
    print(f"{'':20}the base's mean and std   q's mean: -0.50 -0.12 is exact")
    for name, base in bases.items():
        made = base.sample(5_000)
        guided = egflow.tilt(base, energy, BETA, data=data, steps=STEPS, options=quiet)
        numbers = " ".join(f"{one:5.2f}" for one in [*made.mean(0), *made.std(0)])
        assert guided.report is not None
        moved, verdict = guided.sample(5_000, seed=1).mean(0), guided.report.verdict.partition(":")[0]
        print(f"{name:20}{numbers}   {' '.join(f'{one:5.2f}' for one in moved)}   {verdict}")


def _rows(given: dict[str, Tensor], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    return {"input": torch.cat([given["x"], given["t"][:, None]], dim=1)}, target


if __name__ == "__main__":
    main()
