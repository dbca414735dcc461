"""What every command does around its work: exit codes, signals, and one clear line for what went wrong.

0 done; 1 the run failed; 2 wrong input, nothing was started; 130 interrupted and 143 terminated, both saved.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn, TextIO

from omegaconf import OmegaConf

VERBOSE = "HYDRA_FULL_ERROR"
"""Environment variable: 1 shows tracebacks."""


class RunFailed(Exception):
    """A run that had started could not go on: exit code 1."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an exception that is handled like Ctrl-C."""


def enter(command: str, argv: Sequence[str] | None = None) -> NoReturn:
    """Run one command with its arguments and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    warnings.showwarning = _show_warning
    warnings.simplefilter("once", UserWarning)
    _install_signals()
    sys.exit(run(command, arguments))


def run(command: str, argv: Sequence[str]) -> int:
    """One command with its arguments; returns its exit code."""
    return guarded(lambda: _run(command, list(argv)))


def guarded(work: Callable[[], int]) -> int:
    """The exit code of some work; what it raises becomes one line on stderr."""
    try:
        return outcome(work)
    except KeyboardInterrupt as error:
        say("terminated" if isinstance(error, Terminated) else "interrupted")
        return 143 if isinstance(error, Terminated) else 130


def outcome(work: Callable[[], int]) -> int:
    """As `guarded`, but interrupts are passed on."""
    try:
        return work()
    except RunFailed as error:
        return _fail(error, 1)
    except (ValueError, TypeError, OSError, ImportError) as error:
        return _fail(error, 2)
    except Exception as error:  # a mistake of ours: still one line, with the way to the traceback
        return _fail(error, 1, f"internal error, {type(error).__name__}: {error} ({VERBOSE}=1 shows where)")


def one_line(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.errno is not None:
        what = os.strerror(error.errno) if error.errno != errno.EFBIG else "the file would be larger than allowed"
        return f"cannot write or read {error.filename}: {what}" if error.filename else what
    return " ".join(str(error).split()) or type(error).__name__


def _run(command: str, argv: list[str]) -> int:
    if any(flag in argv for flag in ("-h", "--help")):
        from egflow.cli._help import help_text

        print(help_text(command))
        return 0
    if "--version" in argv:
        from importlib.metadata import version

        print(f"egflow {version('egflow')}")
        return 0
    from egflow.cli._compose import Arguments, compose
    from egflow.cli._resume import merged, with_stored
    from egflow.cli._settings import check

    arguments = Arguments.read(argv)
    if arguments.multirun:
        from egflow.cli._sweep import run_sweep

        return run_sweep(command, arguments)
    if command == "train":
        arguments = with_stored(arguments)
    settings = compose(command, arguments)
    check(command, settings)
    if command == "train":
        settings = merged(settings, arguments)
    if arguments.show:
        print(OmegaConf.to_yaml(OmegaConf.create(settings)), end="")
        return 0
    return _work(command)(settings, arguments)


def _work(command: str) -> Callable[..., int]:
    """The function behind a command; its module is imported only now, for torch takes a while."""
    if command == "train":
        from egflow.cli._train import train as work
    elif command == "sample":
        from egflow.cli._sample import sample as work
    elif command == "evaluate":
        from egflow.cli._evaluate import evaluate as work
    else:
        from egflow.cli._benchmark import benchmark as work
    return work


def _fail(error: BaseException, code: int, line: str | None = None) -> int:
    if os.environ.get(VERBOSE, "0") not in ("", "0"):
        traceback.print_exception(error)
    say(f"error: {line or one_line(error)}")
    return code


def say(line: str) -> None:
    """One line to stderr, after all that was printed."""
    sys.stdout.flush()
    print(f"egflow: {line}", file=sys.stderr)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
    line: str | None = None,
) -> None:  # fmt: skip
    text = f"warning: {' '.join(str(message).split())}"
    if text not in _shown:
        _shown.add(text)
        say(text)


_shown: set[str] = set()


def _install_signals() -> None:
    """SIGTERM is handled like Ctrl-C. A job started to ignore Ctrl-C (as by ``cmd &`` in a script) goes on to."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interrupt)


def _terminate(number: int, frame: FrameType | None) -> None:
    _ignore_more()
    raise Terminated


def _interrupt(number: int, frame: FrameType | None) -> None:
    _ignore_more()
    raise KeyboardInterrupt


def _ignore_more() -> None:
    """A second signal would cut off the saving."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
