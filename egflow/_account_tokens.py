"""What the account of tokens says beside the others: exactness of the samples, likelihood, what a correction does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from egflow._correct import correction_log_weights
from egflow.energy import EnergyError, EnergyModel, EnergyValues
from egflow.flow import TokenFlow
from egflow.solver import Solution, TokenSolution
from egflow.weights import n_eff, normalise


def token_notes(flow: TokenFlow, solution: Solution) -> dict[str, str]:
    """Words on samples that are not exact, and on likelihoods that are none or estimates."""
    notes: dict[str, str] = {}
    if isinstance(solution, TokenSolution) and not solution.exact:
        notes["samples"] = f"the solver draws with {solution.word}"
    if flow.path.likelihood == "none":
        notes["achieved_beta"] = notes["tilt_r2"] = f"path {flow.path.name!r} has no likelihood"
    elif flow.path.likelihood == "estimate":
        notes["achieved_beta"] = f"from estimates of the likelihood: path {flow.path.name!r}, random orders"
    return notes


def token_correction(
    flow: TokenFlow, models: Sequence[EnergyModel], beta: float | tuple[float, ...], solution: Solution
) -> tuple[dict[str, Any], EnergyValues] | None:
    """How far the flow's own samples are from the base's tilt by exact weights, which a correction takes out.

    Returns:
        The weights, from which `egflow.report` tells distances before and after, n_eff, ess_fraction, and the mean
        energy before and after; with the samples' energies (of several, the values of Σ beta·E). None where there is
        nothing to correct by, or nothing is left.
    """
    if flow.path.likelihood != "exact" or flow.base is None or flow.condition_shape is not None:
        return None
    several = isinstance(beta, tuple)
    try:
        log_w, values = correction_log_weights(
            solution.y, flow, flow.base, list(models) if several else models[0], list(beta) if several else beta
        )
    except EnergyError:
        raise
    except ValueError:  # every sample is forbidden: the report says so itself
        return None
    share, left = normalise(log_w), n_eff(log_w)
    allowed = values.values[~values.forbidden]
    return {
        "log_w": log_w,
        "n_eff": left,
        "ess_fraction": left / len(log_w),
        "energy_mean": {
            "generated": float(allowed.mean()),
            "corrected": float(share @ values.values.masked_fill(values.forbidden, 0.0)),
        },
    }, values
