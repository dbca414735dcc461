"""`tilt(..., method="twist")`: a head that forecasts the energy, on a frozen base of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from egflow._fit import warm_start
from egflow._tilt_inputs import Ranges, TiltInputs
from egflow.flow import Flow, TokenFlow
from egflow.network import Recurrent, Twisted
from egflow.report import held_out_split
from egflow.training import HiddenStates, Population, TrainingOptions, TwistMatching, mix, train
from egflow.weights import Resample

CELLS = 20


def twist(
    base: Flow,
    inputs: TiltInputs,
    beta: float | Ranges,
    *,
    steps: int,
    batch_size: int,
    seed: int,
    options: TrainingOptions,
) -> TokenFlow:
    """A flow of q at beta, or at every beta of a range; see `egflow.network.Twisted`.

    Raises:
        ValueError: for a base that is no flow of tokens on the sequential path around a `Recurrent` network.
    """
    network = check_twistable(base)
    assert isinstance(base, TokenFlow)
    ranges = beta if isinstance(beta, tuple) else ((beta, beta),)
    energies = torch.stack([one.values for one in inputs.values], 1)
    forbidden = torch.stack([one.forbidden for one in inputs.values]).any(0)
    log_s = torch.zeros(len(inputs.x), dtype=torch.float64) if inputs.weight is None else inputs.weight.log()
    cell, levels = energy_cells(energies, forbidden, log_s, ranges, seed)
    flow = warm_start(base)
    assert isinstance(flow, TokenFlow)
    with torch.random.fork_rng():
        torch.manual_seed(mix(seed, -30))
        made = Twisted(network.config, levels, [low for low, _ in ranges], [high for _, high in ranges])
    made.base.load_state_dict(network.state_dict())
    flow.network = made.to(flow.shift)
    z = base.vocabulary.encode(inputs.x).to(base.device)
    split = held_out_split(len(z))
    own, held_out = (
        Population(z[index], cell[index].to(base.device), Resample().prepare(log_s[index], log_s[index]))
        for index in split
    )
    states, held_out_states = (HiddenStates.of(made, z[index], base.vocabulary) for index in split)
    problem = TwistMatching(base.vocabulary, own, held_out, (states, held_out_states))
    trained = train(flow.network, problem, steps=steps, batch_size=batch_size, seed=seed, options=options)
    flow.network, flow.history, flow.notes = trained.network, trained.history, trained.notes
    flow.train_seconds = trained.seconds
    flow.beta_range = beta if isinstance(beta, tuple) else None
    return flow


def check_twistable(base: Flow | None) -> Recurrent:
    """The network of a base that can be twisted. Raises ValueError that says why another cannot."""
    if not isinstance(base, TokenFlow) or base.path.name != "sequential" or base.condition_shape is not None:
        raise ValueError(
            "method='twist' is for a base of tokens on path 'sequential' without conditions: use method='cefm'"
        )
    if type(base.network) is not Recurrent:
        raise ValueError(
            f"method='twist' needs a base around egflow.network.Recurrent, got {type(base.network).__name__}: "
            "use method='cefm'"
        )
    return base.network


def can_twist(base: Flow | None) -> bool:
    """Whether `twist` takes this base."""
    try:
        check_twistable(base)
    except ValueError:
        return False
    return True


def energy_cells(
    energies: Tensor, forbidden: Tensor, log_s: Tensor, ranges: Ranges, seed: int
) -> tuple[Tensor, list[list[float | None]]]:
    """Cells of the energies, fine where p has its mass and where its tilts have theirs.

    Each value is a cell where there are few. Else centres are rows drawn from p, and as many from its tilt at each
    end of each energy's range; a row is in the cell of the nearest, in each energy's own deviations.

    Args:
        energies: (N, k) float64.
        forbidden: (N,) bool; these rows have the last cell to themselves.
        log_s: (N,) log sample weights.
        ranges: of each beta.
        seed: of the draws.

    Returns:
        The cell of each row, (N,) long, and the mean energies of each cell, None for the forbidden one.
    """
    allowed = (~forbidden).nonzero()[:, 0]
    e = energies[allowed]
    spread = e.std(0, correction=0)
    scale = torch.where(spread > 1e-12 * e.abs().amax(0), spread, 1.0)  # a constant one tells no cells apart
    table = e.unique(dim=0)
    if len(table) > CELLS:
        table = _centres(e, log_s[allowed], ranges, seed)
    nearest = torch.cdist(e / scale, table / scale, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    kept, nearest = nearest.unique(return_inverse=True)
    sums = torch.zeros(len(kept), e.shape[1] + 1, dtype=torch.float64)
    sums.index_add_(0, nearest, torch.cat([e, torch.ones(len(e), 1, dtype=torch.float64)], 1))
    levels: list[list[float | None]] = (sums[:, :-1] / sums[:, -1:]).tolist()
    cell = torch.full((len(energies),), len(levels))
    cell[allowed] = nearest
    if bool(forbidden.any()):
        levels.append([None] * e.shape[1])
    return cell, levels


def _centres(e: Tensor, log_s: Tensor, ranges: Ranges, seed: int) -> Tensor:
    """Rows of e (n, k) at even quantiles of Σ E, under p and under its tilts at the ends of the ranges."""
    by_energy = (e / e.std(0, correction=0).clamp_min(1e-12)).sum(1).argsort()
    k = e.shape[1]
    count = max(CELLS // (k + 1), 6)
    generator = torch.Generator().manual_seed(mix(seed, -31))
    u = (torch.arange(count) + torch.rand((), generator=generator, dtype=torch.float64)) / count
    ends = {tuple(end if i == j else 0.0 for i in range(k)) for j, pair in enumerate(ranges) for end in pair}
    ends |= {(0.0,) * k, tuple(high for _, high in ranges)}  # p, and where a range is reported last
    centres = []
    for beta in torch.tensor(sorted(ends), dtype=torch.float64):
        share = torch.softmax((log_s - e @ beta)[by_energy], 0)
        centres.append(e[by_energy[torch.searchsorted(share.cumsum(0), u).clamp(max=len(e) - 1)]])
    return torch.cat(centres).unique(dim=0)
