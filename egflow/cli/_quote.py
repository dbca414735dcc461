"""Arguments with Hydra's own signs in them are quoted before Hydra parses them.

Hydra reads ``()[]{}=#@,`` and spaces in a value as grammar. Energies, file names and SMILES are text and hold such
signs; after this module has seen them one pair of shell quotes is all a user types. Numbers, lists of numbers, true,
false and null stay as they are, so that ``beta=[0,8]`` is a list.
"""

from __future__ import annotations

import re
from typing import Any

TEXT_KEYS = frozenset({
    "data", "energy", "score", "log_p", "run_dir", "out", "base", "run", "suite", "cache", "cache_version",
})  # fmt: skip
"""Keys whose value is always text (or null)."""

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf|nan)"
_PLAIN = re.compile(rf"true|false|null|{_NUMBER}|\[\s*(?:{_NUMBER}\s*(?:,\s*{_NUMBER}\s*)*)?\]", re.IGNORECASE)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def is_plain(value: str) -> bool:
    """Whether a value is a number, a list of numbers, true, false or null."""
    return _PLAIN.fullmatch(value) is not None


def quote(value: str) -> str:
    """One Hydra string that reads back as ``value``, whatever is in it.

    A backslash counts in Hydra's strings only before a quote, and OmegaConf reads ``${`` unless it is escaped.

    >>> print(quote("C(=O)[O-]"))
    'C(=O)[O-]'
    >>> print(quote("it's"))
    'it\\'s'
    """
    value = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    value = re.sub(r"(\\*)'", r"\1\1\\'", value)
    value = re.sub(r"(\\+)$", r"\1\1", value)
    return f"'{value}'"


def split_sweep(value: str) -> list[str]:
    """The values of a sweep: cut at the commas outside of brackets.

    >>> split_sweep("ring(index=1,width=2),arc")
    ['ring(index=1,width=2)', 'arc']
    """
    parts, closing = [""], list[str]()
    for sign in value:
        if closing and sign == closing[-1]:
            closing.pop()
        elif sign in _CLOSING:
            closing.append(_CLOSING[sign])
        if sign == "," and not closing:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def split_list(value: str) -> list[str]:
    """The parts of ``[a,b]``, cut outside of inner brackets; any other text is its only part.

    >>> split_list("[rings, linear(slope=[1,0])]"), split_list("rings")
    (['rings', 'linear(slope=[1,0])'], ['rings'])
    """
    text = value.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return [value]
    return [part.strip() for part in split_sweep(text[1:-1])]


def quote_override(key: str, value: str, *, text: bool, sweep: bool) -> str:
    """One ``key=value`` for Hydra.

    Args:
        key: the key as typed.
        value: the value as the shell gave it.
        text: whether the key holds text, so that all but null is quoted.
        sweep: whether commas outside of brackets separate the values of a sweep.
    """
    if not text:
        return f"{key}={value}"
    values = split_sweep(value) if sweep else [value]
    return f"{key}=" + ",".join(part if part == "null" else quote(part) for part in values)


def show(value: Any) -> str:
    """A value as it would be typed.

    >>> show(None), show(True), show([0, 8])
    ('null', 'true', '[0,8]')
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "[" + ",".join(map(show, value)) + "]"
    return str(value)
