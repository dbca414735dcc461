"""Sphinx settings of egflow's docs: `sphinx-build -W docs docs/_build` from the top of a clone, no network needed."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).resolve().parents[1] / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]

project = "egflow"
author = copyright = "The egflow developers"
version = release = _PROJECT["version"]

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"egflow {release}"
suppress_warnings = ["toc.empty_glob"]  # benchmarks' pages are generated, and a fresh tree may have none yet
