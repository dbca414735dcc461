"""Networks with ``forward(x, t, condition)``: for vectors, pictures and tokens; any nn.Module of a user works."""

from egflow.network._beta import AtBeta, scale_beta, with_beta
from egflow.network._default import NETWORKS, default_network
from egflow.network._default_tokens import default_token_network
from egflow.network._embedding import BetaEmbedding, ConditionEmbedding, time_features
from egflow.network._mlp import MLP
from egflow.network._recurrent import Recurrent
from egflow.network._token_mlp import TokenMLP
from egflow.network._transformer import Transformer
from egflow.network._twisted import Twisted
from egflow.network._unet import UNet

__all__ = [
    "MLP",
    "NETWORKS",
    "AtBeta",
    "BetaEmbedding",
    "ConditionEmbedding",
    "Recurrent",
    "TokenMLP",
    "Transformer",
    "Twisted",
    "UNet",
    "default_network",
    "default_token_network",
    "scale_beta",
    "time_features",
    "with_beta",
]
