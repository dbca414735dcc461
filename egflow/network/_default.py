"""Which network a data shape gets when the user names none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from egflow.network._mlp import MLP
from egflow.network._recurrent import Recurrent
from egflow.network._token_mlp import TokenMLP
from egflow.network._transformer import Transformer
from egflow.network._twisted import Twisted
from egflow.network._unet import UNet

NETWORKS: dict[str, type[MLP] | type[Recurrent] | type[TokenMLP] | type[Transformer] | type[Twisted] | type[UNet]] = {
    "mlp": MLP,
    "recurrent": Recurrent,
    "token_mlp": TokenMLP,
    "transformer": Transformer,
    "twisted": Twisted,
    "unet": UNet,
}


def default_network(event_shape: Sequence[int], condition: Tensor | None) -> nn.Module:
    """An `MLP` for vectors, a `UNet` for square pictures (channels, size, size) whose size is a multiple of 4.

    The U-Net has two resolutions and is 32 wide. From 32 pixels on, where 8 divides them, it takes 2x2 pixels as one,
    has three and is 64 wide: a step takes three quarters of the time, with four times the weights. Up to 8 dimensions
    the MLP is 128 wide and sees waves of its coordinates; above, 256 and none. (Measured on the toy sets: a width of
    256 gains nothing there, and waves halve the error of the mean energy or better.)

    Args:
        event_shape: shape of one sample.
        condition: the training conditions, (N,) long labels or (N, k) float, or None.
    """
    sizes = {"condition_dim": 0, "num_classes": 0}
    if condition is not None:
        discrete = not condition.is_floating_point()
        sizes = {"num_classes": int(condition.max()) + 1} if discrete else {"condition_dim": condition.shape[1]}
    if len(event_shape) == 3 and event_shape[1] == event_shape[2] and event_shape[1] % 4 == 0:
        channels, size, _ = event_shape
        if size >= 32 and size % 8 == 0:
            return UNet(channels, size, width=64, levels=3, patch=2, attention=False, **sizes)
        return UNet(channels, size, attention=False, **sizes)
    if math.prod(event_shape) <= 8:
        return MLP(event_shape, width=128, frequencies=(1.0, 2.0, 4.0), **sizes)
    return MLP(event_shape, width=256, frequencies=(), **sizes)
