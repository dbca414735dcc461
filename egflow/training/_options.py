"""What a run may set about training beyond the arguments of `egflow.fit` and `egflow.tilt`."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

from egflow._kinds import as_number, check_flag, check_kind, shown
from egflow.coupling import Coupling


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Settings of the training loop.

    Attributes:
        learning_rate: Adam's, at the start of its cosine decay to 0.
        ema: decay of the exponential moving average of the weights, which is what the flow keeps; shortened to
            1 − 10/steps in short runs.
        clip: largest norm of the gradient.
        autocast: compute in bfloat16 where that is safe; weights and optimiser stay float32.
        compile: let `torch.compile` make one program of the network's passes, on first use: for a GPU, and large
            networks (a C++ compiler is needed on a CPU); the trained network is saved and used as it was given.
        coupling: "independent", or "ot" for exact minibatch optimal transport.
        accumulate: parts a batch is cut into, one after the other, to save memory; the training is the same.
        folder: a run's folder, for ``checkpoints/<stage>`` and rows of ``metrics.csv``; None writes nothing.
        stage: name of this training within the run.
        resume: go on from the newest whole checkpoint of this stage, if there is one.
        checkpoint_every: steps between checkpoints.
        log_every: steps between rows of the metrics.
        progress: "auto" is a bar on a terminal and plain lines elsewhere; "plain"; "quiet".
        tensorboard: also write TensorBoard events into ``folder/tensorboard`` (extra ``tensorboard``).
    """

    learning_rate: float = 1e-3
    ema: float = 0.999
    clip: float = 1.0
    autocast: bool = False
    compile: bool = False
    coupling: str | Coupling = "independent"
    accumulate: int = 1
    folder: Path | None = None
    stage: str = "train"
    resume: bool = False
    checkpoint_every: int = 1_000
    log_every: int = 100
    progress: Literal["auto", "plain", "quiet"] = "auto"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.folder is not None:  # text is as good
            check_kind("folder", self.folder, (str, PathLike), "a folder, or None")
            object.__setattr__(self, "folder", Path(self.folder))
        for name in ("learning_rate", "clip"):
            value = as_number(name, getattr(self, name))
            if value <= 0:
                raise ValueError(f"{name} must be a positive number, got {value}")
        if not 0.0 <= as_number("ema", self.ema) < 1.0:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")
        for name in ("autocast", "compile", "resume", "tensorboard"):
            check_flag(name, getattr(self, name))
        check_kind("stage", self.stage, str, "the name of this training, text")
        for name in ("accumulate", "checkpoint_every", "log_every"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {shown(value)}")
        if not isinstance(self.progress, str) or self.progress not in ("auto", "plain", "quiet"):
            raise ValueError(f"progress must be auto, plain or quiet, got {shown(self.progress)}")
        if self.tensorboard and self.folder is None:
            raise ValueError("tensorboard=True needs a folder to write into")


def check_options(options: TrainingOptions | None) -> TrainingOptions:
    """The options as given, or the default ones. Raises ValueError for something else."""
    if options is None:
        return TrainingOptions()
    return check_kind("options", options, TrainingOptions, "egflow.TrainingOptions(…), or None")
