"""Samplers of tokens by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from egflow.path import TokenPath
from egflow.solver._tokens import TokenSolver
from egflow.solver._tokens_samplers import CTMC, Ancestral, EntropyOrdered

TOKEN_SOLVERS: dict[str, Callable[[], TokenSolver]] = {
    "ctmc": CTMC,
    "entropy": EntropyOrdered,
    "ancestral": Ancestral,
}
"""Every sampler of tokens, at its default settings."""


def make_token_solver(solver: object, path: TokenPath) -> TokenSolver:
    """The sampler of a name, one as it is, or the path's default for None.

    Args:
        solver: None (``ancestral`` on sequential, else ``ctmc``), a key of `TOKEN_SOLVERS`, ``"ctmc:16"`` for a number
            of steps, or an object such as ``CTMC(steps=16)``.
        path: the flow's.

    Raises:
        ValueError: for an unknown name (the nearest is named), or a sampler of other paths.
        TypeError: for anything else.

    Example:
        >>> from egflow.path import Masked
        >>> make_token_solver("ctmc:16", Masked())
        CTMC(steps=16, temperature=1.0)
    """
    if solver is None:
        return Ancestral() if path.name == "sequential" else CTMC()
    if isinstance(solver, str):
        name, _, steps = solver.partition(":")
        if name not in TOKEN_SOLVERS:
            near = difflib.get_close_matches(name, TOKEN_SOLVERS, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown solver {name!r} of tokens; did you mean {near!r}? {', '.join(TOKEN_SOLVERS)}")
        if steps and (name != "ctmc" or not steps.isdecimal()):
            raise ValueError(f"solver {solver!r}: a number of steps is for ctmc, as 'ctmc:16'")
        made: TokenSolver = CTMC(steps=int(steps)) if steps else TOKEN_SOLVERS[name]()
    elif callable(getattr(solver, "solve_tokens", None)) and not isinstance(solver, type):
        made = solver  # pyright: ignore[reportAssignmentType]  a user's own, known by its method
    else:
        raise TypeError(f"solver must be a name, a sampler such as CTMC(), or None; got {solver!r}")
    if path.name not in made.paths:
        fits = [name for name, kind in TOKEN_SOLVERS.items() if path.name in kind().paths]
        raise ValueError(f"solver {solver!r} does not sample path {path.name!r}: use {' or '.join(fits)}")
    return made
