"""Networks with ``forward(x, t, condition)``: one for vectors, one for pictures; any nn.Module of a user works."""

from egflow.network._default import NETWORKS, default_network
from egflow.network._embedding import ConditionEmbedding, time_features
from egflow.network._mlp import MLP
from egflow.network._unet import UNet

__all__ = ["MLP", "NETWORKS", "ConditionEmbedding", "UNet", "default_network", "time_features"]
