"""What a report is made of: samples, data and their energies, checked, as points that can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from egflow._kinds import check_flag, shown
from egflow._rows import Rows
from egflow.energy import EnergyModel, EnergyValues, as_energy, evaluate
from egflow.report._compare import Reference
from egflow.report._inputs import LEAST_DATA, check_betas, check_condition, check_one_beta, check_points
from egflow.report._several import weighted_sum
from egflow.report._split import held_out_split
from egflow.report._tokens import same_rows, token_view
from egflow.weights import log_weights, per_condition_weights

Energy = EnergyModel | Callable[..., Tensor]
REFERENCES = ("data", "base", "density")


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Checked input of a report.

    Attributes:
        data, samples: (N, *event) and (m, *event), float or long tokens, as given.
        condition: (N, …) of the data, or None.
        models, betas: the energies, and a beta for each.
        parts, sample_parts: energies of data and samples, one record an energy.
        energies: of the samples, the sum Σ beta_k E_k where there are several.
        beta: the inverse temperature that `energies` and `whole.energies` are tilted by: 1 for a sum.
        whole: all data as points, with energies and weights.
        made: the samples as points.
        as_points: (n, *event) -> (n, dim).
        same: (N,) long, equal for equal rows; None where rows do not repeat.
        train, held_out: rows of the data; train is None where all of them are fresh.
    """

    data: Tensor
    samples: Tensor
    condition: Tensor | None
    models: list[EnergyModel]
    betas: tuple[float, ...]
    parts: list[EnergyValues]
    sample_parts: list[EnergyValues]
    energies: EnergyValues
    beta: float
    whole: Reference
    made: Tensor
    as_points: Callable[[Tensor], Tensor]
    same: Tensor | None
    train: Tensor | None
    held_out: Tensor

    @property
    def several(self) -> bool:
        """Whether there are several energies."""
        return len(self.models) > 1

    @property
    def tokens(self) -> bool:
        """Whether samples are sequences of tokens."""
        return not self.data.is_floating_point()

    @property
    def distance_name(self) -> str:
        """What the distance is called in report.json."""
        return "sliced_w2_tokens" if self.tokens else "sliced_w2"


def read(
    samples: Any,
    energy: Energy | Sequence[Energy],
    beta: Any,
    data: Any,
    *,
    condition: Any,
    sample_condition: Any,
    sample_weight: Tensor | None,
    energies: EnergyValues | Sequence[EnergyValues] | None,
    sample_energies: EnergyValues | Sequence[EnergyValues] | None,
    per_condition: bool,
    reference: str,
    pad_id: int | None,
) -> Given:
    """Check the arguments of `egflow.report`, and evaluate the energies that are not known.

    Raises:
        ValueError, EnergyError: as `egflow.report`.
    """
    listed = list(energy) if isinstance(energy, Sequence) else [energy]
    models = [one if isinstance(one, EnergyModel) else as_energy(one) for one in listed]
    if len(models) == 1 and not isinstance(beta, list | tuple):
        beta = [beta]
    betas = (check_one_beta(beta[0]),) if len(models) == 1 and len(beta) == 1 else check_betas(beta, len(models))
    data, samples = check_points(data, "data", LEAST_DATA, pad_id), check_points(samples, "samples", 1, pad_id)
    if data.is_floating_point() != samples.is_floating_point():
        raise ValueError(f"samples are {samples.dtype} and data {data.dtype}: both are float, or both tokens (long)")
    if data.shape[1:] != samples.shape[1:]:
        raise ValueError(
            f"samples have event shape {tuple(samples.shape[1:])} and data {tuple(data.shape[1:])}: they must be equal"
        )
    if pad_id is not None and data.is_floating_point():
        raise ValueError(f"pad_id={pad_id} is for tokens (long), and data are {data.dtype}: leave it out")
    condition = check_condition(condition, "condition", len(data))
    sample_condition = check_condition(sample_condition, "sample_condition", len(samples))
    if (condition is None) != (sample_condition is None):
        raise ValueError("condition (of the data) and sample_condition must be given both, or neither")
    if check_flag("per_condition", per_condition) and condition is None:
        raise ValueError("per_condition=True needs condition and sample_condition")
    if not isinstance(reference, str) or reference not in REFERENCES:
        raise ValueError(f"reference must be one of {', '.join(REFERENCES)}, got {shown(reference)}")
    known = known_energies(energies, len(models), len(data), "energies", "data")
    known_made = known_energies(sample_energies, len(models), len(samples), "sample_energies", "samples")
    parts = known or [evaluate(model, data, condition) for model in models]
    several = len(models) > 1
    values, scalar = (weighted_sum(parts, betas), 1.0) if several else (parts[0], betas[0])
    log_w = log_weights(values, scalar, sample_weight)  # before the samples' energies: its errors are the user's
    log_s = log_weights(values, 0.0, sample_weight)
    if per_condition and condition is not None:
        log_w, log_s = (per_condition_weights(w, condition.cpu(), sample_weight) for w in (log_w, log_s))
    sample_parts = known_made or [
        evaluate(model, samples, sample_condition, allow_all_forbidden=True) for model in models
    ]
    as_points = _flat if data.is_floating_point() else token_view(data.cpu(), pad_id)
    fresh = reference == "base"
    train, held_out = (None, torch.arange(len(data))) if fresh else held_out_split(len(data))
    return Given(
        data=data,
        samples=samples,
        condition=condition,
        models=models,
        betas=betas,
        parts=parts,
        sample_parts=sample_parts,
        energies=weighted_sum(sample_parts, betas) if several else sample_parts[0],
        beta=scalar,
        whole=Reference(Rows(data.cpu(), prepare=as_points), values, log_w, log_s),
        made=as_points(samples.cpu()),
        as_points=as_points,
        same=None if data.is_floating_point() else same_rows(data.cpu()),
        train=train,
        held_out=held_out,
    )


def _flat(x: Tensor) -> Tensor:
    return x.flatten(1)


def known_energies(
    given: EnergyValues | Sequence[EnergyValues] | None, k: int, n: int, name: str, whose: str
) -> list[EnergyValues] | None:
    """Energies that are known already, one record an energy. Raises ValueError for another number."""
    if given is None:
        return None
    listed = [given] if isinstance(given, EnergyValues) else list(given) if isinstance(given, Sequence) else []
    if not all(isinstance(one, EnergyValues) for one in listed):
        raise ValueError(f"{name} must be EnergyValues, one record for each energy, got {shown(given)}")
    if len(listed) != k:
        raise ValueError(f"{name} must be {k} records, one for each energy, got {len(listed)}")
    if any(len(one) != n for one in listed):
        raise ValueError(f"{name} must be those of the {n} {whose}, got {len(listed[0])}")
    return listed
