"""Ctrl-C and SIGTERM end a command in the same way: saved, with a line that says how to go on."""

from __future__ import annotations

import signal
from types import FrameType

from egflow.cli._outcome import Terminated


def install_signals() -> None:
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
