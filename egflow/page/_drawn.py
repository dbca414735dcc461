"""What is drawn from a run's flow for the page: the same noise at every stop of the slider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow.energy import EnergyValues


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Samples of a flow at each stop, with data beside them where they are at hand.

    Attributes:
        stops: where each slider stops: one list for each energy of a range, none for a run of one beta.
        betas: of each frame, one number an energy; all combinations of the stops, the last energy's fastest.
        samples: (n, *event) of each frame; row i comes of the same noise in all of them.
        energies: of each frame and energy; empty where no energy was at hand.
        names: of the energies.
        data: (N, *event) samples of p, or None.
        data_energies: of the data, one record an energy.
        log_w: (N,) of each frame, the data's log-weights; empty without data or energies.
        pad_id: of tokens, the one that fills up a sequence.
    """

    stops: Sequence[Sequence[float]]
    betas: Sequence[tuple[float, ...]]
    samples: Sequence[Tensor]
    energies: Sequence[Sequence[EnergyValues]] = ()
    names: Sequence[str] = ()
    data: Tensor | None = None
    data_energies: Sequence[EnergyValues] = ()
    log_w: Sequence[Tensor] = ()
    pad_id: int | None = None

    @property
    def tokens(self) -> bool:
        """Whether samples are sequences of tokens."""
        return not self.samples[0].is_floating_point()

    @property
    def pooled(self) -> Tensor:
        """The samples of all frames."""
        return torch.cat(list(self.samples))
