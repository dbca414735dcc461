"""`suite=offline_rl_cost`: TD3+BC by hand, as little as it takes: no metrics, no checks, nothing saved."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from _offline_rl_cost_job import ACTION, BATCH, OBSERVATION, WIDTH, N, Work, rows, serve
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    hidden = (nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU())
    return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))


def td3bc() -> Work:
    """The training of arXiv 2106.06860 with its defaults."""
    columns = [torch.from_numpy(column) for column in rows().values()]
    actor = nn.Sequential(mlp(OBSERVATION, ACTION), nn.Tanh())
    q_1, q_2 = mlp(OBSERVATION + ACTION, 1), mlp(OBSERVATION + ACTION, 1)
    slow_actor, slow_1, slow_2 = copy.deepcopy(actor), copy.deepcopy(q_1), copy.deepcopy(q_2)
    critics = [*q_1.parameters(), *q_2.parameters()]
    of_actor = torch.optim.Adam(actor.parameters(), lr=3e-4, fused=True)
    of_critics = torch.optim.Adam(critics, lr=3e-4, fused=True)
    fast: list[Tensor] = [*actor.parameters(), *critics]
    slow: list[Tensor] = list(chain(slow_actor.parameters(), slow_1.parameters(), slow_2.parameters()))

    def train(steps: int) -> None:
        for step in range(steps):
            index = torch.randint(N, (BATCH,))
            s, a, r, s_next, end = (column[index] for column in columns)
            with torch.no_grad():
                a_next = (slow_actor(s_next) + (0.2 * torch.randn_like(a)).clamp(-0.5, 0.5)).clamp(-1, 1)
                both = torch.cat([s_next, a_next], 1)
                y = r[:, None] + 0.99 * (1 - end[:, None]) * torch.min(slow_1(both), slow_2(both))
            both = torch.cat([s, a], 1)
            loss = F.mse_loss(q_1(both), y) + F.mse_loss(q_2(both), y)
            of_critics.zero_grad()
            loss.backward()
            of_critics.step()
            if step % 2:
                a_own = actor(s)
                q = q_1(torch.cat([s, a_own], 1))
                loss = F.mse_loss(a_own, a) - 2.5 / q.detach().abs().mean() * q.mean()
                of_actor.zero_grad()
                loss.backward(inputs=list(actor.parameters()))
                of_actor.step()
                with torch.no_grad():
                    torch._foreach_lerp_(slow, fast, 0.005)  # pyright: ignore[reportPrivateImportUsage] - not in its stubs

    return train


if __name__ == "__main__":
    serve(lambda: {"td3bc": td3bc()})
