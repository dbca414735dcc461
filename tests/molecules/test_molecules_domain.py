"""domain=molecules as a user meets it: a function of one molecule, the files of a run, what is refused, the prior."""

from __future__ import annotations

import csv
import json
import math
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from egflow_molecules import energies, moses, prior
from egflow_molecules.decoders import mols
from egflow_molecules.domain import MoleculesDomain
from egflow_molecules.molecules import Molecules
from egflow_molecules.real_sample import real_molecules
from egflow_molecules.refine_prior import RefineSettings, own_draws, refine_prior, valid_smiles
from egflow_molecules.smiles import ALPHABET, PAD_ID, VOCAB_SIZE, decode, encode, tokenise, unknown_tokens
from egflow_molecules.train_prior import PriorSettings, read_settings, train_prior
from rdkit import Chem
from rdkit.Chem.Crippen import MolLogP
from safetensors.torch import save_file

import egflow
from egflow._account import ReportOptions
from egflow.cli._door import run
from egflow.flow import Flow, TokenFlow
from egflow.training import TrainingOptions, mix

TINY = "molecules.draws=200 molecules.real=100 trainer.steps=3 trainer.batch_size=32 trainer.progress=quiet n=30"
SCORE = """
from rdkit.Chem.Crippen import MolLogP

def score(mol):
    return -abs(MolLogP(mol) - 4)
"""
# of QM9's 130,831, which are all spelt and read back (docs/molecules.md), one for each of its rarer tokens
QM9 = [
    *("C#C", "FC(F)(F)F", "[NH3+]CCC([O-])=O", "NC(=[NH2+])C([O-])=O", "C[NH+]=C(N)C([O-])=O", "CC12C3C4C(C13)N24"),
    *("[NH2+]=C1[CH-]C(=O)C=CN1", "[NH2+]=CN[C-](C#N)C#N", "C12C3C4C5C(C1N35)N24", "NC(=[NH2+])C1=CN=N[N-]1"),
]


def train(words: str) -> int:
    return run("train", shlex.split(f"domain=molecules {TINY} {words}"))


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module", autouse=True)
def few() -> Iterator[None]:
    """Fewer real molecules to compare with, and fewer drawn: what a run takes longest for at these sizes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("egflow_molecules.domain._NEAR", 500)
        patch.setattr("egflow_molecules.domain._SHOWN", 200)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under a user's own score."""
    folder = tmp_path_factory.mktemp("molecules")
    (folder / "my.py").write_text(SCORE)
    assert train(f"score={folder}/my.py:score beta=1 run_dir={folder}/run molecules.sdf=true") == 0
    return folder


def test_a_function_in_a_file_gives_table_pictures_and_report(finished: Path) -> None:
    found = rows(finished / "run" / "samples.csv")
    assert len(found) == 30
    scores = [float(row["score"]) for row in found]
    assert scores == sorted(scores, reverse=True)
    for row, mol in zip(found, Molecules([row["SMILES"] for row in found]), strict=True):
        assert mol is not None  # what is no molecule is forbidden, and never delivered
        assert float(row["score"]) == pytest.approx(-abs(MolLogP(mol) - 4), abs=1e-5)
        assert float(row["log_likelihood"]) < 0 and 0 < float(row["similarity"]) <= 1
        assert row["nearest_known"] in real_molecules()
    files = {file.name for file in (finished / "run" / "figures").iterdir()}
    assert {"molecules.png", "molecules.svg", "properties.png", "energy.png", "loss.png"} <= files
    assert (finished / "run" / "samples.sdf").read_text().count("$$$$") == 30
    report = json.loads((finished / "run" / "report.json").read_text())
    assert report["reference"] == "base" and report["method"] == "twist"
    assert report["against_data"] is not None
    counts = report["domain_metrics"]
    assert counts["made"] == counts["valid"] == 30 and counts["unique"] >= counts["novel"]


def test_more_samples_and_another_account_of_the_run(finished: Path) -> None:
    more = f"run={finished}/run n=20 out={finished}/more correct=true score={finished}/my.py:score"
    assert run("sample", shlex.split(more)) == 0
    assert len(rows(finished / "more" / "samples.csv")) == 20
    again = f"run={finished}/run n=50 out={finished}/again score={finished}/my.py:score"
    assert run("evaluate", shlex.split(again)) == 0
    assert json.loads((finished / "again" / "report.json").read_text())["reference"] == "base"
    flow = Flow.load(finished / "run" / "model")
    assert isinstance(flow.decode(flow.sample(3, correct=False)), Molecules)


def test_own_molecules_tune_the_prior_and_a_scaffold_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.smi").write_text(
        "\n".join(["smiles name", *(f"{one} x" for one in real_molecules(60)), "C(", "CC.CC"])
    )
    words = f"data={tmp_path}/mine.smi energy='logp(target=2)' beta=1 run_dir={tmp_path}/run"
    assert train(f"{words} molecules.scaffold='c1ccc(*)cc1'") == 0
    said = capsys.readouterr().out
    assert "unreadable" in said and "with the scaffold" in said
    benzene = energies.HasSmarts("c1ccccc1")
    assert all(row["SMILES"] for row in rows(tmp_path / "run" / "samples.csv"))
    x = encode([row["SMILES"] for row in rows(tmp_path / "run" / "samples.csv")])
    assert egflow.energy.bind_decoders(benzene, {"mol": mols})(x).tolist() == [0.0] * 30


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("raise RuntimeError('no licence')", "no licence"),
        ("return None", "NoneType"),
        ("return float('nan')", "NaN"),
        ("return 'high'", "str"),
        ("return 1j", "complex"),
        ("return [1.0, 2.0]", "list"),
        ("import a_docking_program", "a_docking_program"),
    ],
)
def test_a_score_that_fails_says_so_in_one_line_and_leaves_nothing(
    body: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text(f"def score(mol):\n    {body}\n")
    assert train(f"score={tmp_path}/bad.py:score beta=1 run_dir={tmp_path}/run") == 2
    said = capsys.readouterr().err
    assert word in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_failing_score_can_be_forbidden_and_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = "def score(mol):\n    if mol.GetNumAtoms() > 24:\n        raise ValueError('too large')\n    return 0.0\n"
    (tmp_path / "some.py").write_text(code)
    assert train(f"score={tmp_path}/some.py:score beta=1 workers.on_failure=forbid run_dir={tmp_path}/run") == 0
    assert "too large" in capsys.readouterr().err
    assert all(mol.GetNumAtoms() <= 24 for mol in Molecules([r["SMILES"] for r in rows(tmp_path / "run/samples.csv")]))


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ("energy='lgp(target=4)'", "logp"),
        ("energy='logp(taget=4)'", "target"),
        ("energy='tanimoto(smiles=\"C(\")'", "tanimoto"),
        ("molecules.scaffold='c1ccccc1'", "molecules.scaffold"),
        ("molecules.scaffold='c1ccc(*'", "molecules.scaffold"),
        ("molecules.start=nothing", "prior or scratch"),
        ("molecules.filters=[pain]", "molecules.filters"),
        ("energy='qed(maximise=True)' rounds=auto molecules.scaffold='c1ccc(*)cc1'", "scaffold"),
        ("energy='qed(maximise=True)' rounds=auto max_calls=150", "max_calls"),
        ("data=nowhere.smi", "nowhere.smi"),
        ("molecules.draws=3", "molecules.draws"),
        ("molecules.scafold=C", "molecules.scaffold"),
    ],
)
def test_bad_input_is_one_line(words: str, word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(f"{words} beta=1 run_dir={tmp_path}/run") == 2
    said = capsys.readouterr().err
    assert word in said and len(said.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_the_prior_writes_molecules_and_knows_their_likelihood() -> None:
    flow = prior()
    x, log_q = flow.sample_with_log_prob(400, seed=1)
    valid = sum(flow.decode(x).valid) / 400
    assert valid > 0.967 - 4 * math.sqrt(0.967 * 0.033 / 400)  # .967 of 6,000, four standard errors of 400
    # drawn in bfloat16 where the processor has it, told in float32: a few hundredths of a nat
    assert (flow.log_prob(x) - log_q).abs().mean() < 0.1
    assert flow.log_prob(encode(real_molecules(200))).mean() == pytest.approx(-18.0, abs=1.5)
    assert len(set(decode(x))) >= 399


def test_every_real_molecule_is_spelt_and_read_back() -> None:
    smiles = real_molecules(5_000)
    assert decode(encode(smiles)) == smiles
    assert decode(encode(QM9)) == QM9
    assert len(ALPHABET) == len(set(ALPHABET)) == VOCAB_SIZE == PAD_ID
    assert "".join(tokenise("C[Hg]%10Cl")) == "C[Hg]%10Cl"
    assert unknown_tokens(["C[Hg]C", "CC"]) == {"[Hg]": 1}
    for wrong, word in (("C[Hg]C", "[Hg]"), ("", "0 tokens"), ("C" * 81, "81 tokens")):
        with pytest.raises(ValueError, match=word.replace("[", r"\[")):
            encode([wrong])


def test_in_python_energies_find_their_decoder_by_the_base() -> None:
    flow = egflow.tilt(
        prior(),
        energies.LogP(target=4),
        beta=2.0,
        draws=200,
        steps=3,
        batch_size=32,
        options=TrainingOptions(progress="quiet"),
        reporting=ReportOptions(n=100),
    )
    made = flow.decode(flow.sample(10))
    assert isinstance(made, Molecules) and all(made.valid)
    assert flow.domain == "molecules"


def test_a_search_logs_its_calls_and_keeps_its_best(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = "energy='celecoxib_rediscovery()' beta=50 rounds=auto max_calls=400"
    assert train(f"{words} run_dir={folder} molecules.filters=[lipinski]") == 0
    report = json.loads((folder / "report.json").read_text())
    assert report["method"] == "trajectory_balance" and report["rounds"]["beta_reached"] == 50
    assert report["energy_calls"]["calls"] <= 400
    calls = rows(folder / "calls.csv")
    assert [int(row["call"]) for row in calls] == list(range(1, report["rounds"]["calls"] + 1))
    assert {row["origin"] for row in calls} == {"draw", "edit"}
    items = [row["item"] for row in calls]
    assert len(set(items)) == len(items)
    energy = {row["item"]: float(row["energy"]) for row in calls}
    top = rows(folder / "top.csv")
    found = [float(row["energy"]) for row in top]
    assert len(top) == 100 and found == pytest.approx(sorted(energy.values())[:100], abs=1e-5)
    for row in top[:10]:
        molecule = Chem.MolFromSmiles(row["SMILES"])
        asked = energy[Chem.MolToSmiles(molecule)]
        assert asked == pytest.approx(-energies.score("celecoxib_rediscovery")(molecule))
        assert asked == pytest.approx(float(row["energy"]), abs=1e-5)
    funnel = report["domain_metrics"]
    assert funnel["passed"] <= funnel["novel"] <= funnel["unique"] <= funnel["valid"] <= funnel["made"] == 30


def test_the_prior_can_be_trained_again(tmp_path: Path) -> None:
    settings = read_settings(PriorSettings, [f"folder={tmp_path}", "steps=3", "width=16", "batch_size=8"])
    flow = train_prior(settings, encode(real_molecules(40)))
    again = Flow.load(tmp_path / "model")
    assert isinstance(again, TokenFlow) and (tmp_path / "model" / "weights.safetensors").stat().st_size < 60_000
    x = encode(real_molecules(5))
    torch.testing.assert_close(again.log_prob(x), flow.log_prob(x))
    with pytest.raises(SystemExit):
        read_settings(PriorSettings, ["stps=3"])


def test_a_prior_is_taught_by_its_own_mistakes(tmp_path: Path) -> None:
    """In its own draws what is invalid loses nearly all it is to lose, against what is valid."""
    x = encode(real_molecules(40))
    first = train_prior(PriorSettings(folder=f"{tmp_path}/first", steps=3, width=16, batch_size=8), x)
    given = {"start": f"{tmp_path}/first/model", "folder": f"{tmp_path}/second", "draws": 300, "beta": 2.0}
    settings = RefineSettings(**given, steps=150, batch_size=64, learning_rate=0.02)
    refined = refine_prior(settings)
    again = Flow.load(tmp_path / "second" / "model")
    drawn = own_draws(refined, settings)  # from their files
    x, valid = drawn["x"].long(), drawn["valid"]
    assert valid.tolist() == valid_smiles(decode(x)) and 0.0 < float(valid.float().mean()) < 1.0
    torch.testing.assert_close(drawn["log_p"], first.log_prob(x), atol=1e-2, rtol=0.0)  # saved in float16
    gain = again.log_prob(x) - drawn["log_p"]
    assert float(gain[valid].mean() - gain[~valid].mean()) > 1.0  # of 2, after 150 steps
    with pytest.raises(ValueError, match="all of the 4 draws are valid"):
        sure = replace(settings, folder=f"{tmp_path}/third", draws=4)
        part = {
            "x": encode(["CC"] * 4).to(torch.uint8),
            "log_p": torch.zeros(4).double(),
            "valid": torch.ones(4).bool(),
        }
        name = next((tmp_path / "second").glob("draws-*")).name
        (tmp_path / "third" / name).mkdir(parents=True)
        save_file(part, tmp_path / "third" / name / f"0000-4-{mix(0, 5, 0) % 10**9}.safetensors")
        refine_prior(sure)
    with pytest.raises(ValueError, match="another beta"):
        refine_prior(replace(settings, beta=5.0))


def test_moses_that_was_not_fetched_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m egflow_molecules\.moses"):
        moses.smiles("train", tmp_path)
    (tmp_path / "train.csv.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="delete it and fetch it again"):
        moses.smiles("train", tmp_path)
    with pytest.raises(ValueError, match="not 'valid'"):
        moses.smiles("valid", tmp_path)


def test_options_of_the_domain_are_checked() -> None:
    assert MoleculesDomain(real=150).data(None, seed=0).x.shape == (150, 80)
    assert MoleculesDomain(start="scratch").network(MoleculesDomain(real=100).data(None, 0)).width == 256  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"molecules\.sdf"):
        MoleculesDomain(sdf=1)  # type: ignore[arg-type]
