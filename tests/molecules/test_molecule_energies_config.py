"""Energies as plain data: the same in YAML as in Python, and one clear line for a mistake."""

import math
import re
from pathlib import Path
from typing import Any

import egflow_molecules.energies as energies
import pytest
import torch
from egflow_molecules._rdkit import mol_from_smiles
from omegaconf import OmegaConf

from egflow import EnergyModel
from egflow.energy import bind_decoders

SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "O=[N+]([O-])c1ccccc1", "CCCCCCCCCC", "C("]

YAML = """
sum:
  - energy: logp
    target: 4
    weight: 2
  - energy: qed
    maximise: true
    clip: [-0.5, null]
  - energy: lacks_smarts
    smarts: "[N+](=O)[O-]"
    forbid: true
  - sum:
      - {energy: tanimoto, smiles: "Oc1ccccc1", fp: fcfp4}
      - energy: mw
        range: [null, 1.5e2]
        scale: 100
    weight: 0.5
clip: [-10, 10]
"""


def values(energy: EnergyModel) -> list[float]:
    decoders = {"mol": lambda x: [mol_from_smiles(SMILES[int(row)]) for row in x[:, 0]]}
    return bind_decoders(energy, decoders)(torch.arange(len(SMILES))[:, None]).tolist()


def in_python() -> EnergyModel:
    return (
        energies.LogP(target=4) * 2
        + energies.QED(maximise=True).clip(-0.5)
        + energies.LacksSmarts("[N+](=O)[O-]", forbid=True)
        + 0.5 * (energies.Tanimoto("Oc1ccccc1", fp="fcfp4") + energies.MW(range=(None, 150), scale=100))
    ).clip(-10, 10)


def test_yaml_is_as_python(tmp_path: Path):
    (tmp_path / "energy.yaml").write_text(YAML)
    expected = values(in_python())
    assert [math.isfinite(value) for value in expected] == [True, False, True, False]
    assert values(energies.load_yaml(tmp_path / "energy.yaml")) == expected
    assert values(energies.PRESETS["yaml"](file=str(tmp_path / "energy.yaml"))) == expected
    spec = OmegaConf.create(YAML)
    assert values(energies.from_config(OmegaConf.to_container(spec))) == expected
    assert values(energies.from_config(spec)) == expected


def test_the_clip_comes_before_the_weight():
    energy = energies.from_config({"energy": "logp", "maximise": True, "clip": [-1, 0], "weight": 3})
    assert energy.describe() == "3*logp(maximise=True).clip(-1, 0)"


def test_a_task_and_a_single_energy():
    assert energies.from_config({"energy": "median1"}).describe() == "median1"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("logp", "this is 'logp'; write a structure with energy: or sum:"),
        ({}, "there is neither energy: nor sum:, but nothing; write energy: NAME, or sum: [...]"),
        ({"enregy": "logp"}, "there is neither energy: nor sum:, but 'enregy'"),
        ({"energy": "logp", "sum": []}, "there is both energy: and sum:"),
        ({"energy": "lopg"}, "unknown energy 'lopg'; did you mean 'logp'?"),
        ({"energy": ["qed"]}, "unknown energy ['qed']; did you mean"),
        ({"energy": 5}, "unknown energy 5; known are qed, logp"),
        ({"energy": "yaml", "file": "other.yaml"}, "unknown energy 'yaml'"),
        ({"energy": "logp", "taget": 4}, "unknown argument 'taget' of logp; did you mean 'target'?"),
        ({"energy": "logp", "target": "4"}, "target of logp is '4'; give a finite number"),
        ({"energy": "logp"}, "logp has no direction; give logp one of target="),
        ({"sum": "logp"}, "sum is 'logp'; give a list of structures, one or more"),
        ({"sum": []}, "sum is []; give a list of structures, one or more"),
        ({"sum": [{"energy": "pains"}], "wieght": 2}, "unknown key 'wieght' beside sum; did you mean 'weight'?"),
        (
            {"sum": [{"energy": "pains"}], "target": 2},
            "unknown key 'target' beside sum; beside sum there may be weight",
        ),
        (
            {"sum": [{"energy": "pains"}, {"energy": "brnek"}]},
            "in sum[1]: unknown energy 'brnek'; did you mean 'brenk'?",
        ),
        ({"sum": [{"sum": [{"energy": "tanimoto", "smiles": "C("}]}]}, "in sum[0].sum[0]: smiles of tanimoto is 'C('"),
        ({"energy": "pains", "weight": "2"}, "the factor of an energy is a str; give a finite number"),
        ({"energy": "pains", "weight": None}, "the factor of an energy is a NoneType; give a finite number"),
        ({"energy": "pains", "clip": 2}, "clip is 2; give two numbers, clip: [lo, hi], null for an open end"),
        ({"energy": "pains", "clip": [2, 1]}, "clip has lo=2 above hi=1; give lo <= hi"),
        ({"energy": "pains", "clip": [None, None]}, "clip has neither lo nor hi"),
    ],
)
def test_one_line_for_each_mistake(spec: Any, message: str):
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        energies.from_config(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy: [", "cannot be read as YAML: while parsing a flow"),
        ("energy: pains\nenergy: brenk", "cannot be read as YAML: .*duplicate key energy"),
        ("energy: !!python/object/apply:os.getcwd []", "cannot be read as YAML: could not determine a constructor"),
        ("energy: logp\ntarget: ???", "cannot be read as YAML: Missing mandatory value: target"),
        ("energy: logp\ntarget: ${oc.env:HOME}", "target of logp is .*oc.env:HOME.*; give a finite number"),
        ("just a text", "there is neither energy: nor sum:, but 'just a text'"),
        ("", "there is neither energy: nor sum:, but nothing"),
        ("- energy: pains", r"this is \[.*\]; write a structure with energy: or sum:"),
        ("energy: has_smarts\nsmarts: [N]", r"smarts of has_smarts is a list; give a SMARTS as text"),
    ],
)
def test_one_line_for_each_mistake_in_a_file(text: str, message: str, tmp_path: Path):
    file = tmp_path / "energy.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))}:? .*(?:{message})") as caught:
        energies.load_yaml(file)
    assert "\n" not in str(caught.value)


def test_no_such_file():
    with pytest.raises(FileNotFoundError, match=r"^there is no file nowhere\.yaml; give the YAML file"):
        energies.load_yaml("nowhere.yaml")
