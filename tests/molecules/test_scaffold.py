"""Molecules on a scaffold: every one holds it, and the weights are the flow's own, checked by enumeration."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import product
from typing import Any

import pytest
import torch
from egflow_molecules import _scaffold_draw as drawing
from egflow_molecules import prior
from egflow_molecules._rdkit import mol_from_smiles
from egflow_molecules.scaffold import Scaffold, ScaffoldSamples, sample_scaffold
from egflow_molecules.smiles import ALPHABET, LENGTH, PAD_ID
from rdkit import Chem
from torch import Tensor

from egflow.energy import as_energy
from egflow.flow import TokenFlow
from egflow.network import Recurrent, Transformer, Twisted

A, B, OPEN, CLOSE, ONE, TWO, BOND, SIZE = range(8)
GRAMMAR = drawing.Grammar((A, B), (), (BOND,), OPEN, CLOSE, (ONE, TWO))
ROWS = 40_000
SIGMAS = 5.0

flow = lru_cache(prior)


def toy(length: int, kind: str = "balanced") -> TokenFlow:
    """A random network of seven tokens that is far from uniform."""
    torch.manual_seed(0)
    sizes, rules = (SIZE + 2, SIZE + 1, length), ((OPEN, CLOSE), (ONE, TWO))
    nest, twice = rules if kind in ("balanced", "twisted") else ((), ())
    net: Any = Recurrent(*sizes, width=8, depth=1, nest=nest, twice=twice)
    if kind == "transformer":
        net = Transformer(*sizes, width=8, depth=1, heads=2, causal=True, timed=False)
        torch.nn.init.normal_(net.head.weight)
    if kind == "twisted":
        net = Twisted(net.config, levels=[[0.0], [2.0], [5.0]], low=[1.0], high=[1.0], width=8)
        torch.nn.init.normal_(net.head.weight)
    with torch.no_grad():
        head = net.base.head if kind == "twisted" else net.head
        head.weight *= 2.5
    return TokenFlow(net, length, vocab_size=SIZE, pad_id=SIZE)


def fits(part: tuple[int, ...], scaffold_rings: set[int]) -> bool:
    """Whether an attachment may hold this, by the rules in words: it begins with an atom, and closes what it opens."""
    depth = 0
    for token in part:
        depth += (token == OPEN) - (token == CLOSE)
        if depth < 0 or token in scaffold_rings:
            return False
    return part[0] in (A, B) and depth == 0 and part.count(ONE) % 2 == 0 and part.count(TWO) % 2 == 0


def fillings(most: int, scaffold_rings: set[int]) -> list[tuple[int, ...]]:
    parts = (part for k in range(1, most + 1) for part in product(range(SIZE), repeat=k))
    return [part for part in parts if fits(part, scaffold_rings)]


def enumerated(form: drawing.Form, rings: list[set[int]], length: int) -> Tensor:
    """Every row of a form, padded."""
    spare = length - sum(len(part) for part in form.parts)
    rows = []
    for chosen in product(*(fillings(spare - len(rings) + 1, open_rings) for open_rings in rings)):
        if sum(len(part) for part in chosen) <= spare:
            row = [*form.parts[0]]
            for part, behind in zip(chosen, form.parts[1:], strict=True):
                row += [*part, *behind]
            rows.append(row + [SIZE] * (length - len(row)))
    return torch.tensor(rows)


FORMS = {
    "a branch, with a ring around it": (drawing.Form(((A, ONE, OPEN), (CLOSE, B, ONE))), [{ONE}], 9),
    "a tail": (drawing.Form(((A, B), ())), [set()], 6),
    "two branches of one atom, side by side": (drawing.Form(((B, OPEN), (CLOSE, OPEN), (CLOSE, A))), [set()] * 2, 9),
    "a branch and a tail": (drawing.Form(((A, OPEN), (CLOSE, B), ())), [set()] * 2, 8),
    "a branch with the tail at once behind it": (drawing.Form(((A, OPEN), (CLOSE,), ())), [set()] * 2, 7),
}
KINDS = ("plain", "twisted", "transformer")


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "balanced") for name in FORMS), *(("a branch and a tail", kind) for kind in KINDS)],
)
def test_weighted_rows_follow_the_flow_given_the_form(name: str, kind: str) -> None:
    form, rings, length = FORMS[name]
    made_by = toy(length, kind)
    rows = enumerated(form, rings, length)
    log_p = made_by.log_prob(rows)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        made = drawing.propose(made_by._model(None), form, GRAMMAR, ROWS, length, generator, "cpu")
    done = made.log_w > -math.inf
    x = made_by.vocabulary.decode(made.x)
    torch.testing.assert_close(made.log_q[done], made_by.log_prob(x[done]), atol=1e-4, rtol=0)

    # Z, the probability that the flow writes this form: the mean weight; its relative error is below 1 / √n_eff
    error = made.n_eff**-0.5
    z = float((made.log_w.logsumexp(0) - math.log(ROWS) - log_p.logsumexp(0)).exp())
    assert abs(z - 1) < SIGMAS * error

    # and every row's share, its variance from the sums of rows of one beginning (Lee and Whiteley 2018), to 5 sigma by
    # Bernstein's inequality, of which the largest sum is the second term
    place = {tuple(row): i for i, row in enumerate(rows.tolist())}
    different, index = torch.unique(x[done], dim=0, return_inverse=True)
    where = torch.tensor([place[tuple(row)] for row in different.tolist()])[index]  # a KeyError: of another form
    sums = torch.zeros(ROWS, len(rows), dtype=torch.float64)
    sums.index_put_((made.origin[done], where), made.log_w.softmax(0)[done], accumulate=True)
    p = log_p.softmax(0)
    whole = sums.sum(1, keepdim=True)
    sigma = (sums - p * whole).square().sum(0).sqrt()
    assert bool(((sums.sum(0) - p).abs() < SIGMAS * sigma + SIGMAS**2 / 3 * whole.max()).all())
    assert float(whole.max()) < 0.01


def test_particles_are_resampled_between_attachments_and_keep_their_mean_weight() -> None:
    form, _, length = FORMS["a branch and a tail"]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        made = drawing.propose(toy(length)._model(None), form, GRAMMAR, 1_000, length, generator, "cpu")
    assert len(made.origin.unique()) < 1_000
    again = made.resampled(generator)
    assert float(again.log_w.logsumexp(0)) == pytest.approx(float(made.log_w.logsumexp(0)))
    assert again.n_eff <= len(again.origin.unique()) + 1e-6


def of_one_form(form: str) -> Scaffold:
    """A scaffold whose forms need not be tried out, which takes half of the time."""
    scaffold = Scaffold(form)
    scaffold.forms = (form,)
    return scaffold


def check(made: ScaffoldSamples, scaffold: Scaffold, n: int) -> None:
    assert made.tokens.shape == (n, LENGTH)
    assert made.tokens.dtype == torch.long
    for one in made.smiles:
        mol = mol_from_smiles(one)
        assert mol is not None and scaffold.matches(mol), one
    assert made.drawn % n == 0 and 4 * n <= made.drawn <= 16 * n
    assert 0 < made.n_eff <= made.drawn
    assert made.unique == len({Chem.CanonSmiles(one) for one in made.smiles}) / n


@pytest.mark.parametrize(
    "smiles",
    [
        "c1ccc(*)cc1*",
        "O=C([*:1])Nc1ccc([*:2])cc1",
        "c1ccc2[nH]c(*)nc2c1",
        "*c1ccccc1",
    ],
)
def test_every_molecule_holds_its_scaffold(smiles: str) -> None:
    scaffold = Scaffold(smiles)
    made = sample_scaffold(flow(), scaffold, 30)
    check(made, scaffold, 30)
    assert made.invalid < 0.3 * made.drawn
    assert made.unique > 0.5


@pytest.mark.filterwarnings("ignore:the scaffold")  # of kinds that MOSES does not hold
@pytest.mark.parametrize("smiles", ["F[C@H](*)C(=O)O", "C[N+](C)(*)CC(=O)[O-]", "C/C=C/*", "O=P(O)(O)C=*"])
def test_stereo_charges_and_bonds_are_kept(smiles: str) -> None:
    scaffold = Scaffold(smiles)
    check(sample_scaffold(flow(), scaffold, 8), scaffold, 8)


def test_seeds_reproduce() -> None:
    scaffold = of_one_form("O=C(N*)c1ccc(*)cc1")
    made, again, other = (sample_scaffold(flow(), scaffold, 4, seed=seed).tokens for seed in (0, 0, 1))
    assert torch.equal(made, again)
    assert not torch.equal(made, other)


def test_energies_weigh_and_forbid() -> None:
    def lacks_nitrogen(mol: Chem.Mol) -> float:
        return 0.0 if any(atom.GetAtomicNum() == 7 for atom in mol.GetAtoms()) else math.inf

    scaffold = of_one_form("c1ccc(*)cc1")
    energy = as_energy(lacks_nitrogen, on="mol", batch=False)
    made = sample_scaffold(flow(), scaffold, 10, beta=1.0, energy=energy)
    check(made, scaffold, 10)
    assert all("n" in one.lower() for one in made.smiles)
    # a tilt that learnt nothing is corrected to the same
    tilted = prior()
    tilted.base, tilted.beta, tilted.energy = flow(), 1.0, energy
    assert torch.equal(sample_scaffold(tilted, scaffold, 10).tokens, made.tokens)
    with pytest.raises(ValueError, match="beta is None"):
        sample_scaffold(flow(), scaffold, 10, energy=energy)


def test_an_energy_moves_the_samples_as_far_as_its_weights_say() -> None:
    long = as_energy(lambda x: (x != PAD_ID).sum(1).double() / 10)
    scaffold = of_one_form("c1ccc(*)cc1")
    plain = sample_scaffold(flow(), scaffold, 50)
    short = sample_scaffold(flow(), scaffold, 50, beta=1.0, energy=long, seed=1)
    before, after = ((made.tokens != PAD_ID).sum(1).double() / 10 for made in (plain, short))
    weight = (-before).softmax(0)
    expected = (weight * before).sum()
    # delta method for the ratio, and what resampling n of the weighted draws adds
    error = ((weight * (before - expected)).square().sum() + after.var() / short.n_eff).sqrt()
    assert abs(float(after.mean() - expected)) < SIGMAS * float(error)
    assert float(after.mean()) < float(before.mean()) - float(error)


def test_matches() -> None:
    scaffold = Scaffold("O=C(*)Nc1ccccc1")
    for one, held in {"CC(=O)Nc1ccccc1": True, "O=CNc1ccccc1": False, "OC(=O)Nc1cc(F)ccc1": True, "CCO": False}.items():
        assert scaffold.matches(Chem.MolFromSmiles(one)) is held
    hand = Scaffold("F[C@H](*)Cl")
    found = [hand.matches(Chem.MolFromSmiles(one)) for one in ("F[C@H](C)Cl", "F[C@@H](C)Cl", "FC(C)Cl")]
    assert found == [True, False, False]


def test_forms_begin_with_an_atom_and_are_the_scaffold() -> None:
    scaffold = Scaffold("[*:3]C1CC(*)(*)C1")
    assert len(scaffold.forms) > 3
    for form in scaffold.forms:
        assert form[0] != "*" and form.count("*") == 3
        assert Chem.CanonSmiles(form) == Chem.CanonSmiles("*C1CC(*)(*)C1")
    assert repr(scaffold) == "Scaffold('[*:3]C1CC(*)(*)C1')"


@pytest.mark.parametrize(
    ("smiles", "said"),
    [
        ("c1ccc(*)cc", "no molecule"),
        ("", "no molecule"),
        ("c1ccccc1", "no attachment point: write"),
        ("C*.C*", "several molecules: give one"),
        ("**", "no atom beside"),
        ("C*C", "between atoms: bond each"),
        ("C[Hg]*", r"alphabet of egflow_molecules has no .*'\[Hg\]'"),
        ("C[*+]", r"has no '\[\*\+\]'"),
        ("C" * LENGTH + "*", f"{LENGTH + 1} tokens long, and rows hold {LENGTH}: give a smaller"),
    ],
)
def test_scaffolds_that_cannot_be_used(smiles: str, said: str) -> None:
    with pytest.raises(ValueError, match=rf"^molecules\.scaffold is '.*{said}"):
        Scaffold(smiles)


def test_flows_that_cannot_be_used() -> None:
    with pytest.raises(TypeError, match=r"molecules\.scaffold is a int"):
        sample_scaffold(flow(), 3, 2)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ValueError, match="vocab_size=7"):
        sample_scaffold(toy(5), "C*", 2)
    with pytest.raises(ValueError, match="path 'masked'"):
        sample_scaffold(TokenFlow(torch.nn.Identity(), 5, vocab_size=4, path="masked"), "C*", 2)
    with pytest.raises(ValueError, match="n must be"):
        sample_scaffold(flow(), "C*", 0)
    net = Recurrent(len(ALPHABET) + 2, len(ALPHABET) + 1, length=6, width=4)
    small = TokenFlow(net, 6, vocab_size=len(ALPHABET), pad_id=PAD_ID)
    with pytest.raises(
        ValueError, match=r"molecules\.scaffold is 'CCCCCCC\*', 8 tokens long, and the flow's rows hold 6"
    ):
        sample_scaffold(small, "CCCCCCC*", 2)
    with torch.no_grad():
        net.head.bias[ALPHABET.index("F")] = 50.0  # never ends, and writes C=FFF
    with pytest.raises(ValueError, match=r"none of 32 draws can be returned \(32 are no molecule, 0 do not hold it\)"):
        sample_scaffold(small, "CC=*", 2)
