"""How a command ends: its exit code, and one clear line on stderr for what went wrong.

0 done; 1 the run failed; 2 wrong input, nothing was started; 130 interrupted and 143 terminated, both saved.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable

VERBOSE = "HYDRA_FULL_ERROR"
"""Environment variable: 1 shows tracebacks."""


class RunFailed(Exception):
    """A run that had started could not go on: exit code 1."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an exception that is handled like Ctrl-C."""


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


def say(line: str) -> None:
    """One line to stderr, after all that was printed."""
    sys.stdout.flush()
    print(f"egflow: {line}", file=sys.stderr)


def _fail(error: BaseException, code: int, line: str | None = None) -> int:
    if os.environ.get(VERBOSE, "0") not in ("", "0"):
        traceback.print_exception(error)
    say(f"error: {line or one_line(error)}")
    return code
