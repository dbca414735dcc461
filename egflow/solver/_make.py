"""Solvers by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import partial

from torch import Tensor

from egflow.solver._adams import Adams
from egflow.solver._solution import Solver
from egflow.solver._torchdiffeq import ADAPTIVE, STAGES, TorchDiffEq

SOLVERS: dict[str, Callable[[], Solver]] = {
    "adams": Adams,
    **{name: partial(TorchDiffEq, name) for name in (*ADAPTIVE, *STAGES)},
}
"""Every solver that needs nothing but its name. `tuned` is fitted to a flow: `flow.tune(nfe)`."""


def make_solver(solver: str | Solver | None) -> Solver:
    """The solver of a name, a solver as it is, or the default for None.

    Arguments:
        solver: None (`adams`), a key of `SOLVERS`, a fixed-step name with its number of steps as `"rk4:20"`, or an
            object with a `solve` method.

    Raises:
        ValueError: an unknown name (the nearest is named), or `tuned`, which has to be fitted first.
        TypeError: anything else.

    >>> make_solver("rk4:20")
    TorchDiffEq(name='rk4', steps=20)
    """
    if solver is None:
        return Adams()
    if not isinstance(solver, str):
        if isinstance(solver, type | Tensor) or not callable(getattr(solver, "solve", None)):
            raise TypeError(f"solver must be a name, a solver such as Adams(), or None; got {solver!r}")
        return solver
    name, _, steps = solver.partition(":")
    if name == "tuned":
        raise ValueError("solver 'tuned' has to be fitted to its flow first: call flow.tune(nfe=16)")
    if name not in SOLVERS:
        near = difflib.get_close_matches(name, [*SOLVERS, "tuned"], n=1, cutoff=0.0)[0]
        raise ValueError(f"unknown solver {name!r}; did you mean {near!r}? There are: {', '.join([*SOLVERS, 'tuned'])}")
    if not steps:
        return SOLVERS[name]()
    if not steps.isdecimal() or name not in STAGES:
        raise ValueError(f"solver {solver!r}: a number of steps is for {', '.join(STAGES)}, as 'rk4:20'")
    return TorchDiffEq(name, steps=int(steps))
