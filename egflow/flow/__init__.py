"""A flow: network + path + preprocessing; sampled, asked for densities, saved."""

from egflow.flow._divergence import divergence
from egflow.flow._flow import Flow
from egflow.flow._storage import load_flow, save_flow

__all__ = ["Flow", "divergence", "load_flow", "save_flow"]
