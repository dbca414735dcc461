"""Shows tutorials with the outputs that `run_notebooks.py` kept of them, in ``tutorials/outputs/NAME.json``.

Outputs belong to code: where a page's code has changed since, it is shown without.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

from myst_nb.core.read import read_myst_markdown_notebook
from nbformat import NotebookNode, from_dict
from sphinx.application import Sphinx

OUTPUTS = Path(__file__).resolve().parents[1] / "tutorials" / "outputs"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", _use_outputs, priority=900)  # after myst_nb has read its settings
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _use_outputs(app: Sphinx) -> None:
    environment: Any = app.env
    for file in OUTPUTS.glob("*.json"):
        reader = partial(_read, file=file, config=environment.myst_config)
        environment.mystnb_config.custom_formats[f"tutorials/{file.stem}.md"] = (reader, {}, False)


def _read(text: str, file: Path, config: Any) -> NotebookNode:
    page = file.parents[1] / f"{file.stem}.md"
    notebook = read_myst_markdown_notebook(text, config=config, add_source_map=True, path=page)
    return put(notebook, json.loads(file.read_text(encoding="utf-8")))


def code_of(notebook: NotebookNode) -> str:
    """A digest of all code of a notebook."""
    code = "\0".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.blake2b(code.encode(), digest_size=16).hexdigest()


def kept(notebook: NotebookNode, seconds: float, where: str) -> dict[str, Any]:
    """What is written of a notebook that has run."""
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    return {"code": code_of(notebook), "seconds": round(seconds), "where": where, "outputs": outputs}


def put(notebook: NotebookNode, found: dict[str, Any]) -> NotebookNode:
    """The notebook with the outputs that were found, and a line below its title that says what they are."""
    if found["code"] != code_of(notebook):
        return notebook
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, (cell, outputs) in enumerate(zip(cells, found["outputs"], strict=True)):
        cell.execution_count = number + 1
        cell.outputs = [from_dict(output) for output in outputs if says_something(output, outputs)]
    title = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    head, _, rest = title.source.partition("\n")
    title.source = f"{head}\n\n*{duration(found['seconds'])}; what it printed below is of {found['where']}.*\n{rest}"
    return notebook


def says_something(output: dict[str, Any], outputs: list[dict[str, Any]]) -> bool:
    """Whether a reader wants it: not the empty line that a rich table's print leaves, nor what `axis.legend()` returns.

    >>> says_something({"output_type": "stream", "text": "\\n"}, [])
    False
    """
    if output["output_type"] == "stream":
        return bool(output["text"].strip())
    is_value = output["output_type"] == "execute_result" and set(output["data"]) == {"text/plain"}
    return not (is_value and any("image/png" in other.get("data", {}) for other in outputs))


def duration(seconds: int) -> str:
    """
    >>> duration(40), duration(200)
    ('Ran in 40 seconds', 'Ran in 3 min 20 s')
    """
    return f"Ran in {seconds} seconds" if seconds < 60 else f"Ran in {seconds // 60} min {seconds % 60} s"
