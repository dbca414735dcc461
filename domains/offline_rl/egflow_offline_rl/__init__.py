"""Offline RL: QIPO on Minari data, and its peers.

This module holds only the card of the domain, so that a listing of domains stays fast; `load_policy` is imported when
it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from egflow.domain import DomainSpec

if TYPE_CHECKING:
    from egflow_offline_rl.policy import load_policy

__all__ = ["SPEC", "load_policy"]

SPEC = DomainSpec(
    name="offline_rl",
    package="egflow_offline_rl",
    implementation="egflow_offline_rl.domain:OfflineRL",
    extra="offline-rl",
    help="control policies from logged data (Minari): QIPO, a flow policy weighted by exp(beta·Q), and its peers",
    code_options=("env",),
    requires=("gymnasium", "minari", "mujoco"),
    methods=("qipo", "qipo_ot", "qipo_diff", "guided_actor", "bc", "td3bc", "iql", "fql", "qgpo"),
)


def __getattr__(name: str) -> Any:
    if name == "load_policy":
        from egflow_offline_rl.policy import load_policy

        return load_policy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
