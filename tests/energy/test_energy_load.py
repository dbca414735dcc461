"""Energies by name: found, or one clear line."""

import textwrap

import pytest
import torch

from egflow.energy import EnergyModel, evaluate, load_energy

X = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

GOOD = """
import torch
from egflow.energy import EnergyModel, as_energy

def height(x):
    return x[:, 1]

@as_energy(batch=False)
def decorated(x):
    return float(x[1])

class Model(EnergyModel):
    def forward(self, x, condition=None):
        return x[:, 1]

class Picky(EnergyModel):
    def __init__(self, scale):
        super().__init__()

class NoEnergy:
    pass

model = Model()
network = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.Flatten(0))
number = 3

def nothing():
    return 0
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    (tmp_path / "good.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "good.py"


@pytest.mark.parametrize("name", ["height", "decorated", "Model", "model"])
def test_from_a_file_absolute_and_relative(file, name):
    for text in (f"{file}:{name}", f"good.py:{name}", f"./good.py:{name}"):
        energy = load_energy(text)
        assert isinstance(energy, EnergyModel) and evaluate(energy, X).values.tolist() == [2.0, 4.0]
    assert load_energy("good.py:height").describe() == "good.py:height"
    assert isinstance(load_energy("good.py:network"), EnergyModel)


def test_by_dotted_name(file, tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("")
    (tmp_path / "pack" / "inner.py").write_text(GOOD)
    assert evaluate(load_energy("pack.inner.height"), X).values.tolist() == [2.0, 4.0]
    assert evaluate(load_energy("pack.inner.model"), X).values.tolist() == [2.0, 4.0]
    assert load_energy("pack.inner.height").describe() == "height"
    assert isinstance(load_energy("torch.sum"), EnergyModel), "a compiled function has no signature to object to"
    assert isinstance(load_energy("torch.nn.functional.relu"), EnergyModel)


def test_a_changed_file_is_read_again(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def f(x):\n    return x[:, 0]\n")
    assert evaluate(load_energy(f"{file}:f"), X).values.tolist() == [1.0, 3.0]
    file.write_text("def f(x):\n    return x[:, 0] + 10\n")
    assert evaluate(load_energy(f"{file}:f"), X).values.tolist() == [11.0, 13.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("god.py:height", r"there is no file .*god\.py\. Did you mean good\.py\?"),
        ("nowhere/god.py:height", r"there is no file .*nowhere/god\.py\.$"),
        ("good.py:hight", r"good\.py has no function hight\. Did you mean height\?"),
        ("good.py:qqqq", r"has no function qqqq\. It has: .*height"),
        ("good.py:", "name it after the colon"),
        ("good.py", "write good.py:function"),
        ("good.py:number", "this is a int"),
        ("good.py:nothing", "takes no batch"),
        ("good.py:NoEnergy", "NoEnergy is a class"),
        ("good.py:Picky", "Picky cannot be made without arguments: TypeError: .*scale"),
        ("good.hight", r"good has no function hight\. Did you mean height"),
        ("good.Model.nope", r"good\.Model has no function nope"),
        ("nosuchpackage.energy", "there is no module nosuchpackage"),
        ("height", "neither package.module.name nor file.py:function"),
        ("good.txt:height", "neither package.module.name nor file.py:function"),
        ("", "neither"),
        ("..", "neither"),
    ],
)
def test_one_clear_line(file, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_energy(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "x = 1\nraise RuntimeError('no\\nlicence')",
            r"failed at import: RuntimeError: no licence \(broken\.py, line 2\)",
        ),
        ("import nosuchmodule", r"ModuleNotFoundError: No module named 'nosuchmodule'"),
        ("def f(x:\n", r"SyntaxError.*line 1"),
        ("raise SystemExit(3)", r"SystemExit: 3"),
    ],
)
def test_code_that_raises_at_import(tmp_path, monkeypatch, source, message):
    (tmp_path / "broken.py").write_text(textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for text in ("broken.py:f", "broken.f"):
        with pytest.raises(ValueError, match=message) as caught:
            load_energy(text)
        assert "\n" not in str(caught.value)
