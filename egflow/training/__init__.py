"""The training loop: short, on plain PyTorch, every draw a function of (seed, step, index), resumable."""

from egflow.training._checkpoint import checkpoints, load_checkpoint, save_checkpoint
from egflow.training._draws import StepDraws, mix
from egflow.training._interrupt import DeferredInterrupts
from egflow.training._log_variance import LogVariance
from egflow.training._metrics import Metrics, ProgressLine
from egflow.training._options import TrainingOptions, check_options
from egflow.training._problem import Batch, FlowMatching, Population, Problem, Splits
from egflow.training._token_problem import TokenBatch, TokenMatching, row_log_prob
from egflow.training._train import Trained, TrainingError, check_count, train
from egflow.training._twist_problem import HiddenStates, TwistMatching

__all__ = [
    "Batch",
    "DeferredInterrupts",
    "FlowMatching",
    "HiddenStates",
    "LogVariance",
    "Metrics",
    "Population",
    "Problem",
    "ProgressLine",
    "Splits",
    "StepDraws",
    "TokenBatch",
    "TokenMatching",
    "Trained",
    "TrainingError",
    "TrainingOptions",
    "TwistMatching",
    "check_count",
    "check_options",
    "checkpoints",
    "load_checkpoint",
    "mix",
    "row_log_prob",
    "save_checkpoint",
    "train",
]
