"""Energies on decoded objects get the decoder they asked for by name."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from egflow.energy._callable import CallableEnergy
from egflow.energy._decode import Decoder
from egflow.energy._model import EnergyModel

Model = TypeVar("Model", bound=EnergyModel)


def bind_decoders(energy: Model, decoders: Mapping[str, Decoder]) -> Model:
    """Give every energy made with ``as_energy(fn, on=name)`` in a tree its decoder, in place; returns the energy.

    Args:
        energy: any energy, alone or a combination.
        decoders: name -> a function from (batch, *event) to a sequence of batch objects; None for an item that
            cannot be decoded, which is then forbidden.

    Raises:
        ValueError: where an energy asks for a name that is not there, with the nearest.
    """
    asking = [part for part in energy.modules() if isinstance(part, CallableEnergy) and part.on is not None]
    for on in {str(part.on) for part in asking} - set(decoders):
        near = get_close_matches(on, decoders, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(decoders)) or "nothing"
        raise ValueError(f"an energy works on {on!r}, which this domain does not decode.{hint} It decodes: {known}.")
    for part in asking:
        part.decode = decoders[str(part.on)]
    return energy
