"""The training loop: short, on plain PyTorch, every draw a function of (seed, step, index), resumable."""

from egflow.training._draws import StepDraws, mix
from egflow.training._options import TrainingOptions
from egflow.training._problem import Batch, Population, Problem
from egflow.training._train import Trained, TrainingError, check_count, train

__all__ = [
    "Batch",
    "Population",
    "Problem",
    "StepDraws",
    "Trained",
    "TrainingError",
    "TrainingOptions",
    "check_count",
    "mix",
    "train",
]
