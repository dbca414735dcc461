"""Closer looks at the samples, each able to say why it has nothing to say: coverage and beta, memory, density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from egflow._rows import Rows, chunks
from egflow.energy import EnergyValues
from egflow.report._compare import Comparison, Reference
from egflow.report._coverage import Coverage, cells_of, coverage, nearest
from egflow.report._density import LogProb, achieved_beta, no_density
from egflow.report._distance import Halved, halved_distance
from egflow.report._energies import ks_noise, matched_beta, weighted_ks
from egflow.report._given import Given
from egflow.report._memory import Memory, memory
from egflow.report._verdict import NO_ERROR_BAR
from egflow.weights import n_eff, normalise

DENSITY_POINTS = 1000


@dataclass(frozen=True, slots=True)
class Shape:
    """Coverage of the target, and which beta the samples look like."""

    coverage: Coverage | None
    matched: tuple[float, float] | None
    resembles: bool
    missed_at_matched: bool


def inspect_shape(
    held: Reference, pool: Reference, made: Tensor, energies: EnergyValues, seen: Comparison, effective: float
) -> Shape:
    """Cells are laid by the points of `pool` (the training part), their masses are those of the held-out part."""
    if not held.alive or not pool.alive:
        return Shape(None, None, False, False)
    share = normalise(held.log_w)
    centres = cells_of(pool.x, normalise(pool.log_w), n_eff(held.log_w)) if effective >= NO_ERROR_BAR else None
    covered, cells = None, None
    if centres is not None:
        origin = centres.mean(0)
        owner, got = (
            torch.cat([nearest(part.float() - origin, centres - origin) for part in chunks(x)]) for x in (held.x, made)
        )
        covered = coverage(owner, share, got, len(centres))
        cells = (owner, got, len(centres))

    allowed = held.log_s > -math.inf
    e = held.energies.values[allowed]
    matched = matched_beta(e, held.log_s[allowed], *seen.generated) if seen.generated else None
    if matched is None:
        return Shape(covered, None, False, False)
    tilted = torch.softmax(held.log_s - matched[0] * held.energies.values, 0)
    finite = energies.values[~energies.forbidden]
    noise = ks_noise(e, tilted[allowed], len(finite))
    alike = weighted_ks(e, finite, tilted[allowed]) <= noise + 0.01
    missed = cells is not None and coverage(cells[0], tilted, *cells[1:]).mass > 0.005
    return Shape(covered, matched, alike and not missed, missed)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The distance to training points, and the side of the samples' nearest data points."""

    distance: float | None
    nearest: Memory | None


def inspect_memory(
    whole: Reference,
    train: Tensor | None,
    held: Reference,
    made: Tensor,
    distance: Halved | None,
    same: Tensor | None,
    said: dict[str, str],
) -> Remembered:
    """Distance to as many training points, by the same halvings sizes, and the side of the nearest data points."""
    if train is None:
        reason = "the reference is fresh draws: none was trained on"
        said["distance_train"] = said["nearest_in_train"] = reason
        return Remembered(None, None)
    trained = torch.zeros(len(whole.x), dtype=torch.bool)
    trained[train] = True
    near = memory(made, whole.x, trained, same)
    if distance is None:
        said["distance_train"] = "there is no distance to set it beside"
        return Remembered(None, near)
    # like with like, and quick: a fixed random part of the training data as large as the held-out part
    part = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(5))[: len(held.x)]]
    log_w = whole.log_w[part]
    if bool((log_w > -math.inf).any()):
        share = normalise(log_w)
        near_train = halved_distance(whole.x.at(part), share, made, sizes=distance.sizes, most=distance.points)
        if near_train is not None:
            return Remembered(near_train.value, near)
    said["distance_train"] = "too few effective training points in a part as large as the held-out one"
    return Remembered(None, near)


def inspect_density(
    given: Given,
    held: Reference,
    log_q: LogProb | None,
    log_base: LogProb | None,
    said: dict[str, str],
) -> tuple[float, float] | None:
    """Achieved beta and R², or None with the reason noted."""
    data, held_out, condition = given.data, given.held_out, given.condition
    if log_base is None:
        found: tuple[float, float] | str | None = "no base with a density was given to compare with"
    elif log_q is None:
        found = "no density of the generator was given"
    elif given.beta == 0 or not any(given.betas):
        found = "beta is 0: there is no tilt to measure"
    else:
        found = None if given.tokens else no_density(held.x)  # sequences have masses
    if found is None and not held.alive:
        found = "no held-out point carries weight"
    if found is None and log_q is not None and log_base is not None:
        half = held.log_s - 0.5 * given.beta * held.energies.values
        c = None if condition is None else condition[held_out.to(condition.device)]
        x = Rows(data, held_out)
        found = achieved_beta(x, held.energies.values, half, log_q, log_base, c, DENSITY_POINTS)
    if isinstance(found, str):
        said["achieved_beta"] = said["tilt_r2"] = found
        return None
    return found
