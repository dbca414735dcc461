"""How an energy function wants to be called: with (x), or with (x, condition)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes_condition(fn: Callable[..., Any], name: str) -> bool:
    """Whether fn is called as fn(x, condition) rather than fn(x).

    It is where a second positional parameter is required, or is named ``condition``: in ``f(x, k=3)`` k keeps its 3.

    Raises:
        TypeError: where fn takes no positional argument, or requires more than two.
    """
    try:
        parameters = list(inspect.signature(fn.forward if isinstance(fn, nn.Module) else fn).parameters.values())
    except (TypeError, ValueError):  # compiled functions have no signature
        return False
    keyword_only = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    positional = [p for p in parameters if p.kind in POSITIONAL]
    required = [p.name for p in positional if p.default is p.empty]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if not positional and not takes_any:
        raise TypeError(f"{name} takes no batch: its signature has no positional argument; write it as f(x)")
    if len(required) > 2 or keyword_only:
        extra = ", ".join(required[2:] + keyword_only)
        raise TypeError(f"{name} requires {extra} besides x and condition; give it a default, or bind it with partial")
    return len(required) == 2 or (len(positional) > 1 and positional[1].name == "condition")


def function_name(fn: Callable[..., Any]) -> str:
    """A short name for people: the function's own, without where it was defined; a class's for its instances."""
    inner = getattr(fn, "func", fn)  # functools.partial
    name = getattr(inner, "__qualname__", None) or type(inner).__name__
    return name.rsplit("<locals>.", 1)[-1]
