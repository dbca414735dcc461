"""A policy: an actor with the scaling it was trained in, so that it takes and gives the environment's own units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from egflow_offline_rl.actors import Actor, BestOf
from egflow_offline_rl.environments import flatten_observation
from egflow_offline_rl.replay import Scaling

if TYPE_CHECKING:
    from gymnasium.envs.registration import EnvSpec

__all__ = ["ACTORS", "Policy", "load_policy"]

ACTORS: dict[str, str] = {
    "DeterministicActor": "egflow_offline_rl.networks",
    "FlowActor": "egflow_offline_rl.actors",
    "GaussianActor": "egflow_offline_rl.networks",
    "GuidedActor": "egflow_offline_rl.baselines.qgpo",
    "OneStepActor": "egflow_offline_rl.networks",
}
"""Actors that can be saved: class name -> module. A saved policy is made of these and of nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Policy:
    """What acts in an environment.

    Attributes:
        scaling: between the environment's units and the actor's.
        actor: standardised observations (n, obs) -> actions (n, act) in [-1, 1] units.
        critic: Q of standardised observations and unit actions, (members, n), for `best_of`; or None.
        method: what it was trained by.
        env_spec: the environment of its data, or None.
        dataset: the data's id, or None.
        reference: the data set's own (minimum, maximum) reference returns, or None.
        facts: more that is worth keeping with it, plain values.
    """

    scaling: Scaling
    actor: Actor
    critic: nn.Module | None = None
    method: str = ""
    env_spec: EnvSpec | None = None
    dataset: str | None = None
    reference: tuple[float, float] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def observation_size(self) -> int:
        """Length of a flattened observation."""
        return len(self.scaling.shift)

    @torch.no_grad()
    def act(self, observation: np.ndarray | Mapping[str, Any], *, seed: int | None = None) -> np.ndarray:
        """Actions for observations.

        Args:
            observation: (obs,), or (n, obs) for n at once; or a dict of such arrays, see `flatten_observation`.
            seed: fixes the draws of an actor that draws; None draws afresh each time (from torch's generator).

        Returns:
            (act,) or (n, act) float32, in the environment's units, within its bounds.

        Raises:
            ValueError: for an observation of another size, or with NaN or infinite values.
            RuntimeError: if the actor itself gives NaN.
        """
        rows, single = self._read(observation)
        chosen = int(torch.randint(2**62, ())) if seed is None else seed
        device = actor_device(self.actor)
        units = self.actor(self.scaling.observations(rows).to(device), chosen).float().cpu()
        if bool(units.isnan().any()):
            raise RuntimeError(f"the {self.method or 'policy'} actor gave NaN for an observation: train it again")
        actions = self.scaling.to_environment(units)
        actions = torch.minimum(torch.maximum(actions, self.scaling.low), self.scaling.high).numpy()
        return actions[0] if single else actions

    def best_of(self, n: int) -> Policy:
        """The policy that takes the best of n draws by its critic. Raises ValueError where it has none."""
        if self.critic is None:
            raise ValueError(f"best_of={n} needs a critic, and a policy of method {self.method!r} has none")
        return replace(self, actor=BestOf(self.actor, self.critic, n))

    def save(self, folder: str | PathLike[str]) -> None:
        """Save into a folder: weights.safetensors, model.json, and flows in folders of their own. Never a pickle.

        Raises:
            ValueError: if the folder exists and holds something else than a model, or the actor is none of `ACTORS`.
            OSError: if it cannot be written; nothing is changed then.
        """
        from egflow_offline_rl._storage import save_policy

        save_policy(self, folder)

    def _read(self, observation: np.ndarray | Mapping[str, Any]) -> tuple[torch.Tensor, bool]:
        """Rows (n, obs), and whether one observation was given."""
        size = self.observation_size
        try:
            flat = flatten_observation(observation)
        except (TypeError, ValueError) as error:
            raise ValueError(f"observation cannot be read as numbers: {' '.join(str(error).split())}") from None
        if flat.ndim not in (1, 2) or flat.shape[-1] != size:
            raise ValueError(f"observation must have shape ({size},) or (n, {size}), got {flat.shape}")
        finite = np.isfinite(flat)
        if not finite.all():
            where = tuple(int(i) for i in np.argwhere(~finite)[0])
            raise ValueError(f"observation must be finite, got {flat[where]} at index {where}")
        return torch.from_numpy(np.array(np.atleast_2d(flat))), flat.ndim == 1


def load_policy(folder: str | PathLike[str]) -> Policy:
    """A policy from a run's folder, or from one made by `Policy.save`.

    Raises:
        FileNotFoundError: if there is none, or a file of it is missing.
        ValueError: if a file is truncated, altered, or of another version.

    Example:
        ``load_policy("runs/offline_rl/20260101-120000-ab12").act(observation)``
    """
    from egflow_offline_rl._storage import read_policy

    return read_policy(folder)


def actor_device(actor: Actor) -> torch.device:
    """Where an actor computes."""
    if isinstance(actor, BestOf):
        return actor_device(actor.actor)
    for flow in getattr(actor, "flows", {}).values():
        return flow.device
    parameters = actor.parameters() if isinstance(actor, nn.Module) else iter(())
    return next((parameter.device for parameter in parameters), torch.device("cpu"))
