"""Which energy a run is tilted by: a preset of the domain, a dotted name, or ``file.py:function``; or several."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from egflow.cli._compose import Settings
from egflow.cli._quote import split_list
from egflow.domain import Domain
from egflow.energy import EnergyModel, as_energy, bind_decoders, load_energy
from egflow.energy._callable import CallableEnergy

_PRESET = re.compile(r"([\w-]+)(?:\((.*)\))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Energies with the words they were chosen by.

    Attributes:
        energies: one, or several; low is good; decoders bound, workers and cache set.
        text: what was typed, or the preset taken by default.
        is_score: whether ``text`` was given as ``score=`` and so negated.
    """

    energies: list[EnergyModel]
    text: str
    is_score: bool

    @property
    def given(self) -> EnergyModel | list[EnergyModel]:
        """As the library takes them: one energy, or a list."""
        return self.energies[0] if len(self.energies) == 1 else self.energies


def choose_energy(settings: Settings, domain: Domain, *, from_folder: bool = False) -> Chosen:
    """The energies that ``energy=`` or ``score=`` names; with neither, the domain's own for its data.

    Args:
        settings: of the run.
        domain: whose presets are meant.
        from_folder: the name comes from a run's folder, not from the command line: presets only, code is never run.

    Raises:
        ValueError: for a name that means nothing (the nearest preset is named), or code that does not give an energy.
    """
    is_score = settings.get("score") is not None
    usual = domain.default_energy(settings["data"])  # it tells the domain which data its presets are about
    text = settings["score"] if is_score else settings["energy"] or usual
    if not text:
        raise ValueError(f"data={settings['data']} has no energy of its own: give energy=file.py:function, or score=")
    names, key = split_list(text), "score" if is_score else "energy"
    if from_folder and not all(is_preset(name, domain.energies) for name in names):
        raise ValueError(f"the run's {key} is code ({text}), which is never run from a folder: give {key}= again")
    found = [_with_options(_resolve(name, key, settings["domain"], domain), settings) for name in names]
    decoders = dict(domain.decoders)
    return Chosen([bind_decoders(-one if is_score else one, decoders) for one in found], text, is_score)


def is_preset(text: str, presets: Mapping[str, Any]) -> bool:
    """Whether a text names a preset, so that no code of a user's is meant."""
    match = _PRESET.fullmatch(text.strip())
    return match is not None and match[1] in presets


def _resolve(text: str, key: str, name: str, domain: Domain) -> EnergyModel:
    if is_preset(text, domain.energies):
        return _preset(text, name, domain)
    if ".py" in text or "." in text.partition("(")[0]:
        try:
            return load_energy(text, getattr(domain, "energy_options", None))
        except ValueError as error:
            raise ValueError(f"{key}={error}") from error
    near = get_close_matches(text.partition("(")[0], domain.energies, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{text!r} is no energy of domain {name}.{hint} Presets: {', '.join(sorted(domain.energies))}; "
        "or a dotted name, or file.py:function"
    )


def _preset(text: str, name: str, domain: Domain) -> EnergyModel:
    match = _PRESET.fullmatch(text.strip())
    assert match is not None
    try:
        call = ast.parse(f"f({match[2] or ''})", mode="eval").body
        assert isinstance(call, ast.Call)
        positional = [ast.literal_eval(value) for value in call.args]
        named = {str(item.arg): ast.literal_eval(item.value) for item in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{text!r}: arguments of a preset are plain values, as in {match[1]}(index=2)") from error
    try:
        energy: Callable[..., Any] = domain.energies[match[1]](*positional, **named)
    except TypeError as error:
        raise ValueError(f"preset {text!r} of domain {name} cannot be made: {error}") from error
    return as_energy(energy)


def _with_options(energy: EnergyModel, settings: Settings) -> EnergyModel:
    """The energy with the run's workers and cache in place of its own."""
    workers, cache = settings.get("workers") or {}, settings.get("cache")
    options: dict[str, Any] = {}
    if workers.get("count"):
        options["workers"] = workers["count"]
    for key in ("backend", "time_limit", "memory_limit", "on_failure"):
        if workers.get(key) is not None:
            options[key] = workers[key]
    if cache is not None:
        options |= {"cache": cache, "version": settings.get("cache_version")}
    if not options:
        return energy
    if not isinstance(energy, CallableEnergy):
        return as_energy(energy, **options)
    own = {
        "on": energy.on,
        "decode": None if energy.on is not None else energy.decode,
        "batch": energy.call.batch,
        "workers": energy.workers.count,
        "backend": energy.workers.backend,
        "time_limit": energy.workers.time_limit,
        "memory_limit": energy.workers.memory_limit,
        "on_failure": energy.policy,
        "cache": energy.cache,
        "version": energy.version,
        "name": energy.describe(),
    }
    return as_energy(energy.call.fn, **(own | options))
