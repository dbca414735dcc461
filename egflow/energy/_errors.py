"""The one exception of energies."""

from __future__ import annotations


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
