"""`suite=libraries` with egflow itself, by its public functions."""

from __future__ import annotations

from functools import cache

from _libraries_job import Network, serve
from torch import Tensor, nn

import egflow
from egflow.training import TrainingOptions


def train(network: nn.Module, x: Tensor, steps: int, batch: int, ot: bool) -> float:
    """The loop's seconds: held-out losses, metrics and checks included, the standardisation of x before it not."""
    options = TrainingOptions(progress="quiet", coupling="ot" if ot else "independent")
    return egflow.fit(x, network=network, steps=steps, batch_size=batch, options=options).train_seconds


@cache
def flow_of(network: Network) -> egflow.Flow:
    return egflow.Flow(network, (2,))


@cache
def tuned(network: Network, evaluations: int) -> egflow.Flow:
    flow = egflow.Flow(network, (2,))
    flow.tune(evaluations)
    network.rows = 0
    return flow


def sampler(name: str):
    def sample(network: Network, z: Tensor, setting: float) -> Tensor:
        if name == "tuned":
            return tuned(network, int(setting)).integrate(z, 0.0, 1.0, solver="tuned").y
        return flow_of(network).integrate(z, 0.0, 1.0, solver=name, rtol=setting, atol=setting).y

    return sample


def density(name: str):
    def likelihood(network: Network, z: Tensor, setting: float) -> Tensor:
        return flow_of(network).log_prob(z, solver=name, rtol=setting, atol=setting)

    return likelihood


if __name__ == "__main__":
    samplers = {name: sampler(name) for name in ("adams", "tuned", "dopri5")}
    serve(train, samplers, {name: density(name) for name in ("adams", "dopri5")})
