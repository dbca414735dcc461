"""What a domain is: a plug-in that brings data, a network, energies, pictures and metrics of its own.

A domain package publishes an entry point in the group ``egflow.domains`` that points at a `DomainSpec`. The spec is
cheap to import (neither torch nor the domain's extra), so that ``--help`` and a listing of domains stay fast, and a
missing extra can be named. The `Domain` itself is imported only when it is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from egflow.report import TiltReport

ENTRY_POINT_GROUP = "egflow.domains"


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """The cheap card of a domain, found by its entry point.

    Attributes:
        name: what ``domain=`` says on the command line.
        package: the importable package; its Hydra configs are in ``<package>.conf``.
        implementation: ``module:Class`` of the `Domain`, imported on use.
        extra: the extra of the distribution that installs what it needs, as ``pip install 'egflow[extra]'``.
        help: one line for ``--help``.
        requires: modules the extra brings; checked before the implementation is imported.
    """

    name: str
    package: str
    implementation: str
    extra: str
    help: str
    requires: tuple[str, ...] = ()

    def load(self, options: Mapping[str, Any] | None = None) -> Domain:
        """Import the domain and make it with its ``<domain>.*`` options.

        Raises:
            ModuleNotFoundError: naming the extra to install.
        """
        missing = [module for module in self.requires if importlib.util.find_spec(module) is None]
        if missing:
            raise ModuleNotFoundError(
                f"domain={self.name} needs {', '.join(missing)}: install it with  pip install 'egflow[{self.extra}]'"
            )
        module, _, name = self.implementation.partition(":")
        return getattr(importlib.import_module(module), name)(**dict(options or {}))


@dataclass(frozen=True, slots=True)
class Data:
    """Samples of p, as a domain loads them.

    Attributes:
        x: (N, *event) float tensor.
        condition: (N,) long or (N, k) float tensor, or None.
        sample_weight: (N,) weights that multiply exp(−beta·E), or None.
        has_density: False where x is quantised or clipped, so that no density exists.
        info: facts worth recording, put under ``domain_metrics``.
    """

    x: Tensor
    condition: Tensor | None = None
    sample_weight: Tensor | None = None
    has_density: bool = True
    info: dict[str, Any] = field(default_factory=dict)


class Domain(Protocol):
    """What a domain gives. Its constructor takes the ``<domain>.*`` options as keywords.

    It may have ``log_densities`` too: name -> log p up to a constant, (batch, *event) -> (batch,), the presets of
    ``log_p=``.
    """

    energies: Mapping[str, Callable[..., Any]]
    """Presets: name -> a function of the preset's arguments that returns an energy."""

    decoders: Mapping[str, Callable[[Tensor], Any]]
    """Name -> how a batch (batch, *event) becomes the objects an energy asks for with ``on=name``."""

    def data(self, name: str | None, seed: int) -> Data:
        """The data that ``data=name`` names; None is the domain's default. Raises ValueError for an unknown name."""
        ...

    def default_energy(self, name: str | None) -> str:
        """The preset used for ``data=name`` when neither ``energy=`` nor ``score=`` is given."""
        ...

    def network(self, data: Data) -> nn.Module | None:
        """A network for this data, or None for the core's default."""
        ...

    def save_samples(self, samples: Tensor, folder: Path) -> Path:
        """Write samples as ``folder/samples.*`` and return the file."""
        ...

    def figures(self, report: TiltReport, folder: Path) -> list[Path]:
        """Draw the domain's own pictures into the folder (the core adds energies and loss). Returns the files."""
        ...

    def metrics(self, report: TiltReport) -> dict[str, Any]:
        """Flat keys for ``domain_metrics``."""
        ...


def domains() -> dict[str, DomainSpec]:
    """Every installed domain by name. A broken plug-in is a warning that names it, and is left out."""
    found: dict[str, DomainSpec] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        try:
            spec = entry.load()
            if not isinstance(spec, DomainSpec):
                raise TypeError(f"{entry.value} is a {type(spec).__name__}, not an egflow.domain.DomainSpec")
            if importlib.util.find_spec(f"{spec.package}.conf") is None:
                raise ModuleNotFoundError(f"{spec.package} has no package {spec.package}.conf with its configs")
        except Exception as error:  # a plug-in is foreign code: whatever it raises must not take the others down
            warnings.warn(f"domain plug-in {entry.name!r} ({entry.value}) is left out: {error}", stacklevel=2)
            continue
        if spec.name in found:
            warnings.warn(f"domain plug-in {entry.name!r} ({entry.value}) is left out: its name is taken", stacklevel=2)
            continue
        found[spec.name] = spec
    return found


def find_domain(name: str) -> DomainSpec:
    """The spec of one domain. Raises ValueError that names the nearest installed one."""
    installed = domains()
    if name in installed:
        return installed[name]
    near = get_close_matches(name, installed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"domain={name} is not installed.{hint} Installed: {', '.join(sorted(installed))}.")
