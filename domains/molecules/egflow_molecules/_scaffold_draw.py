"""Rows of which a part is forced and the rest drawn freely, weighted so that they follow the flow given their form.

Between two attachment points the tokens are forced; inside one they are drawn from the network until its branch closes,
or the row ends (Langevin et al. 2020, arXiv 2009.07778). A draw is weighted by flow(x) / proposal(x):

    w = Π over forced tokens of p(a | x^{<i}) · Π over drawn tokens of Σ_{a allowed} p(a | x^{<i})

What is allowed: an attachment begins with an atom, closes the branches and rings it opens, and uses no ring digit that
is open around it; so it stays a part of its own. (Renumbering the scaffold's rings from 5 upward would free the low
digits, at the price of 50 to 150 nats: the prior has seen digits given out in the order of opening.)

Particles are resampled where an attachment point and what is forced behind it are done (sequential Monte Carlo, Doucet
and Johansen 2009), all at the same place of the form, where their weights can be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from egflow.solver import TokenModel
from egflow.solver._tokens import draw
from egflow.weights import n_eff, resample


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a sampler must know of the language: ids of tokens.

    Attributes:
        atoms: what an attachment may begin with.
        single: bonds it may begin with, where its bond is not written before it.
        bonds: every bond.
        opening, closing: the brackets of a branch.
        rings: what opens and closes a ring.
    """

    atoms: tuple[int, ...]
    single: tuple[int, ...]
    bonds: tuple[int, ...]
    opening: int
    closing: int
    rings: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A row with K attachment points: the K + 1 parts that are forced, before, between and behind them.

    A part behind an attachment begins with the closing bracket of its branch; only the last may be empty, and then the
    attachment is the tail of the row.
    """

    parts: tuple[tuple[int, ...], ...]

    def tail(self, place: int) -> bool:
        """Whether an attachment point, 0 … K − 1, is the tail."""
        return not self.parts[place + 1]

    def behind(self, place: int, end: int) -> tuple[int, ...]:
        """What is forced once an attachment has closed itself: its bracket, or the row's end, was drawn."""
        if self.tail(place):
            return ()
        return (*self.parts[place + 1][1:], *((end,) if place == len(self.parts) - 2 else ()))

    def never(self, place: int, grammar: Grammar, outputs: int) -> tuple[Tensor, Tensor]:
        """What an attachment never holds, and what it never begins with, (outputs,) bool: its form's open rings."""
        written = [token for part in self.parts[: place + 1] for token in part]
        never = torch.zeros(outputs, dtype=torch.bool)
        never[[ring for ring in grammar.rings if written.count(ring) % 2]] = True
        first = torch.ones(outputs, dtype=torch.bool)
        first[list(grammar.atoms) + ([] if written[-1] in grammar.bonds else list(grammar.single))] = False
        return never, first


@dataclass(frozen=True, slots=True)
class Particles:
    """Rows that are done up to some place of a form.

    Attributes:
        x: (m, length) ids inside, END behind what is done.
        size: (m,) how many tokens are done.
        log_w: (m,) float64, log of flow(x) / proposal(x), −inf where a row did not fit; its mean is the probability
            that the flow writes this form so far, also after resampling.
        log_q: (m,) float64, log flow(x) of what is done.
        origin: (m,) the draw of the first attachment each row descends from.
    """

    x: Tensor
    size: Tensor
    log_w: Tensor
    log_q: Tensor
    origin: Tensor

    @property
    def n_eff(self) -> float:
        """Kish's effective number of independent draws: the weights of rows of one origin count as one."""
        return lineages(self.log_w, self.origin)

    def resampled(self, generator: torch.Generator) -> Particles:
        """As many rows, ∝ w by systematic resampling, of equal weights."""
        m = len(self.x)
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        index = resample(self.log_w, (torch.arange(m) + offset).to(self.log_w) / m)
        mean = torch.logsumexp(self.log_w, 0) - math.log(m)
        return Particles(self.x[index], self.size[index], mean.expand(m), self.log_q[index], self.origin[index])


def lineages(log_w: Tensor, origin: Tensor) -> float:
    """n_eff of the summed weights of rows of one origin (Lee and Whiteley 2018, arXiv 1509.00394, section 3)."""
    share = torch.softmax(log_w, 0)
    return float(1 / torch.zeros_like(share).scatter_add(0, origin, share).square().sum())


def propose(
    model: TokenModel, form: Form, grammar: Grammar, m: int, length: int, generator: torch.Generator, device: Any
) -> Particles:
    """m weighted rows of one form; resampled between attachments where n_eff falls below half of m.

    Rows that do not fit into ``length`` have weight 0; all may.
    """
    words = model.vocabulary
    assert words.end is not None
    state = model.begin(1)
    log_p, state = model.step(torch.tensor([words.own], device=device), state)
    head, told = form.parts[0], 0.0
    for token in head:
        told += float(log_p[0, token])
        log_p, state = model.step(torch.tensor([token], device=device), state)
    x = torch.full((m, length), words.end, device=device)
    x[:, : len(head)] = torch.tensor(head, device=device)
    size = torch.full((m,), len(head), device=device)
    log_w = torch.full((m,), told, dtype=torch.float64, device=device)
    done = Particles(x, size, log_w, log_w, torch.arange(m, device=device))
    for place in range(len(form.parts) - 1):
        if place and bool((done.log_w > -math.inf).any()) and n_eff(done.log_w) < m / 2:
            done = done.resampled(generator)
        done = _extend(model, (log_p, state), done, form, place, grammar, generator)
    return done


def _extend(
    model: TokenModel,
    start: tuple[Tensor, Any],
    done: Particles,
    form: Form,
    place: int,
    grammar: Grammar,
    generator: torch.Generator,
) -> Particles:
    """One attachment further: what is done is read again from ``start``, behind the part all rows begin with.

    Networks can select rows of their states, not join states of different lengths; so every row runs on by itself.
    """
    end, (_, length), device = model.vocabulary.end, done.x.shape, done.x.device
    assert end is not None
    tail, forced = form.tail(place), torch.tensor(form.behind(place, end), dtype=torch.long, device=device)
    closer, last = end if tail else grammar.closing, place == len(form.parts) - 2
    never, unfit = (mask.to(device) for mask in form.never(place, grammar, model.vocabulary.outputs))
    rings = torch.tensor(grammar.rings, device=device)
    x, size, log_w, log_q = done.x.clone(), done.size.clone(), done.log_w.clone(), done.log_q.clone()
    rows = (log_w > -math.inf).nonzero()[:, 0]
    log_p, state = start[0].expand(len(rows), -1), model.select(start[1], torch.zeros_like(rows))
    depth, behind = torch.zeros_like(rows), torch.full_like(rows, -1)  # −1: the attachment is not closed yet
    opened = torch.zeros(len(rows), len(rings), dtype=torch.bool, device=device)
    for i in range(len(form.parts[0]), length):
        if not len(rows):
            return replace(done, x=x, size=size, log_w=log_w, log_q=log_q)
        reading = i < done.size[rows]
        grows = ~reading & (behind < 0)
        whole = (depth == 0) & ~opened.any(1)
        impossible = never | (unfit & done.size[rows].eq(i)[:, None])
        impossible[:, end] |= ~whole | (not tail)
        impossible[:, grammar.closing] |= (depth == 0) & (~whole | tail)
        allowed = log_p.double().masked_fill(impossible & grows[:, None], -math.inf)
        mass = torch.logsumexp(allowed, 1)
        alive = ~grows | (mass > -math.inf)
        drawn = draw(torch.where(alive[:, None], allowed, log_p.double()), 1.0, generator)
        token = torch.where(reading, x[rows, i], drawn)
        if len(forced):
            token = torch.where(behind >= 0, forced[behind.clamp(min=0)], token)
        told = log_p.double().gather(1, token[:, None])[:, 0]
        x[rows, i] = token
        log_q[rows] += told.masked_fill(reading, 0.0)
        log_w[rows] += torch.where(grows, mass, told).masked_fill(reading, 0.0)
        behind = torch.where(grows & (token == closer) & (depth == 0), 0, behind + (behind >= 0))
        depth = depth + (grows & (token == grammar.opening)).long() - (grows & (token == grammar.closing)).long()
        opened = opened ^ (grows[:, None] & (token[:, None] == rings))
        finished = behind == len(forced)
        size[rows[finished]] = i + 1
        kept = (~finished & (log_w[rows] > -math.inf)).nonzero()[:, 0]
        rows, token, behind, depth, opened = rows[kept], token[kept], behind[kept], depth[kept], opened[kept]
        if i + 1 < length and len(rows):
            log_p, state = model.step(token, model.select(state, kept))
    # a row that fills its length is done where nothing but END is left, which it does not have
    full = ((behind < 0) & (depth == 0) & ~opened.any(1)) if tail else (behind == len(forced) - 1)
    log_w[rows] = log_w[rows].masked_fill(~full | (done.size[rows] == length) | (not last), -math.inf)
    return replace(done, x=x, size=size, log_w=log_w, log_q=log_q)
