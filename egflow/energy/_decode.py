"""How a row of x becomes a molecule, a picture, a word: the decoder is called, and what it returns checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from egflow.energy._errors import EnergyError, own_message

Decoder = Callable[[Tensor], Sequence[Any]]


def decoded(decode: Decoder, x: Tensor, name: str) -> Tensor | list[Any]:
    """The decoder's objects, one a row: a tensor where it makes one.

    Raises:
        EnergyError: where the decoder raises, or returns another number of objects.
    """
    try:
        objects = decode(x)
        objects = objects if isinstance(objects, Tensor) else list(objects)
    except Exception as error:  # a decoder is foreign code
        raise EnergyError(f"the decoder of energy {name} failed: {own_message(error)}") from error
    if len(objects) != x.shape[0]:
        raise EnergyError(f"the decoder of energy {name} returned {len(objects)} objects for {x.shape[0]} rows of x")
    return objects
