"""PMO's tasks: values worked out by hand, and guacamol's own."""

import math

import egflow_molecules.energies as energies
import pytest
import torch
from egflow_molecules._rdkit import parse_smiles
from egflow_molecules.energies import score
from egflow_molecules.energies._formula import atoms
from egflow_molecules.energies._modifiers import arithmetic, at_least, at_most, gaussian, geometric, up_to
from rdkit import Chem

from egflow.energy import bind_decoders

# What guacamol 0.5.5 gives with RDKit 2026.9.1. Its `standard_benchmarks.py` was imported from the wheel on PyPI with
# two shims (an empty module `fcd`, and `scipy.histogram = numpy.histogram`, which these scores never call), and each
# benchmark's `objective.score(smiles)` printed: `similarity(…)` for similarities and rediscoveries, `decoration_hop()`
# for deco_hop, `hard_osimertinib()`, and so on. What is below 1e-12 stands as 0. TDC's oracle.py (PyTDC 1.1.15), run on
# the same molecules, gave the same numbers.
MOLECULES = (
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(C)(C)NCC(O)c1ccc(F)c(CO)c1",
    "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "C=CC(=O)Nc1cc(Nc2nccc(-c3cn(C)c4ccccc34)n2)c(OC)cc1N(C)CCN(C)C",
    "CC(C)(C(=O)O)c1ccc(C(O)CCCN2CCC(C(O)(c3ccccc3)c3ccccc3)CC2)cc1",
    "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C",
    "CCN(C(C)=O)c1cccc(-c2ccnc3c(C#N)cnn23)c1",
    "CCOC(=O)C(CCc1ccccc1)NC(C)C(=O)N1CCc2ccccc2C1C(=O)O",
    "CN(Cc1ccc(-c2ccccc2S(N)(=O)=O)cc1)C(C)=O",
    "CC(=O)Nc1ccc(NO)cn1",
    "Cc1cc(F)cc(F)c1N(CCl)P(C)(=O)O",
    "CCCc1nn(C)c2c(=O)[nH]c(-c3cc(S(=O)(=O)N4CCN(C)CC4)ccc3OCC)nc12",
)

# fmt: off
GUACAMOL = {
    "albuterol_similarity": (0.23529412, 1, 0.1980198, 0.17171717, 0.29268293, 0.25225225, 0.2962963, 0.27380952,
        0.31372549, 0.29166667, 0.3047619, 0.22792023),
    "amlodipine_mpo": (0.0085397107, 0.0063252908, 0.36023741, 0.15066985, 0.13991713, 0.14480138, 0.39302868,
        0.4868645, 0.16090441, 0.006105213, 0.0061625402, 0.1460135),
    "celecoxib_rediscovery": (0.11578947, 0.11538462, 1, 0.15131579, 0.16556291, 0.17910448, 0.19298246, 0.14184397,
        0.2970297, 0.10638298, 0.12, 0.16428571),
    "deco_hop": (0.50915033, 0.52112015, 0.53618114, 0.58763838, 0.51701717, 0.5, 0.55111562, 0.51726272, 0.51975097,
        0.52071251, 0.51072519, 0.56315734),
    "fexofenadine_mpo": (0.14855347, 0.047684866, 0.40646089, 0.52580354, 0.59734026, 0.39857213, 0.36148814,
        0.63476095, 0.48238737, 0.27726434, 0.0070286626, 0.55153849),
    "isomers_c7h8n2o2": (0.27253179, 4.1829683e-12, 1.8283904e-11, 0, 0, 0, 1.4969595e-11, 0, 0, 0.74081822,
        0.049787068, 0),
    "isomers_c9h10n2o2pf2cl": (0.1849814, 0.00011593278, 0.0003742356, 0, 0, 0, 0.00021323302, 0, 3.9444143e-05,
        0.26914635, 0.8824969, 0),
    "median1": (0.039830418, 0.064348945, 0.017674908, 0.030024029, 0.076200076, 0.034581587, 0.031083494, 0.067115606,
        0.032890911, 0.041169348, 0.052093226, 0.064749877),
    "median2": (0.09552009, 0.076832205, 0.12965582, 0.14078077, 0.11125889, 0.13608276, 0.11236664, 0.12279108,
        0.12507483, 0.067525791, 0.066779184, 0.36237154),
    "mestranol_similarity": (0.091503268, 0.23649337, 0.064078866, 0.11034483, 0.23634337, 0.1180891, 0.11619463,
        0.22336182, 0.10350076, 0.066666667, 0.096899225, 0.15902141),
    "osimertinib_mpo": (0.12951288, 0.035208459, 0.18175081, 0.13334172, 0.037492235, 0.073810443, 0.24051806,
        0.49849481, 0.41249086, 0.28319719, 0.0043744154, 0.72928935),
    "perindopril_mpo": (0.11873258, 0.1001241, 0.062631955, 0.0047434736, 0.13172197, 0.005010254, 0.09196986,
        0.5845226, 0.25503069, 0.091026555, 0.079524076, 0.13362911),
    "qed": (0.5501218, 0.75231898, 0.75410533, 0.31053481, 0.34130592, 0.41813585, 0.74526408, 0.58474655, 0.93570719,
        0.57044083, 0.52069896, 0.55340461),
    "ranolazine_mpo": (0.0073328929, 0.01059342, 0.066351081, 0.27740491, 0.50611035, 0.40634853, 0.046270993,
        0.070219067, 0.023307655, 0.0038313544, 0.031573139, 0.017263448),
    "scaffold_hop": (0.34716049, 0.36524823, 0.38800705, 0.46576466, 0.35904817, 0.66666667, 0.41057471, 0.35941922,
        0.36317924, 0.36463224, 0.34954028, 0.42877109),
    "sitagliptin_mpo": (0.00019548862, 0.0053102496, 0.00043553654, 0, 0, 0, 0.096916974, 2.1087366e-06, 0.2428874,
        3.5455389e-05, 9.0497893e-07, 1.2868623e-07),
    "thiothixene_rediscovery": (0.14285714, 0.12068966, 0.20930233, 0.21935484, 0.21794872, 0.1862069, 0.18110236,
        0.19047619, 0.27192982, 0.082568807, 0.10526316, 0.30147059),
    "troglitazone_rediscovery": (0.12037037, 0.11965812, 0.1294964, 0.14457831, 0.12352941, 0.16891892, 0.11851852,
        0.15789474, 0.15873016, 0.091743119, 0.10434783, 0.17880795),
    "valsartan_smarts": (0, 0, 0, 0, 0, 0, 0, 0, 0.15891851, 0, 0, 0),
    "zaleplon_mpo": (1.6660419e-07, 0.024722775, 0.22648467, 0, 0, 0.0018141122, 0.46649872, 3.5202338e-08, 0.27099709,
        8.7170906e-08, 2.8115373e-05, 6.2293587e-08),
}
# fmt: on


@pytest.mark.parametrize("task", GUACAMOL)
def test_scores_are_guacamols(task: str):
    found = [score(task)(parse_smiles(smiles)) for smiles in MOLECULES]
    assert found == pytest.approx(GUACAMOL[task], rel=1e-6, abs=1e-12)
    assert all(type(one) is float and 0 <= one <= 1 for one in found)


def test_the_tasks_are_pmos_without_the_classifiers():
    assert list(energies.TASKS) == sorted(GUACAMOL) and len(energies.TASKS) == 20


def of(task: str, smiles: str) -> float:
    return score(task)(parse_smiles(smiles))


def test_a_drug_is_its_own_rediscovery():
    assert of("celecoxib_rediscovery", "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F") == 1
    assert of("troglitazone_rediscovery", "CC1=C(C2=C(CCC(O2)(C)COC3=CC=C(C=C3)CC4C(=O)NC(=O)S4)C(=C1O)C)C") == 1
    assert of("thiothixene_rediscovery", "CN1CCN(CC1)CCC=C2C3=CC=CC=C3SC4=C2C=C(C=C4)S(=O)(=O)N(C)C") == 1
    assert of("albuterol_similarity", "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1") == 1
    assert of("mestranol_similarity", "C[C@]12CC[C@H]3[C@@H](CCc4cc(OC)ccc34)[C@@H]1CC[C@@]2(O)C#C") == 1


def test_isomers_by_hand():
    assert of("isomers_c7h8n2o2", "Cc1cc(N)c([N+](=O)[O-])cc1") == pytest.approx(1)
    # one CH2 more: C 1 off, H 2 off, 3 atoms too many; five parts
    off = math.exp(-(1 / 2 + 4 / 2 + 9 / 8) / 5)
    assert of("isomers_c7h8n2o2", "CCc1cc(N)c([N+](=O)[O-])cc1") == pytest.approx(off)
    assert of("isomers_c9h10n2o2pf2cl", "NP(Cl)c1c(F)c(F)c(C(=O)CC)c(NO)c1") == pytest.approx(1)


def test_drugs_in_their_own_multi_property_tasks_by_hand():
    # zaleplon is C17H15N5O and C19H17N3O2 is wanted: C, H and N 2 off, O 1 off, 3 atoms too few
    isomer = math.exp(-(2 + 2 + 2 + 1 / 2 + 9 / 8) / 5)
    assert of("zaleplon_mpo", "CCN(C(C)=O)c1cccc(-c2ccnc3c(C#N)cnn23)c1") == pytest.approx(math.sqrt(isomer))
    amlodipine, perindopril = (
        "CCOC(=O)C1=C(COCCN)NC(C)=C(C(=O)OC)C1c1ccccc1Cl",
        "CCOC(=O)C(CCC)NC(C)C(=O)N1C(C(=O)O)CC2CCCCC21",
    )
    assert of("amlodipine_mpo", amlodipine) == pytest.approx(math.exp(-2 / 2))  # 2 rings of 3: sqrt(1 · exp(−2))
    assert of("perindopril_mpo", perindopril) == pytest.approx(math.exp(-8 / 2))  # no aromatic ring of 2
    sitagliptin = "NC(CC(=O)N1CCn2c(C1)nnc2C(F)(F)F)Cc1cc(F)c(F)cc1F"
    assert of("sitagliptin_mpo", sitagliptin) == pytest.approx(math.exp(-50 / 4))  # all but unlikeness is right


def test_hops_and_medians_by_hand():
    parent = "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C"
    assert of("deco_hop", parent) == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert of("scaffold_hop", parent) == pytest.approx((1 + 1 + 0) / 3)
    camphor, menthol = "CC1(C)C2CCC1(C)C(=O)C2", "CC(C)C1CCC(C)CC1O"
    assert of("median1", camphor) == pytest.approx(of("median1", menthol))
    assert of("valsartan_smarts", "c1ccccc1") == 0


def test_qed_is_the_property():
    assert of("qed", "CC(=O)Oc1ccccc1C(=O)O") == pytest.approx(0.5501, abs=5e-5)


def test_modifiers_and_means():
    assert gaussian(3.0, 2.0, 1.0) == gaussian(1.0, 2.0, 1.0) == pytest.approx(math.exp(-0.5))
    assert at_most(1.0, 2.0, 1.0) == 1 and at_most(3.0, 2.0, 1.0) == pytest.approx(math.exp(-0.5))
    assert at_least(3.0, 2.0, 1.0) == 1 and at_least(1.0, 2.0, 1.0) == pytest.approx(math.exp(-0.5))
    assert up_to(0.3, 0.6) == 0.5 and up_to(0.7, 0.6) == 1
    assert arithmetic(0.0, 0.5, 1.0) == 0.5 and geometric(0.25, 0.25, 0.25) == pytest.approx(0.25)


def test_atoms_are_counted_with_hydrogens_of_every_kind():
    explicit = Chem.AddHs(parse_smiles("CC[NH3+]"))
    assert atoms(explicit) == atoms(parse_smiles("CC[NH3+]")) == {"C": 2, "N": 1, "H": 8}
    assert atoms(parse_smiles("[2H]C")) == {"C": 1, "H": 4}


def test_energies_are_minus_the_score():
    smiles = MOLECULES[:3]
    decoders = {"mol": lambda x: [None if row == 3 else parse_smiles(smiles[row]) for row in x[:, 0].tolist()]}
    for name in ("osimertinib_mpo", "albuterol_similarity", "qed"):
        energy = bind_decoders(energies.Task(name), decoders)
        assert energy.describe() == name
        assert energy(torch.arange(4)[:, None]).tolist() == [*(-of(name, one) for one in smiles), math.inf]
    same = bind_decoders(energies.PRESETS["osimertinib_mpo"](), decoders)
    assert same(torch.arange(1)[:, None]).item() == -of("osimertinib_mpo", smiles[0])
    assert "E = −(score of PMO's task median1)" in str(energies.PRESETS["median1"].__doc__)
    assert set(energies.TASKS) <= set(energies.PRESETS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("osimertinb_mpo", r"^unknown task 'osimertinb_mpo'; did you mean 'osimertinib_mpo'\?$"),
        ("zzz", r"^unknown task 'zzz'; it is one of albuterol_similarity, amlodipine_mpo, "),
        ("drd2", r"^task 'drd2' needs a trained classifier, which RDKit does not hold: it is not offered here$"),
    ],
)
def test_names_that_are_no_task(name: str, message: str):
    for make in (score, energies.Task):
        with pytest.raises(ValueError, match=message):
            make(name)
