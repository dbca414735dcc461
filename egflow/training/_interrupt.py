"""Ctrl-C and SIGTERM wait for the end of a step, so that what is saved is a whole step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class DeferredInterrupts:
    """Within the context, signals that have a Python handler are noted; `raise_pending` then calls the handler.

    A second signal calls its handler at once, in the middle of a step; among many processes, where torchrun hands on
    what each may have got already, it is one with the first. Outside the main thread nothing is changed.
    """

    def __init__(self, patient: bool = False) -> None:
        self._handlers: dict[int, object] = {}
        self._pending: int | None = None
        self._patient = patient

    def __enter__(self) -> DeferredInterrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def pending(self) -> int:
        """The signal that came since, or 0."""
        return self._pending or 0

    def raise_pending(self, number: int | None = None) -> None:
        """Call the handler of the signal that came since; or of ``number``, from another process, where 0 is none."""
        number = self.pending if number is None else number
        if number in self._handlers:
            self._call(number, None)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._pending is not None and not self._patient:
            self._call(number, frame)
        self._pending = number

    def _call(self, number: int, frame: FrameType | None) -> None:
        handler = self._handlers[number]
        self._restore()
        self._handlers = {}  # what the handler sets up, such as to ignore more of them, is left
        assert callable(handler)
        handler(number, frame)

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
