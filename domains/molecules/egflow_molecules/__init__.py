"""Molecules as SMILES: a prior that ships with the package, energies from RDKit, and the tilts of the one by the other.

This module holds only the card of the domain, so that a listing of domains stays fast; `prior` and `energies` are
imported when they are first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from egflow.domain import DomainSpec

if TYPE_CHECKING:
    from egflow_molecules import energies
    from egflow_molecules.pretrained import prior

__all__ = ["SPEC", "energies", "prior"]

SPEC = DomainSpec(
    name="molecules",
    package="egflow_molecules",
    implementation="egflow_molecules.domain:MoleculesDomain",
    extra="molecules",
    help="molecules (SMILES) under your own score: a prior trained on MOSES ships with it, RDKit scores",
    requires=("rdkit",),
    decode="egflow_molecules.decoders:molecules",
    decoders="egflow_molecules.decoders:DECODERS",
    editor="egflow_molecules.edits:EDITOR",
)


def __getattr__(name: str) -> Any:
    if name == "prior":
        from egflow_molecules.pretrained import prior

        return prior
    if name == "energies":
        return importlib.import_module("egflow_molecules.energies")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
