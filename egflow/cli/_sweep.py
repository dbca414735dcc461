"""Sweeps: ``--multirun`` starts one run for every combination of values, with any of Hydra's launchers."""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from egflow.cli._beta import check_together
from egflow.cli._compose import Arguments, plain, sweep
from egflow.cli._outcome import outcome
from egflow.cli._own import check_own, is_own
from egflow.cli._settings import check


class JobFailed(CompactHydraException):
    """A job of a sweep failed; Hydra prints it as one line and goes on to exit with 1."""


def run_sweep(command: str, arguments: Arguments) -> int:
    """Run the sweep; exits with 1 if a job failed (the others are run all the same)."""
    if "run_dir" in arguments.typed:
        raise ValueError("run_dir= cannot be set in a sweep, each run has its own: set hydra.sweep.dir=")
    sweep(command, arguments, job)
    return 0


def job(config: DictConfig) -> None:
    """One run of a sweep. It stands at the top of a module so that launchers can send it to other processes."""
    from egflow.cli._train import train

    settings = plain(config)
    settings["run_dir"] = HydraConfig.get().runtime.output_dir

    def work() -> int:
        check("train", settings)
        if not is_own(settings):
            check_together(settings)
        check_own("train", settings, [typed.partition("=")[0] for typed in HydraConfig.get().overrides.task])
        return train(settings, Arguments({}))

    code = outcome(work)
    if code:
        folder = Path(settings["run_dir"])
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        raise JobFailed(f"egflow: the run with {', '.join(HydraConfig.get().overrides.task)} failed ({code})")
