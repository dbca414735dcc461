"""From the command line to one plain dict of settings, by Hydra.

The core's configs lie in ``egflow/configs`` (wheel) or in ``configs`` one folder up (checkout); every installed domain
adds ``pkg://<package>.conf`` through a search path plug-in. That plug-in is registered by hand, for the namespace
``hydra_plugins`` is not found in editable installs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from egflow.cli._quote import TEXT_KEYS, is_plain, quote_override, split_sweep
from egflow.domain import domains, find_domain

Settings = dict[str, Any]


class DomainConfigs(SearchPathPlugin):
    """Adds the configs of every installed domain to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for spec in domains().values():
            search_path.append(provider=f"egflow-{spec.name}", path=f"pkg://{spec.package}.conf")


def config_folder() -> Path:
    """Where the core's configs are: beside the package in a wheel, one folder up in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise FileNotFoundError(f"egflow's configs are neither in {package} nor beside it: install egflow again")


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of one command, read but not yet composed."""

    typed: Mapping[str, str]
    multirun: bool = False
    show: bool = False

    @classmethod
    def read(cls, argv: Sequence[str]) -> Arguments:
        """Raises ValueError for what is neither ``key=value`` nor a known flag."""
        typed: dict[str, str] = {}
        flags = [argument for argument in argv if argument.startswith("-")]
        for flag in flags:
            if flag not in ("-m", "--multirun", "--cfg"):
                raise ValueError(
                    f"unknown flag {flag}. Flags: --help, --version, --cfg, --multirun; settings are key=value, as "
                    "trainer.steps=100"
                )
        for argument in (a for a in argv if a not in flags):
            key, sign, value = argument.partition("=")
            if not sign or not key:
                raise ValueError(f"{argument!r} is not key=value; --help lists the keys")
            if key in typed:
                raise ValueError(f"{key} is given twice: {key}={typed[key]} and {key}={value}")
            typed[key] = value
        return cls(typed, "-m" in flags or "--multirun" in flags, "--cfg" in flags)


def compose(command: str, arguments: Arguments) -> Settings:
    """The settings of one run of a command. Raises ValueError, in one line, for whatever is wrong with them."""
    config = _compose(command, hydra_overrides(command, arguments))
    for key in sorted(OmegaConf.missing_keys(config)):
        raise ValueError(f"{key}= is needed: {_EXAMPLES[key]}")
    return plain(config)


def sweep(command: str, arguments: Arguments, job: Callable[[DictConfig], object]) -> None:
    """Run a command once for every combination of a sweep's values, by Hydra's ``--multirun``."""
    overrides = hydra_overrides(command, arguments)
    try:
        _compose(command, [override for override in overrides if override.startswith("hydra")])
    except ValueError as error:
        raise ValueError(f"{error} (launchers come with  pip install 'egflow[sweep]')") from error
    sys.argv = [f"egflow.{command}", "--multirun", *overrides]
    hydra.main(version_base=None, config_path=str(config_folder()), config_name=command)(job)()


def plain(config: DictConfig) -> Settings:
    """A composed config as a plain dict, without Hydra's own node."""
    values = OmegaConf.to_container(config, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items() if key != "hydra"}


def hydra_overrides(command: str, arguments: Arguments) -> list[str]:
    """The arguments as Hydra takes them: keys known, text quoted.

    Raises:
        ValueError: for an unknown key or domain, naming the nearest right one.
    """
    typed = dict(arguments.typed)
    names = [""]
    if command == "train":
        names = split_sweep(typed.get("domain", "toy")) if arguments.multirun else [typed.get("domain", "toy")]
        for name in names:
            find_domain(name)
    elif arguments.multirun:
        raise ValueError("--multirun sweeps egflow.train only")
    known: Settings = {}
    for name in names:
        known |= flatten(plain(_compose(command, [f"domain={name}"] if name else [])))
    overrides = []
    for key, value in typed.items():
        if arguments.multirun and key.startswith("hydra"):
            overrides.append(f"{key}={value}")
            continue
        if key not in known:
            raise ValueError(unknown_key(key, known))
        text = key in TEXT_KEYS or _is_domain_text(key, known[key], value, names)
        overrides.append(quote_override(key, value, text=text, sweep=arguments.multirun))
        _check_grammar(key, value, overrides[-1], sweep=arguments.multirun)
    return overrides


def _check_grammar(key: str, value: str, override: str, *, sweep: bool) -> None:
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise ValueError(f"{key}={value} cannot be read: expected a number, true, false, null or [a,list]") from error
    if parsed.is_sweep_override() and not sweep:
        raise ValueError(f"{key}={value} holds several values: --multirun runs each; a list is written {key}=[{value}]")


def _is_domain_text(key: str, default: Any, value: str, names: Iterable[str]) -> bool:
    if key.partition(".")[0] not in names or "." not in key:
        return False
    return isinstance(default, str) or (default is None and not is_plain(value))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Settings:
    """Nested settings as dotted keys.

    >>> flatten({"n": 1, "solver": {"rtol": 0.1}})
    {'n': 1, 'solver.rtol': 0.1}
    """
    flat: Settings = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The line for a key that is not there, with the nearest one that is."""
    bare = key.lstrip("+~").partition("@")[0]
    keys = list(known)
    if bare in keys:
        return f"{key} is not a way to set a value: write {bare}=..."
    if inside := [candidate for candidate in keys if candidate.startswith(f"{bare}.")]:
        return f"{key} holds several keys: set one of {', '.join(inside)}"
    last = {candidate.rpartition(".")[2]: candidate for candidate in reversed(keys)}
    near = get_close_matches(bare, keys, n=1, cutoff=0.7)
    near = near or [last[name] for name in get_close_matches(bare.rpartition(".")[2], last, n=1, cutoff=0.7)]
    return f"unknown key {key!r}." + (f" Did you mean {near[0]!r}?" if near else "") + " --help lists the keys"


def _register() -> None:
    if DomainConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(DomainConfigs)


def _compose(command: str, overrides: list[str]) -> DictConfig:
    _register()
    try:
        with hydra.initialize_config_dir(str(config_folder()), job_name="egflow", version_base=None):
            return hydra.compose(command, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
        text = str(cause).partition("Config search path:")[0]
        raise ValueError(" ".join(text.split())) from error


_EXAMPLES = {
    "run": "a run's folder, as in run=runs/toy/20260101-120000-ab12",
    "suite": "the name of a module in benchmarks/, as in suite=toys",
}
