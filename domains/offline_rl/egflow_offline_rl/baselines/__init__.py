"""Peers, each a page with its paper's update: all are `Learner`s, with their paper's defaults."""

from egflow_offline_rl.baselines.fql import FQL
from egflow_offline_rl.baselines.iql import IQL, reward_scale
from egflow_offline_rl.baselines.qgpo import QGPO, GuidedActor
from egflow_offline_rl.baselines.td3bc import TD3BC

__all__ = ["FQL", "IQL", "QGPO", "TD3BC", "GuidedActor", "reward_scale"]
