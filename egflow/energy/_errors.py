"""The one exception of energies."""

from __future__ import annotations

from pathlib import Path
from traceback import walk_tb


class EnergyError(ValueError):
    """An energy failed, or returned what is not an energy.

    Attributes:
        index: position in x of the item that failed, or None where no single item is to blame.
    """

    def __init__(self, message: str, index: int | None = None):
        super().__init__(message)
        self.index = index


def own_message(error: BaseException) -> str:
    """``Type: message``, or the type alone where an exception says nothing."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def where_raised(error: BaseException, fn: object) -> str:
    """`` (my.py, line 7)``: where a function's own file was last on the way to the error, or nothing."""
    file = getattr(getattr(fn, "__code__", None), "co_filename", None)
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    return f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""
