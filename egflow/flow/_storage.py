"""A flow on disk: weights.safetensors + model.json, the report beside them, the base in ``base/``. Never a pickle.

model.json carries names from `egflow.network.NETWORKS` and `egflow.path.PATHS` with plain parameters, and the SHA-256
of the weights. Nothing in it is imported or run; what it asks for is held against the weights before memory is taken.
"""

from __future__ import annotations

import hashlib
import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from egflow._files import write_atomic, write_folder, write_text
from egflow._untrusted import (
    MOST_COUNT,
    check_arguments,
    check_config,
    check_shapes,
    finite_shape,
    member,
    read_json,
    read_shapes,
    read_tensors,
)
from egflow.network import NETWORKS, AtBeta
from egflow.path import PATHS, TOKEN_PATHS
from egflow.solver import Tuned

if TYPE_CHECKING:
    from egflow.flow._flow import Flow

SCHEMA = "egflow-model/1"
_MOST_BASES = 32  # a tilt of a tilt has a base with a base; a link to itself ends


def save_flow(flow: Flow, folder: str | PathLike[str], card: str | None = None) -> None:
    """Write the flow, and a model card where there is one, into a new folder beside the target, then rename it."""
    target = Path(folder)
    if target.exists() and not (target / "model.json").is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not a saved model: choose another folder")

    def write(fresh: Path) -> None:
        _write(flow, fresh)
        if card is not None:
            write_text(fresh / "README.md", card)

    write_folder(target, write)


def _write(flow: Flow, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    at = flow.network if isinstance(flow.network, AtBeta) else None  # one beta of a flow of all
    network = flow.network if at is None else at.network
    name = next((key for key, kind in NETWORKS.items() if type(network) is kind), None)
    tensors = {f"network.{key}": value for key, value in flow.network.state_dict().items()}
    tensors |= {"shift": flow.shift, "scale": flow.scale}
    tensors = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    weights = folder / "weights.safetensors"
    write_atomic(weights, lambda temporary: save_file(tensors, temporary))
    model: dict[str, Any] = {
        "schema": SCHEMA,
        "network": {
            "name": name,
            "config": network.config if name else None,
            "at": None if at is None else at.beta.tolist(),
        },
        "event_shape": list(flow.event_shape),
        "path": flow.path.name,
        "prediction": flow.prediction,
        "condition_shape": None if flow.condition_shape is None else list(flow.condition_shape),
        "num_classes": flow.num_classes,
        "beta": flow.beta,
        "beta_range": flow.beta_range,
        "tuned": None if flow.tuned is None else flow.tuned.to_dict(),
        "tokens": _tokens(flow),
        "domain": flow.domain,
        "weights_sha256": _sha256(weights),
    }
    write_text(folder / "model.json", json.dumps(model, indent=2, allow_nan=False) + "\n")
    if flow.report is not None:
        flow.report.save(folder)
    if flow.base is not None:
        _write(flow.base, folder / "base")


def load_flow(folder: str | PathLike[str], network: nn.Module | None = None) -> Flow:
    """Read a flow back; see `Flow.load`."""
    return _read(Path(folder), network, 0)


def _read(source: Path, own: nn.Module | None, depth: int) -> Flow:
    from egflow.report import TiltReport

    description, weights = member(source, "model.json"), member(source, "weights.safetensors")
    for file in (description, weights):
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: {source} is not a whole saved model")
    model = read_json(description)
    schema = model.get("schema") if isinstance(model, dict) else None
    if schema is None:
        raise ValueError(f"{description} is truncated or altered: it has no schema")
    if schema != SCHEMA:
        raise ValueError(f"{description} has schema {schema!r}, this version reads {SCHEMA!r}")
    try:
        model["event_shape"] = finite_shape(model["event_shape"], description)
        shapes = read_shapes(weights)
        module = _network(model["network"], own, _of_network(shapes), description)
        if extra := [key for key in shapes if not key.startswith("network.") and key not in ("shift", "scale")]:
            raise ValueError(f"{weights} holds {extra[0]!r}, which no model does")
        if _sha256(weights) != model.get("weights_sha256"):  # its size is the network's, known before it is read
            raise ValueError(f"{weights} is truncated or altered: its checksum is not the one in model.json")
        tensors = read_tensors(weights)
        module.load_state_dict(_of_network(tensors))
        module.to(tensors["shift"].dtype).eval()
        flow = _flow(model, module, tensors)
        _check_kinds(model)
        flow.condition_shape = None if model["condition_shape"] is None else tuple(model["condition_shape"])
        flow.domain = model.get("domain")
        flow.num_classes, beta, ranges = model["num_classes"], model["beta"], model.get("beta_range")
        flow.beta = tuple(beta) if isinstance(beta, list) else beta
        flow.beta_range = None if ranges is None else tuple((float(low), float(high)) for low, high in ranges)
        flow.tuned = None if model["tuned"] is None else Tuned.from_dict(model["tuned"])
        if own is None:
            _evaluate_once(flow)
    except (
        SafetensorError,
        LookupError,
        TypeError,
        RuntimeError,
        AttributeError,
        ArithmeticError,
        ValueError,
    ) as error:
        raise ValueError(f"{source} does not hold a model this version can read: {error}") from None
    report, base = member(source, "report.json"), member(source, "base")
    if report.is_file():
        flow.report = TiltReport.load(report)
    if base.is_dir():
        if depth == _MOST_BASES:
            raise ValueError(f"{base}: more than {_MOST_BASES} bases in each other")
        flow.base = _read(base, own, depth + 1)
    return flow


def _evaluate_once(flow: Flow) -> None:
    """So that a description that does not fit its network is told here, and not when samples are drawn."""
    from egflow.flow._token_flow import TokenFlow

    labels = None if flow.num_classes is None else torch.long
    c = None if flow.condition_shape is None else torch.zeros(1, *flow.condition_shape, dtype=labels)
    fixed = flow.at(None if flow.beta_range is None else [low for low, _ in flow.beta_range])
    with torch.no_grad():
        if isinstance(fixed, TokenFlow):
            fixed.solve(1, c)
        else:
            fixed.velocity(fixed.shift.expand(1, *fixed.event_shape), 0.5, c)


def _of_network(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key[8:]: value for key, value in tensors.items() if key.startswith("network.")}


def _check_kinds(model: dict[str, Any]) -> None:
    """Whether what a flow keeps as it is read is of the kind it must be. Raises TypeError otherwise."""
    number, whole = (int, float, type(None)), (int, type(None))
    shape, classes = model["condition_shape"], model["num_classes"]
    kinds = {"beta": (*number, list), "num_classes": whole, "domain": (str, type(None))}
    for key, kind in kinds.items():
        if not isinstance(model.get(key), kind) or isinstance(model.get(key), bool):
            raise TypeError(f"{key} is {model.get(key)!r}")
    if not all(isinstance(one, int | float) for one in (model["beta"] if isinstance(model["beta"], list) else [])):
        raise TypeError(f"beta is {model['beta']!r}")
    if shape is not None and not all(type(size) is int and 0 < size <= MOST_COUNT for size in shape):
        raise TypeError(f"condition_shape is {shape!r}")
    if classes is not None and (shape != [] or not 0 < classes <= MOST_COUNT):
        raise TypeError(f"num_classes is {classes!r}, condition_shape {shape!r}")
    if not all(low < high for low, high in model.get("beta_range") or []):
        raise TypeError(f"beta_range is {model['beta_range']!r}")


def _tokens(flow: Flow) -> dict[str, int | None] | None:
    from egflow.flow._token_flow import TokenFlow

    return {"vocab_size": flow.vocab_size, "pad_id": flow.pad_id} if isinstance(flow, TokenFlow) else None


def _flow(model: dict[str, Any], module: nn.Module, tensors: dict[str, Tensor]) -> Flow:
    """A flow of points or of tokens around its network."""
    from egflow.flow._flow import Flow
    from egflow.flow._token_flow import TokenFlow

    tokens = model.get("tokens")
    if model["path"] not in (PATHS if tokens is None else TOKEN_PATHS):
        raise ValueError(f"unknown path {model['path']!r}")
    if tokens is not None:
        return TokenFlow(module, *model["event_shape"], **tokens, path=model["path"])
    return Flow(
        module,
        model["event_shape"],
        path=model["path"],
        prediction=model["prediction"],
        shift=tensors["shift"],
        scale=tensors["scale"],
    )


def _network(stored: dict[str, Any], own: nn.Module | None, tensors: dict[str, Tensor], file: Path) -> nn.Module:
    if stored["name"] is None:
        if own is None:
            raise ValueError(
                f"{file}: the network is a module of your own: pass it as Flow.load(folder, network=module)"
            )
        # a copy, for the base of a tilted flow loads into the same architecture with other weights
        import copy

        return copy.deepcopy(own)
    if stored["name"] not in NETWORKS:
        raise ValueError(f"{file}: unknown network {stored['name']!r}; known: {', '.join(NETWORKS)}")
    check_config(stored["config"], file)
    check_arguments(NETWORKS[stored["name"]].__init__, stored["config"])
    at = torch.tensor(stored["at"]) if stored.get("at") else None

    def make() -> nn.Module:
        network = NETWORKS[stored["name"]](**stored["config"])
        return network if at is None else AtBeta(network, at)

    with torch.device("meta"):  # takes no memory, whatever the config says
        check_shapes(make(), tensors, file)
    return make()


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
