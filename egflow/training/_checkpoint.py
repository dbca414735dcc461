"""Checkpoints: all state of a training in one safetensors file, written atomically, the last two kept."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from egflow._files import write_atomic


def save_checkpoint(
    folder: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimisers: Mapping[str, torch.optim.Optimizer],
    facts: Any,
) -> Path:
    """Write ``folder/step-<step>.safetensors`` and delete all but the newest two. Raises OSError if it cannot."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in optimisers.items():
        for row, state in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{row}.{key}": value for key, value in state.items()}
    # clones, for safetensors refuses tensors that share memory
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    file = folder / f"step-{step:08d}.safetensors"
    metadata = {"step": str(step), "facts": json.dumps(facts)}
    write_atomic(file, lambda temporary: save_file(tensors, temporary, metadata))
    for old in checkpoints(folder)[:-2]:
        old.unlink()
    return file


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the newest last."""
    return sorted(folder.glob("step-*.safetensors"))


def load_checkpoint(
    folder: Path, modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer]
) -> tuple[int, Any, Path] | None:
    """Restore the newest whole checkpoint into what it was saved from; its (step, facts, file), or None.

    A damaged newest file is passed over with a warning for the one before.
    """
    for file in reversed(checkpoints(folder)):
        try:
            with safe_open(file, framework="pt") as stored:
                metadata = stored.metadata()
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118 (not a dict)
            step, facts = int(metadata["step"]), json.loads(metadata["facts"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            warnings.warn(f"checkpoint {file} is damaged ({error}): trying the one before", stacklevel=3)
            continue
        for name, module in modules.items():
            module.load_state_dict(_under(name, tensors))
        for name, optimiser in optimisers.items():
            state = optimiser.state_dict()
            state["state"] = {}
            for key, value in _under(name, tensors).items():
                row, _, entry = key.partition(".")
                state["state"].setdefault(int(row), {})[entry] = value
            optimiser.load_state_dict(state)
        return step, facts, file
    return None


def _under(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
