"""A flow: network + path + preprocessing; sampled, asked for densities, saved."""

from egflow.flow._divergence import divergence
from egflow.flow._flow import Flow
from egflow.flow._storage import load_flow, save_flow
from egflow.flow._token_flow import TokenFlow

__all__ = ["Flow", "TokenFlow", "divergence", "load_flow", "save_flow"]
