"""Solvers: from a velocity to samples, each with the evaluations it cost.

`Adams` is the default (a step size per sample), `TorchDiffEq` the reference, `Tuned` the fewest evaluations
for one flow.
"""

from egflow.solver._adams import Adams
from egflow.solver._make import SOLVERS, make_solver
from egflow.solver._solution import Solution, Solver, SolverError, VelocityFn
from egflow.solver._torchdiffeq import TorchDiffEq
from egflow.solver._tuned import Tuned
from egflow.solver._tuned_fit import fit_tuned

__all__ = [
    "SOLVERS",
    "Adams",
    "Solution",
    "Solver",
    "SolverError",
    "TorchDiffEq",
    "Tuned",
    "VelocityFn",
    "fit_tuned",
    "make_solver",
]
