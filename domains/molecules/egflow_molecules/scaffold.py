"""Molecules that hold a given scaffold: its attachment points are filled by a flow, the rest is as it was given."""

from __future__ import annotations

import re
from functools import cached_property

from rdkit import Chem
import torch
from egflow_molecules._rdkit import parse_smiles
from egflow_molecules._scaffold_draw import Form, Grammar
from egflow_molecules.smiles import ALPHABET, LENGTH, NEST, RINGS, tokenise
_IDS={t:i for i,t in enumerate(ALPHABET)}
_BONDS = "-=#:/\\"
_NO_ATOM = {*_BONDS, "(", ")", *(ALPHABET[i] for i in RINGS)}
GRAMMAR = Grammar(
    atoms=tuple(i for t,i in _IDS.items() if t not in _NO_ATOM and t != "[H]"),
    single=tuple(_IDS[t] for t in "-/\\"),
    bonds=tuple(_IDS[t] for t in _BONDS),
    opening=NEST[0], closing=NEST[1], rings=RINGS)
def form(text):
    return Form(tuple(tuple(_IDS[t] for t in tokenise(p)) for p in text.split("*")))
def writings(mol, n=64):
    return list(dict.fromkeys(t for t in Chem.MolToRandomSmilesVect(mol, n, 0) if t[0]!="*"))
