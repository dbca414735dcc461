"""How a preset is made: a function that checks its arguments and returns a score of one molecule becomes an energy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import Any, ParamSpec

from rdkit import Chem

from egflow.energy import EnergyModel, as_energy

PerMolecule = Callable[[Chem.Mol], float]
"""The energy of one molecule. An instance of a class at a module's top level, so that it reaches worker processes, and
without slots, so that a cache's key sees its code."""

P = ParamSpec("P")


def preset(name: str) -> Callable[[Callable[P, PerMolecule]], Callable[P, EnergyModel]]:
    """Decorator: the function's arguments make an energy on molecules, called as it would be typed, `logp(target=4)`.

    A wrong argument is a TypeError in one line that starts from the preset's name and says the nearest right one.
    """

    def wrap(make: Callable[P, PerMolecule]) -> Callable[P, EnergyModel]:
        signature = inspect.signature(make)

        @wraps(make)
        def made(*args: P.args, **kwargs: P.kwargs) -> EnergyModel:
            given = check_arguments(name, signature, args, kwargs)
            return as_energy(make(*args, **kwargs), on="mol", batch=False, name=label(name, given))

        made.__dict__["__signature__"] = signature.replace(return_annotation=EnergyModel)
        return made

    return wrap


def check_arguments(
    name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments by name, as given.

    Raises:
        TypeError: for one that is unknown, missing, or not given by name.
    """
    known = list(signature.parameters)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    for key in kwargs:
        if key not in known:
            raise TypeError(f"unknown argument {key!r} of {name}; {nearest(key, known) or takes}")
    try:
        return dict(signature.bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise TypeError(f"{name}: {error}; {takes}{', each by name' if known else ''}") from None


def label(name: str, given: Mapping[str, Any]) -> str:
    """What a report calls an energy: the text that makes it.

    >>> label("logp", {"target": 4}), label("pains", {})
    ('logp(target=4)', 'pains')
    """
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})" if given else name


def nearest(name: object, known: Iterable[str]) -> str:
    """A question that names the nearest of what is known (in lower case), or ''.

    >>> nearest("Taget", ["target", "range"])
    "did you mean 'target'?"
    """
    near = get_close_matches(str(name).lower(), list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""
