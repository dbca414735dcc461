"""Whether the fields of a record that was read from a file are of the kinds that it declares."""

from __future__ import annotations

import types
from dataclasses import fields
from typing import Any, Union, get_args, get_origin, get_type_hints


def check_fields(record: Any) -> None:
    """Every field of a dataclass against its annotation. Raises TypeError for the first that is of another kind."""
    hints = get_type_hints(type(record))
    for field in fields(record):
        value = getattr(record, field.name)
        if not fits(value, hints[field.name]):
            raise TypeError(f"{field.name} is {str(value)[:80]!r}, which is no {field.type}")


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON is of an annotated kind; whole numbers are floats too, flags are no numbers.

    >>> fits({"a": 1}, dict[str, float | None]), fits([True], list[float])
    (True, False)
    """
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is list:
        return isinstance(value, list) and all(fits(one, inner[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)
