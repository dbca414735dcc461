"""Solvers: from a velocity, or from what a network tells of hidden tokens, to samples; each with what it cost.

`Adams` is the default (a step size per sample), `TorchDiffEq` the reference, `Tuned` the fewest evaluations
for one flow. Tokens are sampled by `CTMC`, `EntropyOrdered` and `Ancestral`.
"""

from egflow.solver._adams import Adams
from egflow.solver._make import SOLVERS, make_solver
from egflow.solver._solution import Solution, Solver, SolverError, VelocityFn
from egflow.solver._tokens import TokenModel, TokenSolution, TokenSolver, settle
from egflow.solver._tokens_make import TOKEN_SOLVERS, make_token_solver
from egflow.solver._tokens_samplers import CTMC, Ancestral, EntropyOrdered
from egflow.solver._torchdiffeq import TorchDiffEq
from egflow.solver._tuned import Tuned
from egflow.solver._tuned_fit import fit_tuned

__all__ = [
    "CTMC",
    "SOLVERS",
    "TOKEN_SOLVERS",
    "Adams",
    "Ancestral",
    "EntropyOrdered",
    "Solution",
    "Solver",
    "SolverError",
    "TokenModel",
    "TokenSolution",
    "TokenSolver",
    "TorchDiffEq",
    "Tuned",
    "VelocityFn",
    "fit_tuned",
    "make_solver",
    "make_token_solver",
    "settle",
]
