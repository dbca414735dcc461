"""A run that is there: its settings, domain and flow, read back from its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from egflow._group import join_group
from egflow._inputs import pick_device
from egflow._untrusted import read_json
from egflow.cli._compose import Settings
from egflow.cli._folder import load_settings, refuse_code, stamped
from egflow.cli._settings import domain_options
from egflow.domain import Data, Domain, find_domain
from egflow.flow import Flow
from egflow.solver import make_solver


@dataclass(frozen=True, slots=True)
class Loaded:
    """A finished run.

    Attributes:
        path: its folder.
        settings: those it was started with, the command's own solver and device in their place.
        domain: its domain, made with its options.
        flow: the tilted flow.
    """

    path: Path
    settings: Settings
    domain: Domain
    flow: Flow


def load_run(command: Settings) -> Loaded:
    """The run that ``run=`` names.

    Raises:
        FileNotFoundError, ValueError: if it is no run, is not finished, or is damaged.
    """
    path = Path(command["run"])
    settings = load_settings(path)
    check_model(path)
    if command["solver"]["name"] != "tuned":
        make_solver(command["solver"]["name"])
    device = join_group(pick_device(command["device"]))
    refuse_code(settings, ())
    if settings.get("cache") is not None and not Path(settings["cache"]).is_dir():
        settings["cache"] = None  # a folder names none to be made
    domain = find_domain(settings["domain"]).load(domain_options(settings))
    network = domain.network(_data(settings, domain)) if _is_foreign(path) else None
    flow = Flow.load(path / "model", network=network).to(device)
    if flow.beta is not None:
        settings["beta"] = flow.beta  # what auto was solved for (another energy would give another), or rounds reached
    for key in ("solver", "energy", "score", "beta", "n"):
        if command.get(key) is not None:
            settings[key] = command[key]
    if command.get("energy") is not None:
        settings["score"] = None
    if command.get("score") is not None:
        settings["energy"] = None
    return Loaded(path, settings, domain, flow)


def check_model(path: Path) -> None:
    """Raises FileNotFoundError where a run has no model yet."""
    if not (path / "model" / "model.json").is_file():
        raise FileNotFoundError(
            f"run={path} has no model yet: finish it with  python -m egflow.train run_dir={path} resume=true"
        )


def check_out(out: str | None) -> None:
    """Refuse a folder that holds something, before any work. Raises ValueError or NotADirectoryError."""
    if out is None:
        return
    folder = Path(out)
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"out={out} is not empty: name another folder")
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"out={out} cannot be made: {nearest} is a file")


def out_folder(out: str | None, run: Path, kind: str) -> Path:
    """Where a command writes: ``out``, made if need be, or a folder of its own below the run's."""
    if out is None:
        return stamped(run / kind)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_foreign(path: Path) -> bool:
    """Whether the saved network is of a domain's own class, which only the domain can make again."""
    try:
        return read_json(path / "model" / "model.json")["network"]["name"] is None
    except (ValueError, KeyError, TypeError):
        return False  # Flow.load tells what is wrong


def _data(settings: Settings, domain: Domain) -> Data:
    return domain.data(settings["data"], settings["seed"])
