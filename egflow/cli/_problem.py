"""What a run is about: a domain's data, the energies of all of them, checked, and beta."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from egflow._inputs import check_condition, check_data
from egflow.cli._compose import Settings
from egflow.cli._door import say
from egflow.cli._energy import Chosen
from egflow.domain import Data, Domain
from egflow.energy import EnergyValues, evaluate
from egflow.weights import log_weights, per_condition_weights, solve_beta

_SAY_EVERY = 10.0  # seconds


@dataclass(frozen=True, slots=True)
class Tilting:
    """Data, energy and beta of a run.

    Attributes:
        domain, data, chosen: what was asked for.
        values: the energies of all data, checked.
        beta: the number, solved for where it was auto.
        log_w: (N,) log-weights of the data.
    """

    domain: Domain
    data: Data
    chosen: Chosen
    values: EnergyValues
    beta: float
    log_w: Tensor


def prepare(settings: Settings, domain: Domain, chosen: Chosen) -> Tilting:
    """Load the data and evaluate all their energies.

    Raises:
        ValueError: for data, energies or a beta that cannot be used.
    """
    data = domain.data(settings["data"], settings["seed"])
    x = check_data(data.x, "the domain's data")
    condition = check_condition(data.condition, len(x))
    values = evaluate(chosen.energy, x, condition, progress=_progress(chosen.text))
    if values.failed:
        say(f"warning: the energy failed for {values.failed} of {len(x)} items, now forbidden; first {values.failure}")
    if settings["beta"] == "auto":
        beta = solve_beta(values, settings["target_ess"], data.sample_weight)
    else:
        beta = float(settings["beta"])
    if beta < 0:
        say(f"warning: beta={beta:g} is negative: high energy is preferred")
    log_w = log_weights(values, beta, data.sample_weight)
    if settings["per_condition"]:
        if condition is None:
            raise ValueError(f"per_condition=true: the data of domain={settings['domain']} have no conditions")
        log_w = per_condition_weights(log_w, condition, data.sample_weight)
    return Tilting(domain, data, chosen, values, beta, log_w)


def _progress(text: str) -> Callable[[int, int], None]:
    """A line every ten seconds of evaluating."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SAY_EVERY:
            last = time.monotonic()
            say(f"energy {text}: {done} of {total} items")

    return tell
