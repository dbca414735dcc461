"""The prior that ships with the package: a flow of drug-like molecules, trained on MOSES. See ``model/README.md``."""

from __future__ import annotations

import copy
from functools import lru_cache
from pathlib import Path
from typing import cast

from egflow.flow import Flow, TokenFlow

FOLDER = Path(__file__).parent / "model"


def prior() -> TokenFlow:
    """The flow of molecules that everything here starts from, on the CPU; it samples, and tells exact likelihoods.

    Example:
        >>> flow = prior()
        >>> molecules = flow.decode(flow.sample(4))
        >>> len(molecules)
        4
    """
    return copy.deepcopy(_loaded())


@lru_cache(maxsize=1)
def _loaded() -> TokenFlow:
    return cast(TokenFlow, Flow.load(FOLDER))
