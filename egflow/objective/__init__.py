"""The regression losses. A loss is one line; its weight is another, in `egflow.weights`."""

from egflow.objective._objective import METHODS, Objective, ced, cefm
from egflow.objective._tokens import cross_entropy

__all__ = ["METHODS", "Objective", "ced", "cefm", "cross_entropy"]
