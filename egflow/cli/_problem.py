"""What a run is about: a domain's data, the energies of all of them, checked, and beta."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from egflow._group import evaluate_together
from egflow._inputs import N_MIN, check_condition, check_data
from egflow.cli._beta import Range, ranges_of
from egflow.cli._compose import Settings
from egflow.cli._energy import Chosen
from egflow.cli._log_p import LogP
from egflow.cli._outcome import say
from egflow.cli._quote import show
from egflow.domain import Data, Domain
from egflow.energy import EnergyValues
from egflow.report import weighted_sum
from egflow.weights import log_weights, per_condition_weights, solve_beta

_SAY_EVERY = 10.0  # seconds
_LOOKED_AT = 1000  # data whose log_p is asked for before anything is trained
_AUTO_ESS = 0.3
_BESIDE = 10  # a tenth of the calls at most are spent on data that only stand beside the base

Beta = float | tuple[float, ...] | tuple[Range, ...]


@dataclass(frozen=True, slots=True)
class Tilting:
    """Data, energies and beta of a run.

    Attributes:
        domain, data, chosen: what was asked for.
        values: the energies of all data, checked, one record an energy.
        beta: the number, solved for where it was auto; or a range for each energy. 0 where it is to be solved for on
            draws of the base.
    """

    domain: Domain
    data: Data
    chosen: Chosen
    values: list[EnergyValues]
    beta: Beta

    @property
    def given_beta(self) -> Beta:
        """As the library takes it: one energy's range by itself."""
        alone = isinstance(self.beta, tuple) and len(self.beta) == 1
        return self.beta[0] if alone and isinstance(self.beta, tuple) else self.beta


def prepare(settings: Settings, domain: Domain, chosen: Chosen, log_p: LogP | None = None) -> Tilting:
    """Load the data and evaluate all their energies.

    Args:
        settings: checked ones.
        domain: whose data are meant.
        chosen: the energies.
        log_p: the log-density of p for rounds, tried on a few data; or None.

    Raises:
        ValueError: for data, energies, a beta or a log_p that cannot be used.
    """
    data = domain.data(settings["data"], settings["seed"])
    x = check_data(data.x, "the domain's data") if data.vocab_size is None else data.x
    if data.vocab_size is None and settings["method"] == "twist":
        raise ValueError(f"method=twist is for tokens, and those of domain={settings['domain']} are none: leave it out")
    if data.draws is not None and settings["max_calls"] is not None:
        x = x[: max(N_MIN, settings["max_calls"] // _BESIDE)]  # what stands beside the base is paid from the same calls
        data = replace(data, x=x)
    condition = check_condition(data.condition, len(x))
    if settings["per_condition"] and condition is None:
        raise ValueError(f"per_condition=true: the data of domain={settings['domain']} have no conditions")
    if settings.get("rounds") is not None:
        if word := getattr(domain, "no_rounds", ""):
            raise ValueError(f"rounds={show(settings['rounds'])}: {word}")
        _check_rounds(settings, data, condition, log_p)
    beside = data.draws is not None  # the data only stand beside the base: what is asked of them is asked of its draws
    progress = _progress(chosen.text)
    values = [
        evaluate_together(one, x, condition, progress=progress, allow_all_forbidden=beside) for one in chosen.energies
    ]
    for one in values:
        if one.failed:
            say(f"warning: the energy failed for {one.failed} of {len(x)} items, now forbidden; first {one.failure}")
    for one, energy in zip(values, chosen.energies, strict=True):
        if not one.forbidden.any() and bool((one.values == one.values[0]).all()):
            hint = getattr(domain, "constant_hint", "")
            say(
                f"warning: energy {energy.describe()} is {float(one.values[0]):g} for all {len(x):,} data: a tilt by "
                f"it changes nothing{'; ' + hint if hint else ''}"
            )
    if beside and settings["beta"] == "auto":
        return Tilting(domain, data, chosen, values, 0.0)
    beta = _beta(settings, values, data.sample_weight)
    if isinstance(beta, float) and beta < 0:
        say(f"warning: beta={beta:g} is negative: high energy is preferred")
    if not beside:
        _check_weights(settings, beta, values, data)
    return Tilting(domain, data, chosen, values, beta)


def _beta(settings: Settings, values: list[EnergyValues], sample_weight: Tensor | None) -> Beta:
    beta = settings["beta"]
    if beta == "auto":
        return solve_beta(values[0], settings["target_ess"] or _AUTO_ESS, sample_weight)
    if settings.get("at_one_beta") and isinstance(beta, list):
        return tuple(map(float, beta))
    return ranges_of(beta) or float(beta)


def _check_weights(settings: Settings, beta: Beta, values: list[EnergyValues], data: Data) -> None:
    """Whether any point is left to weight, before anything is trained."""
    total = weighted_sum(values, [0.0] * len(values)) if len(values) > 1 else values[0]
    log_w = log_weights(total, beta if isinstance(beta, float) else 0.0, data.sample_weight)
    if settings["per_condition"] and data.condition is not None:
        per_condition_weights(log_w, data.condition, data.sample_weight)


def against_data(tilting: Tilting) -> tuple[Tensor, list[EnergyValues] | EnergyValues]:
    """The domain's data as the report takes them beside draws of the base."""
    alone = len(tilting.values) == 1
    return tilting.data.x, tilting.values[0] if alone else tilting.values


def _check_rounds(settings: Settings, data: Data, condition: Tensor | None, log_p: LogP | None) -> None:
    """What rounds would refuse once a base is trained."""
    from egflow._rounds import _DIMENSIONS
    from egflow._rounds_work import checked_log_p

    if condition is not None:
        raise ValueError(f"rounds are for data without conditions, and those of domain={settings['domain']} have them")
    x = data.x
    size = math.prod(x.shape[1:])
    if x.is_floating_point() and size > _DIMENSIONS:
        raise ValueError(
            f"rounds={show(settings['rounds'])} weight by exact likelihoods, to be had up to {_DIMENSIONS} dimensions; "
            f"the data have {size}: leave rounds= out, and take a beta the data support"
        )
    calls = settings["max_calls"]
    if data.draws is None and calls is not None and calls < len(x) + 100:
        raise ValueError(
            f"max_calls={calls}: the data alone take {len(x)} calls, and rounds at least 100 more: raise it, or take "
            "fewer data"
        )
    if log_p is not None:
        try:
            checked_log_p(log_p, x[:_LOOKED_AT])
        except ValueError:
            raise
        except Exception as error:  # foreign code: told in its own words
            raise ValueError(f"log_p={settings['log_p']} failed: {type(error).__name__}: {error}") from error


def _progress(text: str) -> Callable[[int, int], None]:
    """A line every ten seconds of evaluating."""
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > _SAY_EVERY:
            last = time.monotonic()
            say(f"energy {text}: {done} of {total} items")

    return tell
