"""The presets on molecules: values against RDKit's own, directions, refusals, algebra, worker processes."""

import doctest
import importlib
import math
import pickle
import pkgutil
import re
from collections.abc import Callable

import egflow_molecules.energies as energies
import pytest
import torch
from egflow_molecules._rdkit import mol_from_smiles
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors
from rdkit.DataStructs import TanimotoSimilarity

from egflow import EnergyModel
from egflow.energy import as_energy, bind_decoders, evaluate
from egflow.energy._callable import CallableEnergy

ASPIRIN, BENZENE, NITROBENZENE = "CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1", "O=[N+]([O-])c1ccccc1"
RHODANINE = "O=C1C(=Cc2ccc(O)cc2)SC(=S)N1C"  # one PAINS alert
ALKANE = "C" * 38  # 535 g/mol and log P 15: breaks two of Lipinski's rules


def values(energy: EnergyModel, *smiles: str) -> list[float]:
    """Energies of SMILES, through the decoder that a domain would bind."""
    bound = bind_decoders(energy, {"mol": lambda x: [mol_from_smiles(smiles[int(row)]) for row in x[:, 0]]})
    return bound(torch.arange(len(smiles))[:, None]).tolist()


def value(energy: EnergyModel, smiles: str) -> float:
    return values(energy, smiles)[0]


def test_properties_of_aspirin():
    published = {"mw": 180.16, "tpsa": 63.6, "logp": 1.31, "qed": 0.55, "sa": 1.58, "hbd": 1, "rings": 1}
    for name, expected in published.items():
        assert value(energies.PRESETS[name](minimise=True), ASPIRIN) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("preset", "rdkit"),
    [
        (energies.HBA, rdMolDescriptors.CalcNumHBA),
        (energies.HBD, rdMolDescriptors.CalcNumHBD),
        (energies.RotatableBonds, rdMolDescriptors.CalcNumRotatableBonds),
        (energies.FractionSP3, rdMolDescriptors.CalcFractionCSP3),
        (energies.TPSA, rdMolDescriptors.CalcTPSA),
    ],
)
def test_properties_are_rdkits(preset: Callable[..., EnergyModel], rdkit: Callable[[Chem.Mol], float]):
    for smiles in (ASPIRIN, BENZENE, NITROBENZENE, ALKANE, "C"):
        assert value(preset(maximise=True), smiles) == -rdkit(Chem.MolFromSmiles(smiles))


def test_directions():
    logp = value(energies.LogP(minimise=True), ASPIRIN)
    assert value(energies.LogP(maximise=True), ASPIRIN) == -logp
    assert value(energies.LogP(target=4), ASPIRIN) == pytest.approx(4 - logp)
    assert value(energies.LogP(target=0, scale=2), ASPIRIN) == pytest.approx(logp / 2)
    assert value(energies.LogP(range=(1, 2)), ASPIRIN) == 0
    assert value(energies.LogP(range=[2, 3], scale=0.5), ASPIRIN) == pytest.approx(2 * (2 - logp))
    assert value(energies.LogP(range=(-1, 1)), ASPIRIN) == pytest.approx(logp - 1)
    assert value(energies.MW(range=(None, 500)), ASPIRIN) == 0
    assert value(energies.MW(range=(200, None)), ASPIRIN) == pytest.approx(200 - 180.16, abs=0.005)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("LogP()", ValueError, "logp has no direction; give logp one of target=, minimise=True, maximise=True, range="),
        ("QED()", ValueError, "qed has no direction; give qed one of target=, minimise=True, maximise=True, range=(lo"),
        ("LogP(target=1, maximise=True)", ValueError, "got target= and maximise=True; give logp one of target="),
        ("LogP(minimise=True, range=(1, 2))", ValueError, "got minimise=True and range=; give logp one of target="),
        ("LogP(range=(3, 1))", ValueError, "range of logp has 3 above 1; give range=(1, 3)"),
        ("LogP(range=(None, None))", ValueError, "range of logp is open at both ends"),
        ("LogP(range=3)", TypeError, "range of logp is 3; give two numbers, range=(lo, hi)"),
        ("LogP(range=())", TypeError, "range of logp is (); give two numbers"),
        ("LogP(range='13')", TypeError, "range of logp is '13'; give two numbers"),
        ("LogP(range=(1, 'a'))", TypeError, "an end of range of logp is 'a'; give a finite number"),
        ("LogP(target='4')", TypeError, "target of logp is '4'; give a finite number"),
        ("LogP(target=True)", TypeError, "target of logp is True; give a finite number"),
        ("LogP(target=float('inf'))", ValueError, "target of logp is inf; give a finite number"),
        (
            "LogP(target=1, scale=0)",
            ValueError,
            "scale of logp is 0; give the step of logp that counts as one, above 0",
        ),
        ("LogP(minimise=1)", TypeError, "minimise of logp is 1; give True, or leave it out"),
        ("LogP(taget=4)", TypeError, "unknown argument 'taget' of logp; did you mean 'target'?"),
        ("LogP(maximize=True)", TypeError, "unknown argument 'maximize' of logp; did you mean 'maximise'?"),
        ("LogP(zzz=4)", TypeError, "unknown argument 'zzz' of logp; it takes target, minimise, maximise, range, scale"),
        ("LogP(4)", TypeError, "logp: too many positional arguments; it takes target, minimise"),
        ("Tanimoto()", TypeError, "tanimoto: missing a required argument: 'smiles'; it takes smiles, fp"),
        ("Tanimoto('C1CC')", ValueError, "smiles of tanimoto is 'C1CC', which is no molecule: "),
        ("Tanimoto(5)", TypeError, "smiles of tanimoto is a int; give a SMILES as text"),
        ("Tanimoto('C', fp='ECFP4')", ValueError, "unknown fingerprint fp='ECFP4' of tanimoto; did you mean 'ecfp4'?"),
        (
            "Tanimoto('C', fp='phco')",
            ValueError,
            "unknown fingerprint fp='phco' of tanimoto; it is one of ecfp4, ecfp6",
        ),
        ("HasSmarts('[C')", ValueError, "smarts of has_smarts is '[C', which is no pattern: "),
        ("LacksSmarts(7)", TypeError, "smarts of lacks_smarts is a int; give a SMARTS as text"),
        ("LacksSmarts('C', forbid='no')", TypeError, "forbid of lacks_smarts is 'no'; give True or False"),
        ("Pains(frobid=True)", TypeError, "unknown argument 'frobid' of pains; did you mean 'forbid'?"),
        ("Lipinski(forbid=1)", TypeError, "forbid of lipinski is 1; give True or False"),
        ("PRESETS['median1'](x=1)", TypeError, "unknown argument 'x' of median1; it takes none"),
    ],
)
def test_refused_when_the_energy_is_made(text: str, error: type[Exception], message: str):
    with pytest.raises(error, match="^" + re.escape(message)) as caught:
        eval(text, dict(vars(energies)))
    assert "\n" not in str(caught.value)


def test_similarity_is_wanted_and_counts():
    tanimoto = energies.Tanimoto(ASPIRIN)
    assert values(tanimoto, "OC(=O)c1ccccc1OC(C)=O", "[Na+]") == [-1.0, 0.0]
    for fp in ("ecfp4", "ecfp6", "fcfp4", "ap"):
        assert value(energies.Tanimoto("CCO", fp=fp), "OCC") == -1.0
    # Ethane and propane by hand. CH3 stands twice in both, CH2 once in propane; of environments of radius 1, ethane has
    # "CH3 with its CH3" once (both atoms see the same bond), propane "CH3 with its CH2" twice and "CH2 with both" once.
    assert value(energies.Tanimoto("CC"), "CCC") == pytest.approx(-2 / (2 + 1 + 1 + 3))


def test_fingerprints_differ_as_their_names_say():
    chloride, bromide = "Clc1ccccc1", "Brc1ccccc1"  # the same to features, where both are halogens
    by = {fp: value(energies.Tanimoto(chloride, fp=fp), bromide) for fp in ("ecfp4", "ecfp6", "fcfp4", "ap")}
    assert by["fcfp4"] == -1 < by["ecfp4"] < by["ecfp6"] < 0 and -1 < by["ap"] < 0
    far = energies.Tanimoto("O" + "C" * 9 + "N", fp="ap")  # pairs more than 10 bonds apart are not seen
    assert value(far, "N" + "C" * 9 + "O") == -1.0


def test_patterns():
    nitro = "[N+](=O)[O-]"
    assert values(energies.HasSmarts(nitro), NITROBENZENE, BENZENE) == [0.0, 1.0]
    assert values(energies.LacksSmarts(nitro), NITROBENZENE, BENZENE) == [1.0, 0.0]
    assert values(energies.HasSmarts(nitro, forbid=True), NITROBENZENE, BENZENE) == [0.0, math.inf]
    assert values(energies.LacksSmarts(nitro, forbid=True), NITROBENZENE, BENZENE) == [math.inf, 0.0]


def test_alerts_and_the_rule_of_five():
    assert values(energies.Pains(), RHODANINE, BENZENE) == [1.0, 0.0]
    assert values(energies.Pains(forbid=True), RHODANINE, BENZENE) == [math.inf, 0.0]
    assert value(energies.Brenk(), NITROBENZENE) >= 1 and value(energies.Brenk(), BENZENE) == 0
    assert value(energies.Brenk(forbid=True), NITROBENZENE) == math.inf
    assert values(energies.Lipinski(), ASPIRIN, "C" * 20, ALKANE) == [0.0, 1.0, 2.0]
    assert values(energies.Lipinski(forbid=True), ASPIRIN, "C" * 20, ALKANE) == [0.0, 0.0, math.inf]
    sucrose = "OCC1OC(OC2(CO)OC(CO)C(O)C2O)C(O)C(O)C1O"  # 8 OH, 11 O
    assert value(energies.Lipinski(), sucrose) == 2.0


def test_what_is_no_molecule_is_forbidden_under_the_algebra():
    energy = 2 * energies.LogP(target=4) + energies.QED(maximise=True).clip(-0.9, 0) - 1
    assert energy.describe() == "2*logp(target=4) + qed(maximise=True).clip(-0.9, 0) - 1"
    good, bad = values(energy, ASPIRIN, "C(")
    parts = [value(part, ASPIRIN) for part in (energies.LogP(target=4), energies.QED(maximise=True))]
    assert good == pytest.approx(2 * parts[0] + max(parts[1], -0.9) - 1) and bad == math.inf
    assert values(-energies.HasSmarts("N", forbid=True), BENZENE, "C(") == [math.inf, math.inf]
    assert not energy.differentiable


def test_an_energy_is_called_as_it_is_typed():
    assert energies.LogP(range=(1, None), scale=2).describe() == "logp(range=(1, None), scale=2)"
    assert energies.Tanimoto("CCO").describe() == "tanimoto(smiles='CCO')"
    assert energies.Pains().describe() == "pains"
    assert energies.LogP.__doc__ and "target=" in energies.LogP.__doc__


def made(name: str) -> EnergyModel:
    """Any preset, with arguments that it needs."""
    needed = {"tanimoto": {"smiles": "CCO"}, "has_smarts": {"smarts": "N"}, "lacks_smarts": {"smarts": "N"}}
    numeric = ["qed", "logp", "sa", "tpsa", "mw", "hba", "hbd", "rotatable_bonds", "rings", "fraction_sp3"]
    return energies.PRESETS[name](**({"maximise": True} if name in numeric else needed.get(name, {})))


@pytest.mark.parametrize("name", [name for name in energies.PRESETS if name != "yaml"])
def test_every_preset_travels_and_is_known_to_a_cache(name: str):
    energy = made(name)
    assert isinstance(energy, CallableEnergy) and energy.on == "mol"
    assert energy.describe().startswith(name)
    there = pickle.loads(pickle.dumps(energy.call.fn))  # noqa: S301 - as a worker process gets it
    mol = Chem.MolFromSmiles(ASPIRIN)
    here = energy.call.fn(mol)
    assert type(here) is float and there(mol) == here
    again = made(name)
    assert isinstance(again, CallableEnergy) and again.identity() == energy.identity()


def test_a_cache_tells_one_argument_from_another():
    made_with = [energies.LogP(target=1), energies.LogP(target=2), energies.Tanimoto("C"), energies.Tanimoto("CC"),
                 energies.Pains(), energies.Brenk(), energies.Task("median1"), energies.Task("median2")]  # fmt: skip
    identities = {energy.identity() for energy in made_with if isinstance(energy, CallableEnergy)}
    assert len(identities) == len(made_with)


def test_worker_processes_give_the_same():
    smiles = [ASPIRIN, BENZENE, "C(", RHODANINE]
    x = torch.arange(len(smiles))[:, None]
    for energy in (energies.Tanimoto("Oc1ccccc1"), energies.SA(minimise=True), energies.Pains()):
        here = values(energy, *smiles)
        work = bind_decoders(as_energy(energy, workers=1), {"mol": lambda x: [mol_from_smiles(smiles[i]) for i in x]})
        there = evaluate(work, x)
        assert there.values.masked_fill(there.forbidden, math.inf).tolist() == here


def test_an_energy_without_a_decoder_says_so():
    with pytest.raises(Exception, match="works on 'mol' objects, and no decoder of that name was bound"):
        energies.LogP(target=1)(torch.zeros(1, 1))


def test_the_similarity_of_bits_is_another_thing():
    """The docstring's warning is true: folded bits give another value than counts."""
    bits = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    a, b = (bits.GetFingerprint(Chem.MolFromSmiles(smiles)) for smiles in (ASPIRIN, RHODANINE))
    assert value(energies.Tanimoto(ASPIRIN), RHODANINE) != pytest.approx(-TanimotoSimilarity(a, b), abs=1e-3)


MODULES = [f"{energies.__name__}.{module.name}" for module in pkgutil.iter_modules(energies.__path__)]


@pytest.mark.parametrize("name", ["egflow_molecules._rdkit", *MODULES])
def test_examples_in_docstrings(name: str):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
