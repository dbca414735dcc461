"""Metrics of sets of molecules: beside molsets' own, and where the answer can be worked out by hand."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rdkit
import torch
from egflow_molecules import _metrics_fingerprints, metrics
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator

# molsets 0.3.1's get_all_metrics on `judged` against `test`, `scaffold_test` and `train` (these three canonical and
# valid, as it wants them), RDKit 2026.9.1, with scipy.histogram = numpy.histogram, rdkit.six = six, numpy.NaN, and
# pandas.concat in place of DataFrame.append. Its FCD there is 7.271944 and 8.059035, ours the same to 1e-6.
MOLSETS = {
    "valid": 0.9951219512195122,
    "unique@400": 1.0,
    "novelty": 0.75,
    "SNN/test": 0.43529981626745534,
    "SNN/testSF": 0.4321933913902909,
    "Frag/test": 0.7559963572722378,
    "Frag/testSF": 0.6983502553291314,
    "Scaf/test": 0.3009105753035308,
    "Scaf/testSF": 0.3554505628398483,
    "IntDiv": 0.8800724128068571,
    "IntDiv2": 0.854828331252604,
    # its WassersteinMetric on the first 100 and 200
    "logP": 0.6741091000000003,
    "SA": 0.2918407550028754,
    "QED": 0.03664315646454517,
    "weight": 13.346030000000006,
}
SET = ["CCO", "c1ccccc1", "CC(=O)Nc1ccc(O)cc1", "c1ccc2ccccc2c1"]
OTHER = ["FC(F)F", "[Na+].[Cl-]"]


@pytest.fixture(scope="module")
def sets() -> dict[str, list[str]]:
    lines = (Path(rdkit.__file__).parent / "Data" / "NCI" / "first_5K.smi").read_text().splitlines()
    nci = [line.split()[0] for line in lines if line.strip()]
    judged = nci[:400] + nci[:8] + ["C(", "CC(C)(C)(C)C"]
    return {"judged": judged, "test": nci[400:1600], "scaffold_test": nci[1600:2400], "train": nci[300:700]}


def test_agrees_with_molsets(sets: dict[str, list[str]]) -> None:
    judged, test, scaffold_test = (sets[name] for name in ("judged", "test", "scaffold_test"))
    bits = metrics.fingerprints(judged)
    fragments, scaffolds = metrics.fragments(judged), metrics.scaffolds(judged)
    ours = {
        "valid": metrics.valid(judged),
        "unique@400": metrics.unique(judged, 400),
        "novelty": metrics.novelty(judged, sets["train"]),
        "SNN/test": metrics.snn(bits, test),
        "SNN/testSF": metrics.snn(bits, scaffold_test),
        "Frag/test": metrics.frag(fragments, test),
        "Frag/testSF": metrics.frag(fragments, scaffold_test),
        "Scaf/test": metrics.scaf(scaffolds, test),
        "Scaf/testSF": metrics.scaf(scaffolds, scaffold_test),
        "IntDiv": metrics.internal_diversity(bits),
        "IntDiv2": metrics.internal_diversity(bits, p=2),
    }
    assert ours | metrics.wasserstein(judged[:100], test[:200]) == pytest.approx(MOLSETS, abs=2e-7)


def test_a_set_beside_itself() -> None:
    again = [Chem.MolFromSmiles(smiles) for smiles in reversed(SET)]
    assert metrics.novelty(SET, again) == 0
    assert [metric(SET, again) for metric in (metrics.snn, metrics.frag, metrics.scaf)] == pytest.approx([1, 1, 1])
    assert metrics.wasserstein(SET, again) == pytest.approx(dict.fromkeys(("logP", "SA", "QED", "weight"), 0))


def test_sets_with_nothing_in_common() -> None:
    assert metrics.novelty(SET, OTHER) == 1
    assert metrics.frag(["CCO"], OTHER) == 0
    assert metrics.snn(["[Na+]"], ["FC(F)F"]) == 0
    assert metrics.scaf(["c1ccc2ccccc2c1"], ["c1ccc2[nH]ccc2c1"]) == 0
    assert metrics.internal_diversity(["[Na+]", "[Cl-]"]) == 0.5  # two of the four pairs are of one with itself


def test_one_molecule() -> None:
    one = ["CCO"]
    assert metrics.valid(one) == metrics.unique(one) == metrics.novelty(one, []) == 1
    assert metrics.internal_diversity(one) == 0
    assert metrics.wasserstein(one, ["OCC", "CCO"])["weight"] == 0
    assert metrics.wasserstein(one, ["C"])["weight"] == pytest.approx(46.069 - 16.043)


def test_shares() -> None:
    drawn = ["CCO", "OCC", "C(", "", "CCC", "C=C"]
    assert metrics.valid(drawn) == pytest.approx(4 / 6)
    assert (metrics.unique(drawn), metrics.unique(drawn, 2), metrics.unique(drawn, 3)) == (3 / 4, 1 / 2, 2 / 3)
    assert metrics.novelty(drawn, ["OCC", "C=C"]) == pytest.approx(1 / 3)
    assert metrics.novelty(drawn, ["OCC", "C=C"], known_canonical=True) == pytest.approx(2 / 3)
    assert metrics.canonical(["OCC", None, Chem.MolFromSmiles("")]) == ["CCO"]


def test_counts_of_parts() -> None:
    # BRICS cuts phenetole on both sides of its oxygen: three fragments
    assert metrics.frag(["CCOc1ccccc1"], Counter({"[3*]O[3*]": 1})) == pytest.approx(1 / math.sqrt(3))
    assert metrics.scaffolds(["Cc1ccc(-c2ccccc2)cc1", "Cc1ccccc1", "CCO"]) == {"c1ccc(-c2ccccc2)cc1": 1}
    assert math.isnan(metrics.scaf(["CCO"], ["c1ccc2ccccc2c1"]))


@pytest.mark.parametrize("kind", ["bfloat16", "float32"])
def test_similarities_are_rdkits(kind: str, sets: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_metrics_fingerprints, "_kind", lambda *sets: getattr(torch, kind))
    monkeypatch.setattr(_metrics_fingerprints, "_ROWS", 16)
    monkeypatch.setattr(_metrics_fingerprints, "_COLUMNS", 7)
    x, y = sets["judged"][:50], sets["test"][:40]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    first, second = ([generator.GetFingerprint(Chem.MolFromSmiles(s)) for s in metrics.canonical(z)] for z in (x, y))
    exact = np.array([DataStructs.BulkTanimotoSimilarity(one, second) for one in first])
    bits, reference = metrics.fingerprints(x), metrics.fingerprints(y)
    np.testing.assert_allclose(metrics.nearest(bits, reference), exact.max(1), rtol=1e-12)
    np.testing.assert_allclose(metrics.mean_similarity(bits, reference), exact.mean(1), rtol=1e-6)
    np.testing.assert_allclose(metrics.mean_similarity(bits, reference, 2), (exact**2).mean(1) ** 0.5, rtol=1e-6)


def test_similarity_without_bits() -> None:
    nothing = np.zeros((1, 128), np.uint8)
    assert metrics.nearest(nothing, nothing).tolist() == [1]
    assert metrics.nearest(nothing, ~nothing).tolist() == [0]
    assert metrics.nearest(~nothing, ~nothing).tolist() == [1]  # 1,024 bits: more than bfloat16 counts


def test_wasserstein_of_unlike_sizes() -> None:
    assert metrics.wasserstein_1([0, 1], [0, 0, 3, 3]) == pytest.approx(1.0)
    assert metrics.wasserstein_1([2.0], [0, 4]) == 2


def test_frechet_distance_of_normals() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((500, 6)) @ generator.standard_normal((6, 6))
    one = metrics.Moments.of(x)
    np.testing.assert_allclose(one.covariance, np.cov(x.T), rtol=1e-10)
    assert metrics.frechet(one, one) == pytest.approx(0, abs=1e-10)
    # moved by d and stretched by s about its mean: |d|^2 + (s - 1)^2 Tr C
    moved = metrics.Moments.of(x[:200] * 3 + 2) + metrics.Moments.of(x[200:] * 3 + 2)
    gap = float(((2 * x + 2).mean(0) ** 2).sum())
    assert metrics.frechet(one, moved) == pytest.approx(gap + 4 * np.trace(np.cov(x.T)))
    with pytest.raises(ValueError, match="two molecules at least; got 500 and 1"):
        metrics.frechet(one, metrics.Moments.of(x[:1]))


def test_fcd_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcd_torch", None)
    with pytest.raises(ImportError, match=r"pip install --no-deps fcd_torch==1\.0\.7"):
        metrics.fcd(SET, SET)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.valid([]), "no molecule in the set"),
        (lambda: metrics.unique(["C("]), "no valid molecule in the set"),
        (lambda: metrics.unique(["C"], 2), "k=2 takes as many valid molecules; there are 1"),
        (lambda: metrics.internal_diversity(["C("]), "no valid molecule in the set"),
        (lambda: metrics.snn(["C"], []), "no valid molecule in the set"),
        (lambda: metrics.wasserstein(["C"], []), "from nothing"),
    ],
)
def test_refuses_what_has_no_answer(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_refuses_what_is_no_list() -> None:
    with pytest.raises(TypeError, match="put it in a list"):
        metrics.valid("CCO")
    with pytest.raises(TypeError, match="not 3"):
        metrics.valid([3])  # type: ignore[list-item]
