"""egflow: samples that follow p(x) · exp(−beta · E(x)), with a report of how close they came."""

from egflow._correct import correct, correction_log_weights
from egflow._fit import fit
from egflow._tilt import tilt
from egflow.energy import EnergyModel, as_energy
from egflow.flow import Flow
from egflow.report import TiltReport, report
from egflow.training import TrainingOptions

__version__ = "0.1.0"

__all__ = [
    "EnergyModel",
    "Flow",
    "TiltReport",
    "TrainingOptions",
    "as_energy",
    "correct",
    "correction_log_weights",
    "fit",
    "report",
    "tilt",
]
