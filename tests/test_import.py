"""Importing egflow imports neither a domain nor what only plots, tests or some domain need."""

from __future__ import annotations

import subprocess
import sys

NOT_NEEDED = (
    "matplotlib",
    "egflow_toy",
    "egflow_images",
    "rdkit",
    "gymnasium",
    "ot",
    "scipy",
    "pandas",
    "sklearn",
    "hydra",
)


def imported_by(statement: str, among: tuple[str, ...]) -> list[str]:
    code = f"import sys; {statement}; print(*[name for name in {among!r} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_import_of_egflow_is_lean() -> None:
    assert imported_by("import egflow", NOT_NEEDED) == []


def test_cards_of_domains_import_no_torch() -> None:
    cards = "import importlib.metadata as m; [e.load for e in m.entry_points(group='egflow.domains')]"
    source = "import egflow_toy, egflow_images"
    assert imported_by(f"sys.modules['egflow'] = None; {cards}", ("torch",)) == []
    # a card imports egflow.domain alone; egflow's own __init__ imports torch, so it is what a domain adds that counts
    before = set(imported_by("import egflow", ("torch", "sklearn", "matplotlib")))
    assert set(imported_by(f"import egflow; {source}", ("torch", "sklearn", "matplotlib"))) == before
