"""What egflow is installed with is bounded and pinned, and no file is read by what could run code from it."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
DIRECT = [
    pytest.param(Requirement(text), id=f"{extra or 'core'}: {text}")
    for extra, texts in EXTRAS.items()
    for text in texts
    if not text.startswith("egflow[")
]


def pins() -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pairs = [line.split("==") for line in lines if line]
    found = {canonicalize_name(name): version for name, version in pairs}
    assert len(found) == len(pairs), "constraints.txt pins a package twice"
    return found


PINS = pins()


@pytest.mark.parametrize("wanted", DIRECT)
def test_a_requirement_is_bounded_and_pinned_within_its_bounds(wanted: Requirement) -> None:
    assert any(one.operator in (">=", "==", "~=") for one in wanted.specifier), "no lower bound"
    pinned = PINS.get(canonicalize_name(wanted.name))
    assert pinned is not None, "constraints.txt does not pin it"
    assert wanted.specifier.contains(pinned, prereleases=True), f"constraints.txt pins {pinned}"


def test_one_package_has_one_lower_bound_in_all_extras() -> None:
    bounds: dict[str, set[SpecifierSet]] = {}
    for texts in EXTRAS.values():
        for wanted in (Requirement(text) for text in texts):
            bounds.setdefault(canonicalize_name(wanted.name), set()).add(wanted.specifier)
    assert {name: found for name, found in bounds.items() if len(found) > 1} == {}


def test_what_the_requirements_bring_is_pinned_too() -> None:
    """Of all packages that are installed here, whoever asked for them."""
    loose, seen = set(), set()
    todo = [Requirement(text) for texts in EXTRAS.values() for text in texts]
    while todo:
        wanted = todo.pop()
        name, key = canonicalize_name(wanted.name), (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if name == "egflow" or key in seen:
            continue
        seen.add(key)
        try:
            brought = metadata.distribution(name).requires or []
        except metadata.PackageNotFoundError:
            continue
        if name not in PINS:
            loose.add(name)
        for one in map(Requirement, brought):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in {"", *wanted.extras}):
                todo.append(one)
    assert loose == set()


def test_the_installed_torch_is_the_pinned_one() -> None:
    """What every figure of the docs was made with."""
    assert Version(metadata.version("torch")).public == PINS["torch"]


# What unpickles, or runs code that a file names. pickle's own functions are ruff's S301 and S302 too.
UNPICKLES = re.compile(
    r"(.*\.)?((c?pickle|dill|cloudpickle|marshal|jsonpickle|_pickle)\.(loads?|Unpickler)|Unpickler|shelve\.(open|Shelf)|"
    r"read_pickle|joblib\.load|torch\.(jit\.)?load|torch\.package\.PackageImporter|load_state_dict_from_url|"
    r"yaml\.(load|load_all|unsafe_load|unsafe_load_all|full_load|full_load_all)|torch\.hub\.load)"
)
ALLOWED = {  # each what our own process pickled a moment before, for a worker
    "egflow/energy/_pool_ray.py": 1,
    "egflow/energy/_reference.py": 1,
    "egflow/energy/_worker_task.py": 1,
}
SOURCES = [file for part in ("egflow", "domains", "benchmarks", "examples") for file in (ROOT / part).rglob("*.py")]


def readers(source: str) -> list[str]:
    """Calls in a file's source that unpickle, and loads of numpy that do not refuse to.

    >>> readers("import numpy as np; np.load(f); np.load(f, allow_pickle=False); torch.load(f)")
    ['np.load', 'torch.load']
    """
    tree = ast.parse(source)
    origin = {}  # names that `from module import name` brings
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            origin |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        elif isinstance(node, ast.Import):
            origin |= {one.asname: one.name for one in node.names if one.asname}
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        head, dot, rest = name.partition(".")
        whole = origin.get(head, head) + dot + rest
        refuses = any(
            key.arg == "allow_pickle" and isinstance(key.value, ast.Constant) and key.value.value is False
            for key in node.keywords
        )
        if UNPICKLES.fullmatch(whole) or (
            re.fullmatch(r"(np|numpy)\.(load|lib\.format\.read_array)", whole) and not refuses
        ):
            found.append(name)
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("import pickle as p\np.loads(b'')", 1),
        ("from joblib import load\nload('x')", 1),
        ("import torch\ntorch.load('x', weights_only=True)", 1),
        ("import pandas as pd\npd.read_pickle('x')", 1),
        ("import shelve\nshelve.open('x')", 1),
        ("import marshal\nmarshal.load(f)", 1),
        ("from dill import loads as read\nread(b'')", 1),
        ("import numpy as np\nnp.load('x')", 1),
        ("import numpy as np\nnp.load('x', allow_pickle=True)", 1),
        ("import numpy as np\nnp.load('x', allow_pickle=flag)", 1),
        ("import numpy as np\nnp.load('x', allow_pickle=False)", 0),
        ("import yaml\nyaml.load(text, yaml.Loader)", 1),
        ("import json, yaml\njson.load(f); yaml.safe_load(text); yaml.parse(text, yaml.SafeLoader); Flow.load('x')", 0),
    ],
)
def test_the_rule_sees_what_it_must(source: str, count: int) -> None:
    assert len(readers(source)) == count


def test_no_file_is_read_by_what_unpickles() -> None:
    found = {str(file.relative_to(ROOT)): readers(file.read_text(encoding="utf-8")) for file in SOURCES}
    assert len(found) > 200
    assert {file: len(names) for file, names in found.items() if names} == ALLOWED
