"""Energies written as plain data, in YAML as in Python: presets, their sums, weights and clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from egflow.energy import EnergyModel
from egflow_molecules.energies._preset import nearest

KINDS = ("energy", "sum")
CHANGES = ("weight", "clip")


def from_config(spec: Mapping[str, Any]) -> EnergyModel:
    """The energy that a plain nested structure describes.

    A structure is one of

    - ``{"energy": NAME, …}``: a preset of `PRESETS`, its arguments beside its name;
    - ``{"sum": [structure, …]}``: a sum of such structures;

    and either may also have ``clip: [lo, hi]`` (an end may be null) and ``weight: number``, which make of its energy E
    ``weight * E.clip(lo, hi)``: the clip is on E's own scale, the weight comes after it.

    Args:
        spec: dicts, lists, texts and numbers.

    Raises:
        ValueError: for the first mistake, with the place in the structure.

    Example:
        >>> from_config({"sum": [
        ...     {"energy": "logp", "target": 4, "weight": 2.0},
        ...     {"energy": "qed", "maximise": True, "clip": [-0.9, 0]},
        ... ]}).describe()
        '2*logp(target=4) + qed(maximise=True).clip(-0.9, 0)'
    """
    return build(spec, "")


def load_yaml(file: str | Path) -> EnergyModel:
    """The energy that a YAML file describes, in the form of `from_config`:

    .. code-block:: yaml

        sum:
          - energy: logp
            target: 4
            weight: 2
          - energy: qed
            maximise: true
            clip: [-0.9, 0]
          - energy: lacks_smarts
            smarts: "[N+](=O)[O-]"    # a SMILES or SMARTS in quotes, as it may hold YAML's own signs
            forbid: true

    Args:
        file: read as plain data: nothing in it is run or looked up.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: for the first mistake, with the file and the place in it.
    """
    place = Path(file)
    if not place.is_file():
        raise FileNotFoundError(f"there is no file {place}; give the YAML file that describes the energy")
    try:
        spec = OmegaConf.to_container(OmegaConf.load(place), resolve=False, throw_on_missing=True)
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{place} cannot be read as YAML: {' '.join(str(error).split())}") from error
    try:
        return from_config(spec)  # pyright: ignore[reportArgumentType]  # what is no mapping is refused there
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def build(spec: Any, place: str) -> EnergyModel:
    """The energy of one structure; `place` is where it stands, '' for the whole."""
    if not isinstance(spec, Mapping):
        raise mistake(place, f"this is {spec!r}; write a structure with energy: or sum:")
    kinds = [kind for kind in KINDS if kind in spec]
    if len(kinds) != 1:
        found = ", ".join(map(repr, spec)) or "nothing"
        got = "both energy: and sum:" if kinds else f"neither energy: nor sum:, but {found}"
        raise mistake(place, f"there is {got}; write energy: NAME, or sum: [...]")
    try:
        energy = summed(spec, place) if "sum" in spec else named(spec)
        if "clip" in spec:
            energy = energy.clip(*bounds(spec["clip"]))
        return energy * spec["weight"] if "weight" in spec else energy
    except Mistake:
        raise
    except (TypeError, ValueError) as error:
        raise mistake(place, str(error)) from error


def named(spec: Mapping[str, Any]) -> EnergyModel:
    """The preset that a structure names, with its arguments."""
    from egflow_molecules.energies._presets import PRESETS  # which holds load_yaml

    known = [name for name in PRESETS if name != "yaml"]
    listed = f"known are {', '.join(known)}"
    name = spec["energy"]
    if name not in known:
        raise ValueError(f"unknown energy {name!r}; {nearest(name, known) or listed}")
    return PRESETS[name](**{str(key): value for key, value in spec.items() if key not in ("energy", *CHANGES)})


def summed(spec: Mapping[str, Any], place: str) -> EnergyModel:
    """The sum that a structure describes."""
    for key in spec:
        if key not in ("sum", *CHANGES):
            hint = nearest(key, CHANGES) or "beside sum there may be weight and clip"
            raise ValueError(f"unknown key {key!r} beside sum; {hint}")
    terms = spec["sum"]
    if isinstance(terms, str) or not isinstance(terms, Sequence) or not terms:
        raise ValueError(f"sum is {terms!r}; give a list of structures, one or more")
    return reduce(add, (build(term, f"{place}{place and '.'}sum[{index}]") for index, term in enumerate(terms)))


def bounds(clip: Any) -> tuple[Any, Any]:
    """Both ends of clip:, which the energy checks."""
    if isinstance(clip, str) or not isinstance(clip, Sequence) or len(clip) != 2:
        raise ValueError(f"clip is {clip!r}; give two numbers, clip: [lo, hi], null for an open end")
    return clip[0], clip[1]


class Mistake(ValueError):
    """A mistake whose place is already in its message."""


def mistake(place: str, message: str) -> Mistake:
    return Mistake(f"in {place}: {message}" if place else message)
