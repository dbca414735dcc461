"""The report itself: the keys of report.json as a record, how it is saved, and what it keeps in memory for figures."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from egflow._untrusted import check_fields, read_json

if TYPE_CHECKING:
    from rich.table import Table

    from egflow.energy import EnergyValues

SCHEMA = 1
FILE_NAME = "report.json"
Beta = float | list[float] | list[list[float]]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the figures are drawn from; in memory only.

    Attributes:
        data: (N, *event) on the CPU.
        log_w: (N,) log-weights of the data.
        energies: the data's energies.
        samples: (m, *event) on the CPU.
        sample_energies: the samples' energies.
        held_out: (h,) long, rows of `data` that target, KS, W1 and distance were measured on.
        pad_id: of tokens, the one that fills up a sequence, or None.
        beta: the beta of this evidence; of several energies, one for each (the energies are then their sum).
        per_beta: for a range, the evidence of every beta that was looked at.
    """

    data: Tensor
    log_w: Tensor
    energies: EnergyValues
    samples: Tensor
    sample_energies: EnergyValues
    held_out: Tensor
    pad_id: int | None = None
    beta: float | list[float] | None = None
    per_beta: tuple[Evidence, ...] = ()

    @property
    def tokens(self) -> bool:
        """Whether samples are sequences of tokens."""
        return not self.data.is_floating_point()


@dataclass(frozen=True, slots=True, kw_only=True)
class TiltReport:
    """The honest account of a tilt. Every field but `evidence` is a key of report.json.

    What could not be had is None, with its reason in `notes` under the same name.

    Attributes:
        verdict: the account in words.
        findings: what the verdict says, as codes: ``few_effective``, ``few_samples``, ``ignores_energy``,
            ``wrong_beta``, ``energy``, ``misses``, ``memorised``, ``forbidden``, ``distance``; ``stopped`` where rounds
            did not reach beta, ``not_exact`` where the sampler's settings are not; none for "within noise".
        energy: the energy's name.
        reference: what p means: ``data``, ``base`` (draws of the base flow) or ``density``.
        n_data, n_eff, ess_fraction, max_weight, log_z, log_z_stderr: weights of all data given.
        energy_mean: base, target, target_stderr, generated, generated_stderr; of the held-out part and the samples.
        energy_ks, energy_w1: generated against weighted held-out energies (finite ones).
        each_energy: for several energies, the means, KS and W1 of each; the figures above are of Σ beta_k E_k.
        distance: name, value, floor, n; `expected` and `limit`, what a perfect generator shows here (bootstrap).
        distance_train: the same distance against as many training points, n alike; equal to `value` in the mean for a
            generator that knows no single point. Copies of all training points are distributed as fresh ones up to
            1/√N, so they lower it by about 3 % only: memorising is read from `nearest_in_train`.
        nearest_in_train: share of samples whose nearest data point was trained on, and what chance gives.
        coverage: the part of the target that has (nearly) no samples.
        forbidden: shares of forbidden points among data and samples.
        matched_beta, matched_beta_stderr: the beta whose reweighted data have the samples' mean energy: an inference.
        achieved_beta, tilt_r2: slope and R² of log q − log base on −E at held-out points.
        energy_calls: items evaluated, failed and taken from a cache, data and samples together.
        rounds: beta_reached, base_error (of the target's mean energy, for a fitted base's tail), calls, stopped (a word
            or None) and rounds, a record a round.
        correction: n_eff of the corrected samples' weights, drawn, distance_before and distance_after; or None.
        per_beta: for a range of beta, a block of the same keys for every beta looked at, see `combine`.
        settings: facts of the caller that have no key of their own.
    """

    schema: int = SCHEMA
    domain: str | None = None
    energy: str
    beta: Beta
    method: str | None = None
    seed: int | None = None
    reference: str = "data"
    verdict: str
    findings: list[str]
    n_data: int
    n_held_out: int
    n_samples: int
    n_eff: float
    ess_fraction: float
    max_weight: float
    log_z: float | None
    log_z_stderr: float | None
    energy_mean: dict[str, float | None]
    energy_ks: float | None
    energy_w1: float | None
    each_energy: list[dict[str, Any]] | None = None
    distance: dict[str, Any] | None
    distance_train: float | None
    nearest_in_train: dict[str, Any] | None
    coverage: dict[str, Any] | None
    forbidden: dict[str, float]
    matched_beta: float | None
    matched_beta_stderr: float | None
    achieved_beta: float | None
    tilt_r2: float | None
    nfe: float | None = None
    seconds: dict[str, float | None] = field(default_factory=lambda: {"train": None, "sample": None})
    device: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    energy_calls: dict[str, int] = field(default_factory=dict)
    rounds: dict[str, Any] | None = None
    correction: dict[str, Any] | None = None
    per_beta: list[dict[str, Any]] | None = None
    against_data: dict[str, Any] | None = None
    domain_metrics: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    evidence: Evidence | None = field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The content of report.json: plain JSON types, no NaN or infinity (null, with a note)."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "evidence"}
        notes = dict(self.notes)
        content = {key: _plain(value, key, notes) for key, value in content.items()}
        return content | {"notes": notes}

    def save(self, folder: str | Path) -> Path:
        """Write folder/report.json (made if need be): whole or not at all, strict JSON. Returns the file.

        Raises:
            OSError: where it cannot be written; an older report.json is left as it was.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        handle, name = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)  # mkstemp's files are private; a report is like any other file
            os.replace(name, folder / FILE_NAME)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return folder / FILE_NAME

    @classmethod
    def load(cls, file: str | Path) -> TiltReport:
        """Read a report.json, or the one in a folder; `evidence` is None.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is no report of a schema known here.
        """
        file = Path(file)
        file = file / FILE_NAME if file.is_dir() else file
        try:
            content = read_json(file)
        except ValueError as error:
            raise ValueError(f"{file} is not a report: {error}") from None
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            got = content.get("schema") if isinstance(content, dict) else type(content).__name__
            raise ValueError(f"{file} is not a report of schema {SCHEMA} (got {got!r}); run egflow.evaluate again")
        names = {f.name for f in dataclasses.fields(cls)} - {"evidence"}
        try:
            found = cls(**{key: value for key, value in content.items() if key in names})
            check_fields(found)
            found.table()  # what is inside the fields is right if all of it can be shown
        except (TypeError, LookupError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{file} is not a whole report: {type(error).__name__}: {error}") from None
        return found

    def table(self) -> Table:
        """The report as a rich table for the terminal."""
        from egflow.report._table import table

        return table(self)

    def _repr_html_(self) -> str:
        from egflow.report._markup import as_html

        return as_html(self.table())

    def __str__(self) -> str:
        from egflow.report._table import as_text

        return as_text(self.table())


def _plain(value: Any, key: str, notes: dict[str, str]) -> Any:
    """Any value as JSON types; a number that is not finite becomes None and is noted under the report's key."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v, key, notes) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(v, key, notes) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):  # tensors, arrays and their scalars
        return _plain(value.tolist(), key, notes)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        notes.setdefault(key, f"not a finite number ({value})")
        return None
    return str(value)
