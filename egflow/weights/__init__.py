"""From energies to weights, and from weights to draws of x_1. Everything is a log-weight in float64."""

from egflow.weights._draw import DRAWS, Batches, Draw, Drawn, Global, Resample, Softmax, make_draw, resample
from egflow.weights._range import beta_range_batches
from egflow.weights._solve import solve_beta
from egflow.weights._weights import (
    check_beta,
    check_sample_weight,
    ess_fraction,
    log_weights,
    log_z,
    max_weight,
    n_eff,
    normalise,
    per_condition_weights,
)

__all__ = [
    "DRAWS",
    "Batches",
    "Draw",
    "Drawn",
    "Global",
    "Resample",
    "Softmax",
    "beta_range_batches",
    "check_beta",
    "check_sample_weight",
    "ess_fraction",
    "log_weights",
    "log_z",
    "make_draw",
    "max_weight",
    "n_eff",
    "normalise",
    "per_condition_weights",
    "resample",
    "solve_beta",
]
