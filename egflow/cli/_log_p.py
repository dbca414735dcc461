"""The log-density of p that ``log_p=`` names: the same rules as ``energy=``, trusted code and never from a folder.

A domain may know densities of its own data: a mapping ``log_densities`` of preset names to (batch, *event) -> (batch,).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, cast

from torch import Tensor

from egflow.cli._compose import Settings
from egflow.domain import Domain
from egflow.energy._load import find, from_dotted, from_file

LogP = Callable[[Tensor], Tensor]


def choose_log_p(settings: Settings, domain: Domain, *, from_folder: bool) -> LogP | None:
    """The function that ``log_p=`` names, or None where it is not given.

    Args:
        settings: of the run.
        domain: whose presets are meant.
        from_folder: the name comes from a run's folder, not from the command line: presets only.

    Raises:
        ValueError: for a name that means nothing, or code that is no function.
    """
    text = settings.get("log_p")
    if text is None:
        return None
    presets: Mapping[str, LogP] = getattr(domain, "log_densities", {})
    if text in presets:
        return presets[text]
    if from_folder:
        raise ValueError(f"the run's log_p is code ({text}), which is never run from a folder: give log_p= again")
    if ".py" not in text and "." not in text:
        near = get_close_matches(text, presets, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(presets)) or "none"
        raise ValueError(
            f"log_p={text} is no density of domain {settings['domain']}.{hint} Presets: {known}; or a dotted name, or "
            "file.py:function"
        )
    found: Any = _load(text)
    if not callable(found):
        raise ValueError(f"log_p={text} is a {type(found).__name__}: name a function (batch, *event) -> (batch,)")
    return cast(LogP, found)


def _load(text: str) -> Any:
    file, colon, name = text.rpartition(":")
    if text.endswith(".py") and not (colon and file.endswith(".py")):
        raise ValueError(f"log_p={text} names a file but no function; write {text}:function")
    try:
        return find(from_file(file, text), name, file) if colon and file.endswith(".py") else from_dotted(text)
    except ValueError as error:  # the loader is the energies' own
        raise ValueError(f"log_p={error}") from error
