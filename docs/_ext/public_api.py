"""A page for each public module, made anew at every build from what its ``__all__`` (or its own names) says.

A name is described in one place: on the page of `egflow` if that gives it, else on the page of the first module that
does. What a file says at its head, often the mathematics, stands before the names that are made in it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from docstrings import as_rst
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer

from egflow.domain import domains

_PLACES: dict[str, str] = {}
"""Where what is described is: its own name (module and qualified name) to the public one; filled at every build."""
PACKAGES = ("egflow", "egflow_toy", "egflow_images", "egflow_molecules", "egflow_offline_rl")
COMMANDS = {"cli", "train", "sample", "evaluate", "benchmark"}
"""Modules of `egflow` that are entered from the command line, which has a page of its own."""


def modules() -> Iterator[str]:
    """The names of all public modules, packages first."""
    for package in PACKAGES:
        root = importlib.import_module(package)
        yield package
        for info in sorted(pkgutil.walk_packages(root.__path__, f"{package}."), key=lambda info: info.name):
            parts = info.name.split(".")[1:]
            hidden = any(part.startswith("_") for part in parts) or parts[0] == "conf"
            if not hidden and not (package == "egflow" and parts[0] in COMMANDS):
                yield info.name


def public_names(module: ModuleType) -> list[str]:
    """What a module gives: its ``__all__``, or else the documented names that it defines itself."""
    if hasattr(module, "__all__"):
        return sorted(name for name in module.__all__ if not inspect.ismodule(getattr(module, name)))
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    constants = [name for name, value in vars(module).items() if name.isupper() and _comment(module, name)]
    names = {*constants, *(name for name in own if not isinstance(vars(module)[name], TypeVar))}
    return sorted(name for name in names if not name.startswith("_"))


def _described(module: ModuleType, name: str) -> list[str]:
    """The directive that describes one name of a module."""
    value, full = getattr(module, name), f"{module.__name__}::{name}"
    if inspect.isclass(value):
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        return [f".. {kind}:: {full}", "   :members:"]
    if inspect.isroutine(value):
        return [f".. autofunction:: {full}"]
    lines = [f".. py:data:: {name}"]
    if isinstance(value, Mapping):
        named = all(hasattr(item, "__qualname__") for item in value.values())
        items = [f"`{item.__module__}.{item.__qualname__}`" if named else f"``{item!r}``" for item in value.values()]
        body = [f"- ``{key!r}``: {item}" for key, item in zip(value, items, strict=True)]
    elif isinstance(value, str | int | float | tuple):
        lines.append(f"   :value: {value!r}")
        body = []
    else:
        shown = repr(value).replace("typing.", "")
        body = [] if "\n" in shown or shown.startswith("<") else [f"``{shown}``"]
    return [*lines, "", *(f"   {line}" for line in [*_comment(module, name), "", *body])]


def _made_in(module: ModuleType, name: str) -> str:
    """The module where a name is made: this one, or a private one below it."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__module__ if value.__module__ in sys.modules else module.__name__
    below = sorted(key for key in sys.modules if key.startswith(f"{module.__name__}."))
    holders = [key for key in below if vars(sys.modules[key]).get(name) is value]
    return next((key for key in holders if f"\n{name}" in inspect.getsource(sys.modules[key])), module.__name__)


def _comment(module: ModuleType, name: str) -> list[str]:
    """The text below an assignment, where it is made."""
    found = ModuleAnalyzer.for_module(_made_in(module, name))
    found.analyze()
    return as_rst(found.attr_docs.get(("", name), []))


def _import_for_annotations() -> None:
    """Do what modules import for the type checker alone, so that every annotation is a name that can be led to."""
    for key in [key for key in sys.modules if key.partition(".")[0] in PACKAGES]:
        try:
            tree = ast.parse(inspect.getsource(sys.modules[key]))
        except OSError:  # an empty __init__.py has no source
            continue
        for node in tree.body:
            if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                block = ast.Module(node.body, [])
                exec(compile(block, key, "exec"), vars(sys.modules[key]))


def page(name: str) -> str:
    """The page of one module, reStructuredText."""
    module = importlib.import_module(name)
    clash = name == "egflow.report"  # a function has the same name, and keeps it
    lines = [name, "=" * len(name), "", f".. py:{'currentmodule' if clash else 'module'}:: {name}", ""]
    lines += [*as_rst(inspect.cleandoc(module.__doc__ or "").splitlines()), ""]
    described, elsewhere = [], []
    for item in public_names(module):
        value, public = getattr(module, item), f"{name}.{item}"
        if inspect.isclass(value) or inspect.isroutine(value):
            public = _PLACES.setdefault(f"{value.__module__}.{value.__qualname__}", public)
        if public == f"{name}.{item}":
            described.append(item)
        else:
            elsewhere.append(public)
    heads = {item: _made_in(module, item) for item in described}
    for head in sorted(set(heads.values()), key=lambda head: (head != name, head)):
        if head != name:
            title = head.rpartition(".")[2].lstrip("_").replace("_", " ")
            said = inspect.cleandoc(sys.modules[head].__doc__ or "").splitlines()
            lines += ["", title, "-" * len(title), "", *as_rst(said), ""]
        for item in described:
            if heads[item] == head:
                lines += ["", *_described(module, item)]
    if elsewhere:
        lines += ["", "Also given here: " + ", ".join(f"`{public}`" for public in elsewhere) + "."]
    return "\n".join(lines) + "\n"


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "api"
    folder.mkdir(parents=True, exist_ok=True)
    _PLACES.clear()
    ours = [spec for spec in domains().values() if spec.package in PACKAGES]
    if missing := [spec.extra for spec in ours if not all(map(importlib.util.find_spec, spec.requires))]:
        raise ExtensionError(f"the API pages need the domains' packages: pip install -e '.[docs,{','.join(missing)}]'")
    texts = {name: page(name) for name in modules()}
    _import_for_annotations()
    for file in folder.glob("*.rst"):
        if file.stem not in texts:
            file.unlink()
    for name, text in texts.items():
        file = folder / f"{name}.rst"
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def _docstring(_app: Sphinx, _what: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def _short_contents(app: Sphinx, _doctree: nodes.document) -> None:
    """Leave methods out of a page's table of contents: it is copied into the navigation of every other page."""
    contents = app.env.tocs[app.env.current_document.docname]
    for entry in list(contents.findall(nodes.list_item)):
        named = next(entry.findall(nodes.reference))
        if named["anchorname"].startswith("#egflow") and "." in named["anchorname"]:
            entry.children = [child for child in entry if not isinstance(child, nodes.bullet_list)]


def _back_from_source(
    _app: Sphinx, name: str, _template: str, context: dict[str, Any], _doctree: nodes.document | None
) -> None:
    """Lead from a file's source to where its names are described: viewcode takes all names to have one module."""
    if not name.startswith("_modules/") or "body" not in context:
        return
    module = name.removeprefix("_modules/").replace("/", ".")

    def described(link: re.Match[str]) -> str:
        parts = link[2].split(".")
        for start in range(len(parts) - 1, 0, -1):
            public = _PLACES.get(f"{module}.{parts[start]}")
            if public and ".".join(parts[:start]) in sys.modules:
                return link[1] + ".".join([public, *parts[start + 1 :]])
        return link[0]

    context["body"] = re.sub(r'(class="viewcode-back" href="[^"#]*#)([^"]*)', described, context["body"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before anything is read; docstrings pass through `as_rst` before napoleon sees them."""
    app.connect("builder-inited", _write_pages)
    app.connect("html-page-context", _back_from_source)
    app.connect("doctree-read", _short_contents, priority=900)
    app.connect("autodoc-process-docstring", _docstring, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
