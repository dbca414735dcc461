"""Offline RL: QIPO on Minari data, and its peers.

This module holds only the card of the domain, so that a listing of domains stays fast.
"""

from egflow.domain import DomainSpec

__all__ = ["SPEC"]

SPEC = DomainSpec(
    name="offline_rl",
    package="egflow_offline_rl",
    implementation="egflow_offline_rl.domain:OfflineRL",
    extra="offline_rl",
    help="control policies from logged data (Minari): QIPO, a flow policy weighted by exp(beta·Q), and its peers",
    requires=("gymnasium", "minari", "mujoco"),
)
