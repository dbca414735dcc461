"""What a run keeps in ``model/``: its policy, and all that an account of it needs without the data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from egflow._files import write_atomic, write_folder, write_text
from egflow._untrusted import member, read_json
from egflow_offline_rl._storage import read_policy, write_policy
from egflow_offline_rl.critic import evaluate_support, sample_rows
from egflow_offline_rl.policy import Policy
from egflow_offline_rl.replay import held_out_rows
from egflow_offline_rl.support import Support

if TYPE_CHECKING:
    from egflow_offline_rl._work import Trained
    from egflow_offline_rl.dataset import Transitions

_STATES = 20_000
_BEHAVIOUR = "behaviour_policy"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """A trained policy with what it is reported by. Tensors are on the CPU.

    Attributes:
        policy: what the run was for.
        behaviour: the flow of the data as a policy, or None.
        support: states of held-out episodes in random order (S, obs), the data's action and then the behaviour's
            (S, K, act), and their Q (S, K), 0 where there is no critic. K is 1 without a behaviour.
        q, returns: (n,) of held-out rows: Q and the discounted return that came of them; or None.
        episode_returns: (E,) of the data.
        between: (beta, policy) of policies on the way, the last one left out; in memory only.
        record: plain values: ``steps``, ``curves``, ``seconds``, ``notes``, ``achieved_beta``, ``tilt_r2``, ``check``,
            ``data`` and ``transitions``.
    """

    policy: Policy
    behaviour: Policy | None
    support: Support
    q: Tensor | None
    returns: Tensor | None
    episode_returns: Tensor
    record: dict[str, Any]
    between: tuple[tuple[float, Policy], ...] = ()

    @classmethod
    def of(cls, trained: Trained, transitions: Transitions) -> Kept:
        """From what a method leaves."""
        support = trained.support or data_support(trained.policy, transitions)
        check = trained.check
        record = {
            "steps": [step.facts() for step in trained.steps],
            "curves": trained.curves,
            "history": [*trained.history, *_losses(trained.curves)],
            "seconds": trained.seconds,
            "notes": trained.notes,
            "achieved_beta": trained.achieved_beta,
            "tilt_r2": trained.tilt_r2,
            "check": None
            if check is None
            else {"correlation": check.correlation, "bias": check.bias, "drift": check.drift},
            "data": transitions.name,
            "transitions": len(transitions),
            "facts": transitions.facts,
        }
        return cls(
            policy=trained.policy,
            behaviour=trained.behaviour,
            support=_shuffled(support),
            q=None if check is None else check.q.cpu(),
            returns=None if check is None else check.returns.cpu(),
            episode_returns=transitions.episode_returns,
            record=record,
            between=trained.between,
        )

    def save(self, folder: Path) -> None:
        """Write ``folder``, whole or not at all: the policy, the behaviour, and the account's own two files."""
        write_folder(folder, self._write)

    def _write(self, folder: Path) -> None:
        write_policy(self.policy, folder)
        if self.behaviour is not None:
            (folder / _BEHAVIOUR).mkdir()
            write_policy(self.behaviour, folder / _BEHAVIOUR)
        tensors = {f"support.{name}": getattr(self.support, name) for name in ("observations", "actions", "q")}
        tensors["episode_returns"] = self.episode_returns
        if self.q is not None and self.returns is not None:
            tensors |= {"check.q": self.q, "check.returns": self.returns}
        tensors = {key: value.detach().clone().contiguous() for key, value in tensors.items()}
        write_atomic(folder / "account.safetensors", lambda temporary: save_file(tensors, temporary))
        write_text(folder / "account.json", json.dumps(_plain(self.record), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Kept:
        """Read it back; ``between`` is empty then.

        Raises:
            FileNotFoundError, ValueError: as `load_policy`, or if the account's files are missing or damaged.
        """
        policy = read_policy(folder)
        kept = member(folder, _BEHAVIOUR)
        behaviour = read_policy(kept) if kept.is_dir() else None
        files = member(folder, "account.json"), member(folder, "account.safetensors")
        for file in files:
            if not file.is_file():
                raise FileNotFoundError(f"{file} is missing: the model can act, but not be reported on")
        try:
            record, tensors = read_json(files[0]), load_file(files[1])
            return cls(
                policy=policy,
                behaviour=behaviour,
                support=Support(*(tensors[f"support.{name}"] for name in ("observations", "actions", "q"))),
                q=tensors.get("check.q"),
                returns=tensors.get("check.returns"),
                episode_returns=tensors["episode_returns"],
                record=dict(record),
            )
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder}: the account's files are damaged: {' '.join(str(error).split())}") from None


def _shuffled(support: Support) -> Support:
    """On the CPU, in a fixed random order of the states, so that the first few are like all."""
    order = torch.randperm(len(support.q), generator=torch.Generator().manual_seed(0))
    return Support(*(part.cpu()[order] for part in (support.observations, support.actions, support.q)))


def data_support(policy: Policy, transitions: Transitions) -> Support:
    """For a method without a behaviour flow, or without a critic: the data's own actions at held-out states, (S, 1)."""
    kept, held = held_out_rows(transitions.episode)
    rows = held if len(held) else kept
    rows = rows[sample_rows(len(rows), _STATES, 0)]
    observations = policy.scaling.observations(transitions.observations[rows])
    actions = policy.scaling.to_unit(transitions.actions[rows]).clamp(-1, 1)[:, None]
    return Support(observations, actions, value(policy, observations, actions))


def value(policy: Policy, observations: Tensor, actions: Tensor) -> Tensor:
    """The policy's own Q, the smaller of the members: (S, obs), (S, K, act) -> (S, K); 0 without a critic."""
    critic = policy.critic
    if critic is None:
        return torch.zeros(actions.shape[:2])
    device = next(critic.parameters()).device
    return evaluate_support(critic, observations.to(device), actions.to(device)).cpu()


def _losses(curves: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows of the loss figure for each learner: the first of its figures that is a loss."""
    rows = []
    for stage, figures in curves.items():
        for row in figures:
            loss = next((number for key, number in row.items() if key.endswith("loss")), None)
            if loss is not None:
                rows.append({"stage": stage, "step": row["step"], "loss": loss})
    return rows


def _plain(content: Any) -> Any:
    """The same as JSON types; a number that is not finite is null."""
    if isinstance(content, dict):
        return {str(key): _plain(part) for key, part in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(part) for part in content]
    if content is None or isinstance(content, bool | int | str):
        return content
    if isinstance(content, float):
        return content if content == content and abs(content) != float("inf") else None
    return str(content)
