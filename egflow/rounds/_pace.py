"""How far a round may go: the beta at which the fresh proposals still have the wanted fraction of effective points."""

from __future__ import annotations

from egflow.rounds._proposals import Proposals, effective

_GRID = 32
_CLOSE = 1e-4  # of the way from here to the goal


def fraction(fresh: Proposals, beta: float) -> float:
    """ess_fraction of proposals weighted for beta."""
    return effective(fresh.log_w(beta)) / len(fresh)


def next_beta(fresh: Proposals, here: float, goal: float, target_ess: float) -> float:
    """The farthest beta between here and the goal up to which ess_fraction never falls below the target.

    It falls with the distance from the flow's own beta, up to noise: a grid finds the first crossing, bisection its
    place. The result is ``here`` where the proposals do not keep the target even there.
    """

    def keeps(share: float) -> bool:
        return fraction(fresh, here + share * (goal - here)) >= target_ess

    if not keeps(0.0):
        return here
    low = 0.0
    for step in range(1, _GRID + 1):
        high = (step / _GRID) ** 2  # finer near here, for the first rounds of a far goal are short
        if not keeps(high):
            break
        low = high
    else:
        return goal
    while high - low > _CLOSE:
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return here + low * (goal - here)
