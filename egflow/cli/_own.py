"""Methods of a domain's own (`egflow.domain.OwnMethods`): what they take of the settings, run, evaluated, sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from egflow.cli._compose import Arguments, Settings, compose
from egflow.cli._folder import RunFolder, load_settings, refuse_code
from egflow.cli._quote import show as typed_as
from egflow.cli._together import processes
from egflow.domain import CORE_METHODS, Domain, Job, OwnMethods, find_domain

if TYPE_CHECKING:
    import torch

_TRAINER = ("steps", "batch_size", "learning_rate", "ema", "clip", "autocast", "checkpoint_every", "log_every")
_TAKEN: dict[str, frozenset[str]] = {
    "train": frozenset({
        "domain", "data", "beta", "target_ess", "method", "n", "seed", "device", "run_dir", "resume",
        *(f"trainer.{key}" for key in (*_TRAINER, "progress", "tensorboard")),
    }),
    "sample": frozenset({"run", "n", "seed", "out", "device"}),
    "evaluate": frozenset({"run", "n", "seed", "out", "device"}),
}  # fmt: skip
"""Keys that mean something to a domain's own method; any other is refused when it is typed."""


def is_own(settings: Settings) -> bool:
    """Whether a run's method is one of its domain's own."""
    return settings["method"] not in CORE_METHODS


def check_own(command: str, settings: Settings, typed: Iterable[str]) -> None:
    """Whether what was typed means something to the domain's own method, if the run has one.

    Raises:
        ValueError: naming the key and the fix.
    """
    if command not in _TAKEN:
        return
    run = settings if command == "train" else _stored(settings["run"])
    if run is None or not is_own(run):
        return
    method = f"method={run['method']} of domain={run['domain']}"
    if processes() > 1:
        raise ValueError(f"{method} runs in one process: start it without torchrun")
    for key in typed:
        inside = key.partition(".")[0] == run["domain"] or key.startswith("hydra")
        if key not in _TAKEN[command] and not inside:
            raise ValueError(f"{key}= means nothing to {method}: leave it out")
    if isinstance(run["beta"], str | list):
        raise ValueError(f"beta={typed_as(run['beta'])}: expected a number, for {method}")


def split_options(arguments: Arguments) -> tuple[Arguments, Settings]:
    """The arguments of a command about a run, without the domain's options; and these, read.

    Only a run of a domain's own method takes them. Raises ValueError for an unknown one.
    """
    run = _stored(arguments.typed.get("run", ""))
    if run is None or not is_own(run):
        return arguments, {}
    name = run["domain"]
    inside = {key: value for key, value in arguments.typed.items() if key.startswith(f"{name}.")}
    if not inside:
        return arguments, {}
    values = compose("train", Arguments({"domain": name, **inside}))[name]
    rest = {key: value for key, value in arguments.typed.items() if key not in inside}
    given = [key.partition(".")[2] for key in inside]
    return replace(arguments, typed=rest), {name: {key: values[key] for key in given}}


def prepare_own(
    settings: Settings, arguments: Arguments, domain: Domain, device: torch.device, folder: RunFolder
) -> Callable[[], None]:
    """A job of a domain's own method, checked and ready to be run."""
    own, job = cast(OwnMethods, domain), job_of(settings, device, folder.path)
    own.check(job)
    return lambda: run_own(own, job, folder.path)


def job_of(settings: Settings, device: torch.device, folder: Path) -> Job:
    """The job that checked settings describe."""
    from egflow.training import TrainingOptions

    trainer = dict(settings["trainer"])
    steps, batch_size = trainer.pop("steps"), trainer.pop("batch_size")
    trainer.pop("base_steps", None)  # its methods train no base
    return Job(
        data=settings["data"],
        method=settings["method"],
        beta=float(settings["beta"]),
        n=settings["n"],
        seed=settings["seed"],
        device=device,
        steps=steps,
        batch_size=batch_size,
        target_ess=settings["target_ess"],
        options=TrainingOptions(**trainer, folder=folder, resume=settings["resume"]),
    )


def run_own(domain: OwnMethods, job: Job, folder: Path) -> None:
    """Run a job and write what it leaves, the report last."""
    from egflow.cli._write import show, tell_written, write_report, write_samples

    made = domain.run(job)
    if made.model is not None:
        made.model.save(folder / "model")
    samples = write_samples(domain, made.samples, folder)
    written = write_report(made.report, made.figures, folder, made.history)
    show(made.report)
    _say_words(made.words)
    tell_written(folder, str(samples.relative_to(folder)), written)


def evaluate_own(command: Settings) -> int:
    """``egflow evaluate`` of a run of a domain's own method."""
    from egflow.cli._loaded import out_folder
    from egflow.cli._write import show, write_report

    domain, job = _finished(command)
    made = domain.evaluate(job)
    folder = out_folder(command["out"], Path(command["run"]), "evaluations")
    write_report(made.report, made.figures, folder, None)
    show(made.report)
    _say_words(made.words)
    print(f"\nWritten to {folder}: report.json, figures/")
    return 0


def sample_own(command: Settings, out: Path | None) -> int:
    """``egflow sample`` of a run of a domain's own method, to the file ``out`` where ``out=`` names one."""
    from egflow.cli._out import check_file, deliver

    domain, job = _finished(command)
    check_file(out, domain)
    file = deliver(domain, domain.sample(job), {}, out, command["out"], Path(command["run"]))
    print(f"{job.n} samples written to {file}")
    return 0


def _finished(command: Settings) -> tuple[OwnMethods, Job]:
    """The domain and the job of the run that ``run=`` names, with what the command says in place of its own.

    Raises:
        FileNotFoundError, ValueError: if the run is not finished, or an option was fixed by its training.
    """
    from egflow._inputs import pick_device
    from egflow.cli._loaded import check_model

    path, stored = Path(command["run"]), load_settings(command["run"])
    check_model(path)
    name = stored["domain"]
    given: dict[str, Any] = command.get(name) or {}
    options = {**(stored.get(name) or {}), **given}
    refuse_code(stored, given)
    domain = cast(OwnMethods, find_domain(name).load(options))
    for key in given:
        if key not in domain.free_options:
            near = get_close_matches(key, domain.free_options, n=1)
            hint = f" Did you mean {name}.{near[0]}?" if near else ""
            may = ", ".join(f"{name}.{option}" for option in sorted(domain.free_options)) or "none"
            raise ValueError(f"{name}.{key}= was fixed when the run was trained.{hint} What may be given: {may}")
    settings = stored | {key: command[key] for key in ("seed", "device")} | {"resume": False}
    if command["n"] is not None:
        settings["n"] = command["n"]
    return domain, job_of(settings, pick_device(command["device"]), path)


def _stored(run: str) -> Settings | None:
    """The settings of a run, or None where there is none: the command itself says what is wrong."""
    try:
        return load_settings(run)
    except (OSError, ValueError):
        return None


def _say_words(words: str) -> None:
    if words:
        print(f"\n{words}")
