"""The presets by the names that the command line and YAML know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from egflow.energy import EnergyModel
from egflow_molecules.energies import _properties as properties
from egflow_molecules.energies._alerts import Brenk, Lipinski, Pains
from egflow_molecules.energies._config import load_yaml
from egflow_molecules.energies._structure import HasSmarts, LacksSmarts, Tanimoto
from egflow_molecules.energies._tasks import TASKS, task_preset

PRESETS: Mapping[str, Callable[..., EnergyModel]] = MappingProxyType(
    {
        "qed": properties.QED,
        "logp": properties.LogP,
        "sa": properties.SA,
        "tpsa": properties.TPSA,
        "mw": properties.MW,
        "hba": properties.HBA,
        "hbd": properties.HBD,
        "rotatable_bonds": properties.RotatableBonds,
        "rings": properties.Rings,
        "fraction_sp3": properties.FractionSP3,
        "tanimoto": Tanimoto,
        "has_smarts": HasSmarts,
        "lacks_smarts": LacksSmarts,
        "pains": Pains,
        "brenk": Brenk,
        "lipinski": Lipinski,
        "yaml": load_yaml,
        **{name: task_preset(name) for name in TASKS if name != "qed"},
    }
)
"""Name -> preset. ``qed`` is the property, with its direction: PMO's task of that name is ``qed(maximise=True)``.
``yaml(file='…')`` reads an energy, or a sum of several, from a file (`load_yaml`)."""
