"""Energies: what they are, how functions become energies, and how they are evaluated and checked."""

from egflow.energy._bind import bind_decoders
from egflow.energy._callable import as_energy, check_function
from egflow.energy._errors import EnergyError
from egflow.energy._evaluate import evaluate
from egflow.energy._load import load_energy
from egflow.energy._model import BlackBox, Differentiable, EnergyModel
from egflow.energy._values import EnergyValues

__all__ = [
    "BlackBox",
    "Differentiable",
    "EnergyError",
    "EnergyModel",
    "EnergyValues",
    "as_energy",
    "bind_decoders",
    "check_function",
    "evaluate",
    "load_energy",
]
