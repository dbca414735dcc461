"""Where every command comes in: its arguments are read, checked and handed to the module that does the work."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn, TextIO

from omegaconf import OmegaConf

from egflow.cli._allocator import keep_freed_memory
from egflow.cli._beta import check_together
from egflow.cli._compose import Arguments, Settings, compose
from egflow.cli._help import help_text
from egflow.cli._outcome import guarded, say
from egflow.cli._own import check_own, is_own, split_options
from egflow.cli._resume import is_resumed, merged, with_stored
from egflow.cli._settings import check
from egflow.cli._signals import install_signals
from egflow.cli._together import first_speaks, in_step, processes


def enter(command: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command with its arguments and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    warnings.showwarning = _show_warning
    warnings.simplefilter("once", UserWarning)
    install_signals()
    keep_freed_memory()
    sys.exit(run(command, arguments))


def run(command: str, argv: Sequence[str]) -> int:
    """One command with its arguments; returns its exit code."""
    first_speaks()
    return guarded(lambda: _run(command, list(argv)))


def _run(command: str, argv: list[str]) -> int:
    if any(flag in argv for flag in ("-h", "--help")):
        print(help_text(command))
        return 0
    if "--version" in argv:
        from importlib.metadata import version

        print(f"egflow {version('egflow')}")
        return 0
    argv, options = _split_runs(argv) if command == "report" else (argv, Settings())
    arguments = Arguments.read(argv)
    if processes() > 1 and (command not in ("train", "sample", "evaluate") or arguments.multirun):
        raise ValueError(
            f"{'a sweep' if arguments.multirun else command} runs in one process: start it without torchrun"
        )
    if arguments.multirun:
        from egflow.cli._sweep import run_sweep

        return run_sweep(command, arguments)
    if command == "train":
        arguments = with_stored(arguments)
    elif command in ("sample", "evaluate"):
        arguments, options = split_options(arguments)
    settings = compose(command, arguments) | options
    check(command, settings)
    if command == "train" and is_resumed(arguments):
        settings = merged(settings, arguments)  # which were checked together when the run began
    elif command == "train" and not is_own(settings):
        check_together(settings)
    check_own(command, settings, arguments.typed)
    if arguments.show:
        print(OmegaConf.to_yaml(OmegaConf.create(settings)), end="")
        return 0
    return in_step(lambda: _work(command)(settings, arguments))


def _work(command: str) -> Callable[..., int]:
    """The function behind a command; its module is imported only now, for it takes a while."""
    if command == "train":
        from egflow.cli._train import train as work
    elif command == "sample":
        from egflow.cli._sample import sample as work
    elif command == "evaluate":
        from egflow.cli._evaluate import evaluate as work
    elif command == "report":
        from egflow.cli._report import report as work
    else:
        from egflow.cli._benchmark import benchmark as work
    return work


def _split_runs(argv: list[str]) -> tuple[list[str], Settings]:
    """The arguments with the first ``run=`` alone, and the folders of all of them as a setting.

    >>> _split_runs(["run=a", "run=b", "out=x.html"])
    (['run=a', 'out=x.html'], {'run': ['a', 'b']})
    """
    folders = [argument.removeprefix("run=") for argument in argv if argument.startswith("run=")]
    rest = [argument for argument in argv if not argument.startswith("run=")]
    return ([f"run={folders[0]}", *rest], {"run": list(dict.fromkeys(folders))}) if folders else (rest, {})


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    text = f"warning: {' '.join(str(message).split())}"
    if text not in _shown:
        _shown.add(text)
        say(text)


_shown: set[str] = set()
