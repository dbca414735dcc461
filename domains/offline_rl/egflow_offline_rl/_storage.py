"""A policy on disk: weights.safetensors and model.json, its flows in ``flow/`` and the like. Never a pickle.

model.json carries names from `ACTORS` with plain arguments, and the SHA-256 of the weights. Nothing in it is imported
or run.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from egflow._files import write_atomic, write_folder, write_text
from egflow._untrusted import (
    check_arguments,
    check_config,
    check_shapes,
    fits,
    member,
    read_json,
    read_shapes,
    read_tensors,
)
from egflow.flow import Flow
from egflow_offline_rl.environments import foreign_entry, spec_from_json
from egflow_offline_rl.networks import TwinQ
from egflow_offline_rl.policy import ACTORS, Policy
from egflow_offline_rl.replay import Scaling

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

SCHEMA = "egflow-policy/1"
_KINDS = {"method": str, "dataset": str | None, "facts": dict[str, Any], "reference": list[float] | None}
_UNREADABLE = (SafetensorError, LookupError, TypeError, RuntimeError, AttributeError, ArithmeticError, ValueError)
_SCALING = ("shift", "scale", "low", "high")


def save_policy(policy: Policy, folder: str | PathLike[str]) -> None:
    """Write a policy into a folder, whole or not at all; see `Policy.save`."""
    target = Path(folder)
    kind = type(policy.actor).__name__
    if kind not in ACTORS:
        raise ValueError(f"a policy of actor {kind} cannot be saved: these can, {', '.join(ACTORS)}")
    if target.exists() and not (target / "model.json").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not a saved model: choose another folder")
    write_folder(target, lambda fresh: write_policy(policy, fresh))


def write_policy(policy: Policy, folder: Path) -> None:
    """Write the files of a policy into a folder that is there."""
    flows: dict[str, Flow] = getattr(policy.actor, "flows", {})
    for name, flow in flows.items():
        flow.save(folder / name)
    tensors = {f"scaling.{name}": getattr(policy.scaling, name) for name in _SCALING}
    for name, part in (("actor", policy.actor), ("critic", policy.critic)):
        if isinstance(part, nn.Module):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    weights = folder / "weights.safetensors"
    write_atomic(weights, lambda temporary: save_file(tensors, temporary))
    critic = policy.critic.config if isinstance(policy.critic, TwinQ) else None
    model = {
        "schema": SCHEMA,
        "actor": {"name": type(policy.actor).__name__, "config": getattr(policy.actor, "config", {})},
        "flows": list(flows),
        "critic": critic,
        "method": policy.method,
        "environment": None if policy.env_spec is None else json.loads(policy.env_spec.to_json()),
        "dataset": policy.dataset,
        "reference": policy.reference,
        "facts": policy.facts,
        "weights_sha256": _sha256(weights),
    }
    write_text(folder / "model.json", json.dumps(model, indent=2, allow_nan=False) + "\n")


def read_policy(folder: str | PathLike[str]) -> Policy:
    """Read a policy back; see `load_policy`."""
    source = Path(folder)
    if not (source / "model.json").is_file() and (source / "model" / "model.json").is_file():
        source = source / "model"
    description, weights = member(source, "model.json"), member(source, "weights.safetensors")
    for file in (description, weights):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: {folder} holds no whole saved policy")
    model = read_json(description)
    schema = model.get("schema") if isinstance(model, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{description} is no policy of this version: schema {schema!r}, expected {SCHEMA!r}")
    try:
        for key, hint in _KINDS.items():
            if not fits(model[key], hint):
                raise TypeError(f"{key} is {str(model[key])[:80]!r}, which is no {hint}")
        read_shapes(weights)  # its header, before all of it
        if _sha256(weights) != model["weights_sha256"]:
            raise ValueError(f"{weights} is truncated or altered: it does not match model.json")
        policy = _policy(model, read_tensors(weights), source)
        policy.act(np.zeros((1, policy.observation_size), dtype=np.float32), seed=0)  # does it fit itself?
        return policy
    except _UNREADABLE as error:
        words = " ".join(str(error).split())
        raise ValueError(f"{source} does not hold a policy this version can read: {words}") from None


def _policy(model: dict[str, Any], tensors: dict[str, Tensor], source: Path) -> Policy:
    name = model["actor"]["name"]
    if name not in ACTORS:
        raise ValueError(f"{source / 'model.json'}: unknown actor {name!r}; known: {', '.join(ACTORS)}")
    flows = {flow: Flow.load(member(source, flow)) for flow in model["flows"] if str(flow).isidentifier()}
    check_config(model["actor"]["config"], source / "model.json")
    check_config(model["critic"], source / "model.json")
    kind = getattr(importlib.import_module(ACTORS[name]), name)
    check_arguments(kind.__init__, model["actor"]["config"])
    check_arguments(TwinQ.__init__, model["critic"] or {})

    makers: dict[str, Callable[[], Any]] = {
        "actor": lambda: kind(**flows, **model["actor"]["config"]),
        "critic": lambda: None if model["critic"] is None else TwinQ(**model["critic"]),
    }
    parts: dict[str, Any] = {}
    for prefix, make in makers.items():
        # an actor that goes where its flow is cannot stay on the meta device; its counts are checked
        with contextlib.suppress(NotImplementedError), torch.device("meta"):  # which takes no memory
            part = make()
            if isinstance(part, nn.Module):
                check_shapes(part, _under(prefix, tensors), source / "weights.safetensors")
        parts[prefix] = part = make()
        if isinstance(part, nn.Module):
            part.load_state_dict(_under(prefix, tensors))
            part.eval().requires_grad_(False)
    reference = model["reference"]
    return Policy(
        scaling=Scaling(**{name: tensors[f"scaling.{name}"] for name in _SCALING}),
        actor=parts["actor"],
        critic=parts["critic"],
        method=model["method"],
        env_spec=_environment(model["environment"]),
        dataset=model["dataset"],
        reference=None if reference is None else (float(reference[0]), float(reference[1])),
        facts=model["facts"],
    )


def _environment(stored: dict[str, Any] | None) -> EnvSpec | None:
    """The stored spec, if what it would import is gymnasium's own or registered here; else None, with a warning."""
    if stored is None:
        return None
    spec = spec_from_json(json.dumps(stored))
    foreign = foreign_entry(spec)
    if foreign:
        warnings.warn(
            f"the policy's environment {spec.id} would run {foreign}, which is not registered here: it is left out; "
            "import its package first, or name one by env=",
            stacklevel=4,
        )
        return None
    return spec


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{prefix}.")}


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
