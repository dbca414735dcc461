"""The options ``offline_rl.*``: sizes, steps and shares that the methods and the evaluation take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

NORMALISATIONS = ("none", "global_std", "per_state_std")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Checked values of ``offline_rl.*``. Their defaults stand here and in ``conf/domain/offline_rl.yaml`` alike.

    Attributes:
        width, depth: of the critic's networks.
        policy_width, policy_depth: of the behaviour flow's and the policy's networks.
        discount: gamma, a step.
        tau: how fast target networks follow, a step.
        critic_steps: gradient steps of the critic.
        policy_steps: gradient steps of the policy, all rounds or renewals together.
        support: M, the actions drawn at a state beside the data's own.
        q_temperature: alpha_q of the backup V(s') = Σ_j softmax_j(alpha_q·Q_j)·Q_j, on Q's own scale (published: 1);
            None is 8 over the standard deviation of the data's discounted returns.
        alpha: weight of the distillation towards the flow (fql, guided_actor), where Q is divided by mean |Q|.
        renew_every: steps between the published variants' renewals of the support.
        rounds: the most rounds beta is spent over (qipo).
        normalize: what Q is divided by before beta: none, global_std (σ_Q within support, over all states) or
            per_state_std (of each state, which makes beta a function of s).
        defensive: share of draws from the behaviour's own support, the data's action in it, weighted by beta so far.
        env: the environment to evaluate in, where the data name none or another is meant.
        episodes: a policy is evaluated on.
        best_of: N of the best-of-N line of the evaluation; 1 leaves the line out.
        bc_baseline: also evaluate the behaviour policy.
        support_states: the most states whose supports the policy is trained on.
        critic_learning_rate: Adam's, of the critic.
        q_batch_size: transitions a step of the critic.
        reward_scale, reward_shift: r -> scale·(r + shift) while learning; None is 1 and 0.

    Raises:
        ValueError: naming the option, what was got and what was expected.

    Example:
        >>> Options(support=16).support
        16
        >>> Options(discount=1.5)
        Traceback (most recent call last):
        ValueError: offline_rl.discount=1.5: expected a number in [0, 1)
    """

    width: int = 256
    depth: int = 2
    policy_width: int = 256
    policy_depth: int = 3
    discount: float = 0.99
    tau: float = 0.005
    critic_steps: int = 15_000
    policy_steps: int = 6_000
    support: int = 8
    q_temperature: float | None = None
    alpha: float = 1.0
    renew_every: int = 2_000
    rounds: int = 4
    normalize: str = "global_std"
    defensive: float = 0.1
    env: str | None = None
    episodes: int = 20
    best_of: int = 8
    bc_baseline: bool = True
    support_states: int = 20_000
    critic_learning_rate: float = 3e-4
    q_batch_size: int = 256
    reward_scale: float | None = None
    reward_shift: float | None = None

    def __post_init__(self) -> None:
        for name, (right, expected) in _RULES.items():
            value = getattr(self, name)
            if not right(value):
                raise ValueError(f"offline_rl.{name}={_typed(value)}: expected {expected}")

    @classmethod
    def of(cls, options: dict[str, Any]) -> Options:
        """From the mapping of a config. Raises ValueError that names the nearest, for an option that is none."""
        known = [field.name for field in fields(cls)]
        for name in options:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f" Did you mean offline_rl.{near[0]}?" if near else ""
                raise ValueError(f"offline_rl.{name} is no option.{hint} There are: {', '.join(known)}.")
        return cls(**options)


Rule = tuple[Callable[[Any], bool], str]


def _whole(least: int) -> Rule:
    return (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least,
        f"a whole number of at least {least}",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_POSITIVE: Rule = (lambda value: _is_number(value) and value > 0, "a positive number")
_RULES: dict[str, Rule] = {
    **dict.fromkeys(("width", "depth", "policy_width", "policy_depth"), _whole(1)),
    "discount": (lambda value: _is_number(value) and 0 <= value < 1, "a number in [0, 1)"),
    "tau": (lambda value: _is_number(value) and 0 < value <= 1, "a number in (0, 1]"),
    **dict.fromkeys(("critic_steps", "policy_steps", "renew_every", "rounds"), _whole(1)),
    "support": _whole(2),
    "q_temperature": (
        lambda value: value is None or (_is_number(value) and value >= 0),
        "a number of at least 0, or null",
    ),
    "normalize": (lambda value: value in NORMALISATIONS, f"one of {', '.join(NORMALISATIONS)}"),
    "defensive": (lambda value: _is_number(value) and 0 <= value < 1, "a share in [0, 1)"),
    **dict.fromkeys(("episodes", "best_of", "support_states", "q_batch_size"), _whole(1)),
    "env": (lambda value: value is None or (isinstance(value, str) and value != ""), "an environment's id, or null"),
    "bc_baseline": (lambda value: isinstance(value, bool), "true or false"),
    **dict.fromkeys(("critic_learning_rate", "alpha"), _POSITIVE),
    "reward_scale": (lambda value: value is None or (_is_number(value) and value > 0), "a positive number, or null"),
    "reward_shift": (lambda value: value is None or _is_number(value), "a finite number, or null"),
}


def _typed(value: Any) -> str:
    """A value as it would be typed on the command line."""
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value))
