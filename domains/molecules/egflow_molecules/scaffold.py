"""Molecules that hold a given scaffold: a flow fills its attachment points, the rest stays as it was given.

    q(x | form) ∝ q(x) · 1[x is written in this form]

A form is a SMILES of the scaffold in which every attachment point ``*`` is a branch of its own or the tail. Its tokens
are forced and what stands for ``*`` is drawn from the flow (Langevin et al. 2020, arXiv 2009.07778); weights correct
what forcing leaves out, see `egflow_molecules._scaffold_draw`. A scaffold has many forms; of those in which most draws
are molecules, the one the flow writes most often is taken, so that it goes on with a text of a kind it knows.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rdkit import Chem
from torch import Tensor

from egflow import correction_log_weights
from egflow.energy import EnergyModel, bind_decoders
from egflow.flow import TokenFlow
from egflow.flow._token_correction import corrects
from egflow.training import check_count, mix
from egflow.weights import resample
from egflow_molecules._rdkit import mol_from_smiles
from egflow_molecules._scaffold_draw import Form, Grammar, lineages, propose
from egflow_molecules._scaffold_forms import Scaffold
from egflow_molecules.decoders import DECODERS
from egflow_molecules.smiles import ALPHABET, NEST, PAD_ID, RINGS, decode, encode, tokenise

__all__ = ["Scaffold", "ScaffoldSamples", "sample_scaffold"]

Energy = EnergyModel | Callable[[Tensor], Tensor]

TIMES, MOST_TIMES = 4, 16  # how many times over rows are drawn, at least and at most
DISTINCT = 0.98  # of the molecules returned are different
FEW = 4  # a warning where fewer than n / FEW draws stay effective

_TRIED, _ROWS = 6, 32  # forms that are tried out, with so many rows each
_FILLERS = ("C", "Cl")  # which forms are tried out: those likeliest with these at every attachment

_IDS = {token: i for i, token in enumerate(ALPHABET)}
_BONDS = "-=#:/\\"
_NO_START = {*_BONDS, "(", ")", "[H]", *(ALPHABET[ring] for ring in RINGS)}
_GRAMMAR = Grammar(
    atoms=tuple(i for i, token in enumerate(ALPHABET) if token not in _NO_START),
    single=tuple(_IDS[bond] for bond in "-/\\"),
    bonds=tuple(_IDS[bond] for bond in _BONDS),
    opening=NEST[0],
    closing=NEST[1],
    rings=RINGS,
)


@dataclass(frozen=True, slots=True, eq=False)
class ScaffoldSamples:
    """Molecules that hold a scaffold, and what they cost.

    Attributes:
        tokens: (n, length) long, padded; every row is a molecule that holds the scaffold.
        form: the writing of the scaffold they begin with.
        n_eff: effective number of the independent draws behind them; rows that share a resampled beginning count once.
        drawn: how many rows were proposed.
        invalid: of these, how many were no molecule, or did not end within the length.
        mismatched: and how many were one that does not hold the scaffold.
        unique: share of different molecules in ``tokens``.
    """

    tokens: Tensor
    form: str
    n_eff: float
    drawn: int
    invalid: int
    mismatched: int
    unique: float

    @property
    def smiles(self) -> list[str]:
        """The molecules, (n,)."""
        return decode(self.tokens)


def sample_scaffold(
    flow: TokenFlow,
    scaffold: Scaffold | str,
    n: int,
    *,
    beta: float | Sequence[float] | None = None,
    energy: Energy | Sequence[Energy] | None = None,
    seed: int = 0,
) -> ScaffoldSamples:
    """n molecules of a flow that hold a scaffold.

        w(x) = q(x) / proposal(x) · 1[x is a molecule that holds it],   and · base(x) · exp(−beta·E(x)) / q(x) if tilted

    Weighted draws, `TIMES` n or more where molecules would repeat (up to `MOST_TIMES` n), resampled to n: with more
    draws, samples of the flow, or of the tilt, given the form, however well either knows the scaffold.

    Args:
        flow: of molecules, on the sequential path, such as `egflow_molecules.prior()`, or a tilt of it.
        scaffold: with attachment points, e.g. "c1ccc(*)cc1*".
        n: how many.
        beta: as in `TokenFlow.sample`; for a flow that was not tilted, with ``energy``, the beta to weigh it at.
        energy: for the weights where the flow was loaded; else that of the last tilt.
        seed: fixes the samples.

    Returns:
        The samples. A UserWarning says so where fewer than n / 4 draws stay effective.

    Raises:
        ValueError: for a scaffold that cannot be used, see `Scaffold`, or is too long for the flow's rows; for a flow
            that does not speak the alphabet or has conditions; or if none of the draws holds the scaffold.

    >>> from egflow_molecules import prior
    >>> made = sample_scaffold(prior(), "O=C(*)Nc1ccc(*)cc1", 4)
    >>> made.tokens.shape, made.drawn >= 16
    (torch.Size([4, 80]), True)
    """
    chosen, count = scaffold if isinstance(scaffold, Scaffold) else Scaffold(scaffold), check_count("n", n)
    _check_flow(flow)
    flow, tilt = _law(flow, beta, energy)
    generator = torch.Generator().manual_seed(mix(seed, -6))
    form = _best_form(flow, chosen, generator)
    u = (torch.randperm(count, generator=generator) + torch.rand((), generator=generator, dtype=torch.float64)) / count
    parts: list[_Drawn] = []
    while True:
        parts.append(_draw(flow, chosen, form, TIMES * count, len(parts), tilt, generator))
        drawn = TIMES * count * len(parts)
        log_w, origin, x = (torch.cat([getattr(part, name) for part in parts]) for name in ("log_w", "origin", "x"))
        names = [name for part in parts for name in part.names]
        index = resample(log_w, u) if bool((log_w > -math.inf).any()) else u.new_empty(0, dtype=torch.long)
        unique = len({names[i] for i in index.tolist()}) / count
        if unique >= DISTINCT or drawn >= MOST_TIMES * count:
            break
    invalid, mismatched = sum(part.invalid for part in parts), sum(part.mismatched for part in parts)
    if not len(index):
        raise ValueError(
            f"molecules.scaffold is {chosen.smiles!r}, and none of {drawn} draws can be returned ({invalid} are no "
            f"molecule, {mismatched} do not hold it): give a smaller scaffold, or a flow that has seen its kind"
        )
    left = lineages(log_w, origin)
    if left < count / FEW:
        warnings.warn(
            f"the scaffold {chosen.smiles!r} leaves {left:.0f} effective of {drawn} draws for the {count} molecules "
            "asked for, which repeat accordingly: ask for more, or tune the flow to molecules of its kind",
            stacklevel=2,
        )
    return ScaffoldSamples(x[index].to(flow.device), form, left, drawn, invalid, mismatched, unique)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Weighted rows x (m, length), with their molecules' names, '' where the weight is 0."""

    x: Tensor
    log_w: Tensor
    origin: Tensor
    names: list[str]
    invalid: int
    mismatched: int


def _draw(
    flow: TokenFlow,
    scaffold: Scaffold,
    form: str,
    m: int,
    part: int,
    tilt: tuple[TokenFlow, Energy | Sequence[Energy], float | Sequence[float]] | None,
    generator: torch.Generator,
) -> _Drawn:
    """m rows of a form with their weights; each different row is looked at once."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=flow._in_bfloat16):
        made = propose(flow._model(None), _as_ids(form), _GRAMMAR, m, flow.length, generator, flow.device)
    x, log_w = flow.vocabulary.decode(made.x).cpu(), made.log_w.cpu()
    done = log_w > -math.inf
    rows, place = torch.unique(x, dim=0, return_inverse=True)
    mols = [mol_from_smiles(one) for one in decode(rows)]
    names = [Chem.MolToSmiles(mol) if mol is not None and scaffold.matches(mol) else "" for mol in mols]
    valid = torch.tensor([mol is not None for mol in mols])[place] & done
    holds = torch.tensor([bool(name) for name in names])[place] & valid
    log_w = log_w.masked_fill(~holds, -math.inf)
    if tilt is not None and bool(holds.any()):
        base, energy, beta = tilt
        first = torch.full((len(rows),), m).scatter_reduce(0, place[holds], holds.nonzero()[:, 0], "amin")
        kept = (first < m).nonzero()[:, 0]
        log_q = made.log_q.cpu()[first[kept]]
        told = torch.zeros(len(rows), dtype=torch.float64)
        told[kept] = correction_log_weights(rows[kept].to(flow.device), flow, base, energy, beta, None, log_q)[0]
        log_w = log_w + told[place]
    named = [names[i] if held else "" for i, held in zip(place.tolist(), holds.tolist(), strict=True)]
    invalid, mismatched = int((~valid).sum()), int((valid & ~holds).sum())
    return _Drawn(x, log_w, made.origin.cpu() + part * m, named, invalid, mismatched)


def _as_ids(form: str) -> Form:
    return Form(tuple(tuple(_IDS[token] for token in tokenise(part)) for part in form.split("*")))


def _best_form(flow: TokenFlow, scaffold: Scaffold, generator: torch.Generator) -> str:
    """Where most of the flow's molecules on it are, by a few rows: of the forms likeliest with small groups."""
    forms = [form for form in scaffold.forms if len(tokenise(form)) <= flow.length]
    if not forms:
        raise ValueError(
            f"molecules.scaffold is {scaffold.smiles!r}, {len(tokenise(scaffold.forms[0]))} tokens long, and the "
            f"flow's rows hold {flow.length}: give a smaller scaffold"
        )
    if len(forms) > 1:
        told = []
        for filler in _FILLERS:
            told.append(flow.log_prob(encode([form.replace("*", filler) for form in forms], flow.length)))
        order = torch.stack(told).logsumexp(0).argsort(descending=True, stable=True)
        forms = [forms[i] for i in order[:_TRIED].tolist()]
    if len(forms) == 1:
        return forms[0]
    tried = [_draw(flow, scaffold, form, _ROWS, 0, None, generator) for form in forms]
    # where fewer are molecules the flow is lost, and would go on from what it never saw
    kept = [2 * (one.invalid + one.mismatched) <= _ROWS for one in tried]
    value = [(fine, float(one.log_w.logsumexp(0))) for fine, one in zip(kept, tried, strict=True)]
    return forms[value.index(max(value))]


def _law(
    flow: TokenFlow, beta: float | Sequence[float] | None, energy: Energy | Sequence[Energy] | None
) -> tuple[TokenFlow, tuple[TokenFlow, Energy | Sequence[Energy], float | Sequence[float]] | None]:
    """The flow to draw from, and the base, energy and beta of the weights, or None: as `TokenFlow.sample` has them."""
    for one in energy if isinstance(energy, Sequence) else [energy]:
        if isinstance(one, EnergyModel):
            bind_decoders(one, DECODERS)
    base = flow.base
    if base is None and flow.beta is None and flow.beta_range is None and energy is not None:
        if beta is None:
            raise ValueError("beta is None: give the inverse temperature to weigh this flow by energy= at")
        return flow, (flow, energy, beta)
    flow = flow.at(beta)
    given: Any = flow.energy if energy is None else energy
    if not corrects(flow, None, None, given, None):
        return flow, None
    assert isinstance(base, TokenFlow) and flow.beta is not None
    return flow, (base, given, flow.beta)


def _check_flow(flow: TokenFlow) -> None:
    if not isinstance(flow, TokenFlow) or flow.path.name != "sequential":
        got = f"path {flow.path.name!r}" if isinstance(flow, TokenFlow) else type(flow).__name__
        raise ValueError(f"flow must be a TokenFlow on path 'sequential', got {got}: use prior(), or a tilt of it")
    if (flow.vocab_size, flow.pad_id) != (len(ALPHABET), PAD_ID):
        raise ValueError(
            f"flow has vocab_size={flow.vocab_size} and pad_id={flow.pad_id}; the alphabet of molecules has "
            f"{len(ALPHABET)} tokens and pad_id={PAD_ID}: use prior(), or a flow fitted on egflow_molecules.smiles"
        )
    if flow.condition_shape is not None:
        raise ValueError("flow takes a condition, which a scaffold does not give: use one without")
