"""The house's docstrings as reStructuredText.

They are plain text: formulae stand indented in a paragraph of their own, ``*`` and ``|`` mean themselves.
"""

from __future__ import annotations

import re

_CODE = re.compile(r"(``.*?``|`[^`]*`)")


def as_rst(lines: list[str]) -> list[str]:
    """Lines of a docstring, with formulae made literal blocks and the signs of mark-up escaped outside of code.

    >>> as_rst(["Of x (batch, *event):", "", "    a * b", "", "Args:", "    x: any"])
    ['Of x (batch, \\\\*event):', '', '::', '', '    a * b', '', 'Args:', '    x: any']
    """
    made: list[str] = []
    literal = False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        after_blank = number > 0 and not lines[number - 1].strip()
        if line.strip() and not indented:
            literal = False
        if indented and after_blank and not literal and _outer(lines[:number]):
            literal = True
            made += ["::", ""]
        made.append(line if literal or ">>>" in line else _escaped(line))
    return made


def _outer(before: list[str]) -> bool:
    """Whether the last line with something in it is text that starts at the margin and opens no block."""
    last = next((line for line in reversed(before) if line.strip()), " ")
    return not last.startswith(" ") and not last.endswith("::")


def _escaped(line: str) -> str:
    parts = _CODE.split(line)
    text = [part if index % 2 else re.sub(r"([*|])", r"\\\1", part) for index, part in enumerate(parts)]
    for index in range(2, len(text), 2):
        if text[index][:1].isalnum():  # `Flow`s: mark-up must end at a sign or a space
            text[index] = "\\ " + text[index]
    return "".join(text)
