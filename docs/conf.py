"""Sphinx settings of egflow's docs: `sphinx-build -W docs docs/_build` from the top of a clone, no network needed.

Notebooks (tutorials/) are not run; what they printed is kept in tutorials/outputs, see _ext/run_notebooks.py.
"""

import sys
import tomllib
from pathlib import Path

from ipython_pygments_lexers import IPython3Lexer
from sphinx.application import Sphinx

_HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(_HERE / "_ext"))
_PROJECT = tomllib.loads((_HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "egflow"
author = copyright = "The egflow developers"
version = release = _PROJECT["version"]

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "public_api",
    "config_reference",
    "kept_outputs",
]
exclude_patterns = ["_build", "_ext", "tutorials/outputs"]
suppress_warnings = ["toc.empty_glob"]  # benchmarks' pages are generated, and a fresh tree may have none yet

myst_heading_anchors = 3
myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
nb_execution_mode = "off"
nb_ipywidgets_js = {}  # the default is a script of another host

default_role = "py:obj"  # single backticks in docstrings are names
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
napoleon_use_ivar = True
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"egflow {release}"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["egflow.css"]
html_favicon = "_static/favicon.svg"
html_domain_indices = False
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "native"


def setup(app: Sphinx) -> None:
    """Cells of notebooks may hold IPython's ``!command``, which is no Python to the usual lexer."""
    app.add_lexer("python", IPython3Lexer)
