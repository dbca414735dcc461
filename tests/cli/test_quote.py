"""What is typed inside one pair of shell quotes arrives as typed."""

from __future__ import annotations

import random
import shlex
from pathlib import Path

import pytest
from cli_shell import shell
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from egflow.cli._compose import Arguments, compose, hydra_overrides
from egflow.cli._quote import is_plain, quote, split_sweep

UGLY = [
    "C[C@@H](N)C(=O)[O-]",
    "C/C=C\\C",
    "[#6;R]~[#7,#8]",
    "a file (1), v=2 @home #3.csv",
    "it's",
    "'quoted'",
    '"quoted"',
    "\\",
    "ends in \\\\",
    "\\'",
    "${oc.env:HOME}",
    "\\${x}",
    "${",
    "",
    "  spaces  ",
    "a=b,c={d}",
    "null?",
    "1e5",
    "true",
    "naïve – 数据",
]


@pytest.mark.parametrize("text", UGLY)
@pytest.mark.parametrize("key", ["data", "energy", "run_dir"])
def test_text_arrives_as_typed(key: str, text: str) -> None:
    assert compose("train", Arguments.read([f"{key}={text}"]))[key] == text


def test_any_text_arrives_as_typed() -> None:
    draw = random.Random(0)
    parser = OverridesParser.create()
    for _ in range(1000):
        text = "".join(draw.choice("ab()[]{}=#@,: '\"\\$.-%~") for _ in range(draw.randrange(1, 12)))
        value = parser.parse_override(f"data={quote(text)}").value()
        assert OmegaConf.create({"data": value}).data == text


def test_through_a_shell(tmp_path: Path) -> None:
    text = "[O-][N+](=O)c1ccc(F)cc1, {a} #2 @b\\C=C"
    result = shell(f"python -m egflow.train --cfg data={shlex.quote(text)} seed=7 resume=true score=null", tmp_path)
    assert result.returncode == 0, result.stderr
    shown = OmegaConf.to_container(OmegaConf.create(result.stdout))
    assert isinstance(shown, dict)
    assert (shown["data"], shown["seed"], shown["resume"], shown["score"]) == (text, 7, True, None)


def test_plain_values_keep_their_type() -> None:
    settings = compose("train", Arguments.read(["beta=[0,8]", "n=10", "resume=true", "data=null", "toy.n_data=30"]))
    assert (settings["beta"], settings["n"], settings["resume"], settings["data"]) == ([0, 8], 10, True, None)
    assert settings["toy"]["n_data"] == 30


@pytest.mark.parametrize("text", ["1", "-.5e-3", "[0, 8]", "[]", "null", "True"])
def test_numbers_and_their_lists_are_plain(text: str) -> None:
    assert is_plain(text)


@pytest.mark.parametrize("text", ["[OH]", "1.5x", "c1ccccc1", "(1)"])
def test_text_is_not_plain(text: str) -> None:
    assert not is_plain(text)


def test_a_sweep_is_cut_outside_of_brackets() -> None:
    assert split_sweep("[#6,#7],f(a,b),c") == ["[#6,#7]", "f(a,b)", "c"]
    overrides = hydra_overrides("train", Arguments.read(["--multirun", "data=rings,moons", "energy=f(a,b)"]))
    assert overrides == ["data='rings','moons'", "energy='f(a,b)'"]
