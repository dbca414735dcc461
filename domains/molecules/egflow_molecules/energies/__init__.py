"""Energies of molecules from RDKit: low is good, what is no molecule is forbidden.

Each preset returns an `egflow.EnergyModel` on the decoder "mol", which the domain gives. They are summed, weighted and
clipped as every energy is: ``2 * LogP(target=4) + QED(maximise=True).clip(-0.9, 0)``.
"""

from egflow_molecules.energies._alerts import Brenk, Lipinski, Pains
from egflow_molecules.energies._config import from_config, load_yaml
from egflow_molecules.energies._presets import PRESETS
from egflow_molecules.energies._properties import (
    HBA,
    HBD,
    MW,
    QED,
    SA,
    TPSA,
    FractionSP3,
    LogP,
    Rings,
    RotatableBonds,
)
from egflow_molecules.energies._structure import HasSmarts, LacksSmarts, Tanimoto
from egflow_molecules.energies._tasks import TASKS, Task, score

__all__ = [
    "HBA",
    "HBD",
    "MW",
    "PRESETS",
    "QED",
    "SA",
    "TASKS",
    "TPSA",
    "Brenk",
    "FractionSP3",
    "HasSmarts",
    "LacksSmarts",
    "Lipinski",
    "LogP",
    "Pains",
    "Rings",
    "RotatableBonds",
    "Tanimoto",
    "Task",
    "from_config",
    "load_yaml",
    "score",
]
