"""Each round's proposals on disk, so that a run that was stopped asks no energy twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from egflow._files import write_atomic
from egflow.energy import EnergyValues
from egflow.rounds._proposals import Proposals

_COUNTS = ("calls", "failed", "cached", "failure")


@dataclass(frozen=True, slots=True)
class Store:
    """Files ``round-01.safetensors`` … in a folder; no folder keeps nothing.

    Attributes:
        folder: or None.
        facts: what the rounds are a function of; files of other facts are refused.
        resume: whether files that are there are taken up.
    """

    folder: Path | None
    facts: dict[str, Any]
    resume: bool

    def file(self, number: int) -> Path | None:
        """The file of a round."""
        return None if self.folder is None else self.folder / f"round-{number:02d}.safetensors"

    def load(self, number: int) -> Proposals | None:
        """A round's proposals as they were saved, or None where there are none (a damaged file counts as none).

        Raises:
            ValueError: if there are some and resume is False, or they were made with other facts.
        """
        file = self.file(number)
        if file is None or not file.exists():
            return None
        if not self.resume:
            raise ValueError(f"{file.parent} holds rounds of another run: pass resume=True, or another folder")
        try:
            with safe_open(file, framework="pt") as stored:
                metadata = stored.metadata()
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
            facts, counts = json.loads(metadata["facts"]), json.loads(metadata["counts"])
            energies = EnergyValues(tensors["energy"], tensors["forbidden"], **counts)
            found = Proposals(tensors["x"], energies, tensors["log_ratio"], tensors.get("log_halves"))
            parts = (found.x, energies.values, energies.forbidden, found.log_ratio)
            if len({len(part) for part in parts}) > 1 or bool(torch.cat(parts[1::2]).isnan().any()):
                return None
            if not (isinstance(facts, dict) and energies.forbidden.dtype == torch.bool):
                return None
        except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError):
            return None
        changed = sorted(key for key in {*facts, *self.facts} if facts.get(key) != self.facts.get(key))
        if changed:
            raise ValueError(f"resume: the rounds in {file.parent} were made with another {', '.join(changed)}")
        return found

    def save(self, number: int, proposals: Proposals) -> None:
        """Write a round's file, whole or not at all. Raises OSError if it cannot be written."""
        file = self.file(number)
        if file is None:
            return
        tensors = {
            "x": proposals.x,
            "energy": proposals.energies.values,
            "forbidden": proposals.energies.forbidden,
            "log_ratio": proposals.log_ratio,
        }
        if proposals.log_halves is not None:
            tensors["log_halves"] = proposals.log_halves
        tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        counts = {key: getattr(proposals.energies, key) for key in _COUNTS}
        metadata = {"facts": json.dumps(self.facts), "counts": json.dumps(counts)}
        write_atomic(file, lambda temporary: save_file(tensors, temporary, metadata))
