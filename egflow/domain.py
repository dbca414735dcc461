"""What a domain is: a plug-in that brings data, a network, energies, pictures and metrics of its own.

A domain package publishes an entry point in the group ``egflow.domains`` that points at a `DomainSpec`. The spec is
imported at every start, so it needs none of the domain's extra and imports nothing heavy: a missing extra can be named.
The `Domain` itself is imported only when it is used.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from egflow.flow import Flow
    from egflow.report import TiltReport
    from egflow.training import TrainingOptions

ENTRY_POINT_GROUP = "egflow.domains"
CORE_METHODS = ("cefm", "ced", "twist", "trajectory_balance", "auto")
"""What the core itself can do with a domain's data; any other method is a domain's own."""


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """The cheap card of a domain, found by its entry point.

    Attributes:
        name: what ``domain=`` says on the command line.
        package: the importable package; its Hydra configs are in ``<package>.conf``.
        implementation: ``module:Class`` of the `Domain`, imported on use.
        extra: egflow's extra that installs what it needs, as ``pip install 'egflow[extra]'``; of a package of one's own
            nothing.
        help: one line for ``--help``.
        requires: modules it needs; checked before the implementation is imported.
        decode: ``module:function`` of what `Flow.decode` makes of samples (batch, *event), or nothing.
        decoders: ``module:MAPPING`` of the domain's decoders, for energies in Python (`Domain.decoders` are the same).
        editor: ``module:OBJECT`` of what a search needs to know of the domain's sequences (`egflow.rounds.Editor`), or
            nothing.
        code_options: options of the domain whose text may name code to import, as ``module:name``; from a run's folder
            such a one is taken only if the command line says it again.
        methods: what ``method=`` may say. Names that are none of `CORE_METHODS` are methods of the domain's own; its
            implementation is then an `OwnMethods`.
    """

    name: str
    package: str
    implementation: str
    extra: str = ""
    help: str = ""
    requires: tuple[str, ...] = ()
    decode: str = ""
    decoders: str = ""
    editor: str = ""
    code_options: tuple[str, ...] = ()
    methods: tuple[str, ...] = CORE_METHODS

    def load(self, options: Mapping[str, Any] | None = None) -> Domain:
        """Import the domain and make it with its ``<domain>.*`` options.

        Raises:
            ModuleNotFoundError: naming the extra to install.
        """
        return self.find(self.implementation)(**dict(options or {}))

    def find(self, place: str) -> Any:
        """The object at ``module:name`` of the domain's package. Raises ModuleNotFoundError as `load`."""
        missing = [module for module in self.requires if importlib.util.find_spec(module) is None]
        if missing:
            wanted = f"'egflow[{self.extra}]'" if self.extra else " ".join(missing)
            raise ModuleNotFoundError(
                f"domain={self.name} needs {', '.join(missing)}: install it with  pip install {wanted}"
            )
        module, _, name = place.partition(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, slots=True)
class Data:
    """Samples of p, as a domain loads them.

    Attributes:
        x: (N, *event) float tensor.
        condition: (N,) long or (N, k) float tensor, or None.
        sample_weight: (N,) weights that multiply exp(−beta·E), or None.
        has_density: False where x is quantised or clipped, so that no density exists.
        info: facts worth recording, put under ``domain_metrics``.
        vocab_size, pad_id: where x holds tokens (N, length) long, see `egflow.fit`.
        base: the flow of p where the domain has one; None is fitted to x.
        draws: p means the base flow: a tilt trains on so many draws of it, and the report is against as many; x is what
            the report holds beside them. None: p means the data.
    """

    x: Tensor
    condition: Tensor | None = None
    sample_weight: Tensor | None = None
    has_density: bool = True
    info: dict[str, Any] = field(default_factory=dict)
    vocab_size: int | None = None
    pad_id: int | None = None
    base: Flow | None = None
    draws: int | None = None


class Domain(Protocol):
    """What a domain gives. Its constructor takes the ``<domain>.*`` options as keywords.

    It may have ``log_densities`` too: name -> log p up to a constant, (batch, *event) -> (batch,), the presets of
    ``log_p=``; ``energy_options``, the arguments of `egflow.as_energy` that a plain function of ``file.py:function``
    gets; and ``save_table(samples, columns, folder) -> list[Path]`` in place of `save_samples`, where columns are name
    -> (n,) numbers of each sample: its energies, or scores, and its log-likelihood; and ``deliver(flow, n, seed)``, n
    samples to write in place of the flow's own, or None; ``no_rounds``, why its options forbid rounds, or "";
    ``constant_hint``, what to look for where an energy is the same for all data;
    ``write_as``, ending -> function(samples, columns, file) that writes one file of ``egflow sample out=FILE`` (without
    it arrays are written as .npy, .parquet and .csv); and
    ``flow_figures(flow, folder, seed) -> list[Path]``, pictures that take the flow itself, where it was just made; and
    ``page(report, folder, drawn) -> list[Block]``, what `egflow.page` shows of a run in the HTML report: its report,
    its folder (a stranger's, perhaps: read with care, nothing of it run) and the samples drawn for the page, or None.
    A domain with methods of its own may have that too.
    """

    energies: Mapping[str, Callable[..., Any]]
    """Presets: name -> a function of the preset's arguments that returns an energy."""

    decoders: Mapping[str, Callable[[Tensor], Any]]
    """Name -> how a batch (batch, *event) becomes the objects an energy asks for with ``on=name``."""

    def data(self, name: str | None, seed: int) -> Data:
        """The data that ``data=name`` names; None is the domain's default. Raises ValueError for an unknown name."""
        ...

    def default_energy(self, name: str | None) -> str:
        """The preset for ``data=name`` where no ``energy=`` or ``score=`` is given, "" where one has to be.

        Asked before an energy is made.
        """
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


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asks of a domain's own method.

    Attributes:
        data: as ``data=`` names it; None is the domain's default.
        method: one of the domain's own.
        beta: the inverse temperature.
        n: samples to report on and to write.
        seed: fixes everything.
        device: where to compute.
        steps, batch_size: ``trainer.steps`` and ``trainer.batch_size``.
        target_ess: the fraction asked for, or None.
        options: the rest of ``trainer.*``, with ``folder`` (the run's), ``resume`` and ``progress``. A training of the
            method is a stage of its own there: ``replace(job.options, stage="critic")``.
    """

    data: str | None
    method: str
    beta: float
    n: int
    seed: int
    device: torch.device
    steps: int
    batch_size: int
    target_ess: float | None
    options: TrainingOptions


class Saved(Protocol):
    """Anything that can write itself into a folder, whole or not at all."""

    def save(self, folder: Path) -> None:
        """Write ``folder``, which may be there from before."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a domain's own method leaves, for the command line to write.

    Attributes:
        report: with the domain's metrics in it; written last.
        samples: what the domain's `save_samples` takes.
        figures: draws the domain's own pictures into a folder and returns the files (the core adds energies and loss).
        model: written to ``model/``; None where an evaluation has nothing to save.
        history: rows of metrics.csv, for the loss figure.
        words: a line or two for the terminal, below the report's table.
    """

    report: TiltReport
    samples: Any
    figures: Callable[[Path], list[Path]]
    model: Saved | None = None
    history: Sequence[Mapping[str, Any]] = ()
    words: str = ""


class OwnMethods(Protocol):
    """What a domain gives for methods of its own. A domain without `CORE_METHODS` needs nothing of `Domain`.

    It may have ``write_as``, as a `Domain`, of what its `sample` gives.
    """

    free_options: frozenset[str]
    """Options ``<domain>.*`` that may be given again when a run is evaluated or sampled."""

    def check(self, job: Job) -> None:
        """Raise ValueError or FileNotFoundError, in one line, for a job that cannot be done. Nothing is started yet."""
        ...

    def run(self, job: Job) -> Outcome:
        """Train, resumably: checkpoints are in ``checkpoints/<stage>`` of the run's folder, as `egflow.training`'s."""
        ...

    def evaluate(self, job: Job) -> Outcome:
        """The account of the finished run in ``job.options.folder`` again, under another seed."""
        ...

    def sample(self, job: Job) -> Any:
        """``job.n`` more samples of the finished run in ``job.options.folder``, for `save_samples`."""
        ...

    def save_samples(self, samples: Any, folder: Path) -> Path:
        """Write samples as ``folder/samples.*`` and return the file."""
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
