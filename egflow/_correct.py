"""Correction at sampling: importance resampling of samples by exact likelihoods.

    log w(x) = log base(x) − beta · E(x) − log q(x)      for x drawn from q

Self-normalised, these weights carry q to the base's tilt (sampling-importance-resampling, Rubin 1987). It makes up for
q's error, never for the base's: where p means the data, what is left is how far the base is from them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from egflow._kinds import as_tensor, shown
from egflow._tilt_inputs import read_energies
from egflow.energy import EnergyModel, EnergyValues, as_energy, evaluate
from egflow.flow import Flow, TokenFlow
from egflow.training import check_count, mix
from egflow.weights import check_beta, log_weights, n_eff, resample

Energy = EnergyModel | Callable[[Tensor], Tensor]
TIMES, MOST_TIMES = 4, 32  # how many times over `draw_corrected` draws, at least and at most
DISTINCT = 0.98  # of its rows are different draws
FEW = 4  # `correct` warns where fewer than n / FEW points stay effective: a row is then FEW copies, or more


def correction_log_weights(
    samples: Tensor,
    flow: Flow,
    base: Flow,
    energy: Energy | Sequence[Energy],
    beta: float | Sequence[float],
    condition: Tensor | None = None,
    log_q: Tensor | None = None,
) -> tuple[Tensor, EnergyValues]:
    """The weights that carry samples of q to the base's tilt; how many points they leave is ``n_eff(log_w)``.

    Args:
        samples: (m, *event), drawn from ``flow``, by an accurate solver.
        flow: q, whose density is asked for; of a flow of every beta, its density at ``beta``.
        base: the flow of p.
        energy: E, (batch, *event) -> (batch,), or several of them.
        beta: inverse temperature, one for each energy.
        condition: (m, ...) the samples' condition, or None; rows of different conditions must not be normalised
            together.
        log_q: (m,) the samples' log-density where it is at hand (`Flow.sample_with_log_prob`), which spares half of the
            time; None asks ``flow`` for it.

    Returns:
        log w (m,) float64 on the CPU, not normalised, −inf where forbidden; and the samples' energies (of several, the
        values of Σ beta·E).

    Raises:
        ValueError: for samples that do not fit the flows, a flow without a likelihood, or if every sample is forbidden.
        TypeError: where ``energy`` is no function.

    Example:
        >>> from egflow.weights import n_eff
        >>> q = Flow(lambda z, t, c: 0 * z, (2,))  # no motion: the normal source itself
        >>> log_w, _ = correction_log_weights(q.sample(100), q, q, lambda x: x[:, 0], 0.5)  # the tilt shifts it by .5
        >>> 50 < n_eff(log_w) < 100
        True
    """
    for name, one in (("flow", flow), ("base", base)):
        if not hasattr(one, "event_shape"):
            raise ValueError(f"{name} must be a Flow, got {shown(one)}")
    models = read_energies(energy, base)  # with their domain's decoders
    energy = models if isinstance(energy, Sequence) else models[0]
    energy, beta, flow = _one_energy(energy, beta, flow)
    if flow.event_shape != base.event_shape:
        raise ValueError(
            f"flow and base must be of one event shape, got {flow.event_shape} and {base.event_shape}: "
            "base is the flow that was tilted"
        )
    if not isinstance(samples, Tensor) or tuple(samples.shape[1:]) != flow.event_shape or samples.ndim == 0:
        got = tuple(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__
        raise ValueError(f"samples must have shape (m, *{flow.event_shape}), drawn from flow; got {got}")
    if len(samples) == 0:
        raise ValueError("samples is empty: draw some, several times as many as are wanted")
    samples = as_tensor("samples", samples, f"a tensor (m, *{flow.event_shape})")
    if samples.is_complex() or (samples.is_floating_point() and not bool(samples.float().isfinite().all())):
        raise ValueError("samples must be finite points drawn from flow: they hold NaN, inf or complex numbers")
    condition = None if condition is None else as_tensor("condition", condition, "a tensor (m, …)")
    values = evaluate(energy, samples, condition, allow_all_forbidden=True)
    if bool(values.forbidden.all()):
        raise ValueError("every sample is forbidden (energy +inf): nothing is left to resample")
    log_q = _log_density("flow", flow, samples, condition) if log_q is None else _check_log_density("log_q", log_q)
    if log_q.shape != values.values.shape:
        raise ValueError(f"log_q must have shape ({len(samples)},), one a sample, got {tuple(log_q.shape)}")
    log_base = _log_density("base", base, samples, condition)
    if bool((log_q == -math.inf).any()):
        raise ValueError("samples hold points where flow has no density: they must be drawn from flow itself")
    log_w = log_weights(values, beta) + log_base - log_q
    if not bool((log_w > -math.inf).any()):
        raise ValueError("every sample is forbidden or has no density under base: nothing is left to resample")
    return log_w, values


def correct(
    samples: Tensor,
    flow: Flow,
    base: Flow,
    energy: Energy | Sequence[Energy],
    beta: float | Sequence[float],
    *,
    condition: Tensor | None = None,
    log_q: Tensor | None = None,
    n: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Resample samples of a flow q by  base(x) · exp(−beta · E(x)) / q(x), self-normalised.

    What comes out follows the base's tilt up to the error of the weights; rows repeat, the more the fewer points stay
    effective: draw several times as many samples as are wanted. `correction_log_weights` gives the weights themselves.

    Args:
        samples: (m, *event), drawn from ``flow``.
        flow: q, whose density is asked for.
        base: the flow of p.
        energy: E, or several; forbidden samples are never returned.
        beta: inverse temperature, one for each energy.
        condition: (m, ...) the samples' condition, one and the same for all rows, or None.
        log_q: (m,) the samples' log-density where it is at hand, or None.
        n: how many to return; None is m.
        seed: of the resampling.

    Returns:
        (n, *event). A UserWarning says so where the weights leave fewer than n / 4 effective points.

    Raises:
        ValueError: for conditions that differ (resampling would tilt their marginal), if every sample is forbidden, or
            where a flow has no likelihood; as `correction_log_weights`.
    """
    condition = None if condition is None else as_tensor("condition", condition, "a tensor (m, …)")
    if condition is not None and condition.ndim and bool((condition != condition[:1]).any()):
        raise ValueError("correct resamples across rows, so all rows must share one condition: correct each on its own")
    if n is not None:
        check_count("n", n)
    log_w, energies = correction_log_weights(samples, flow, base, energy, beta, condition, log_q)
    count = len(samples) if n is None else n
    _warn_if_few(n_eff(log_w), len(samples), count)
    return samples[_resampled(log_w, energies.values.cpu(), _positions(count, seed)).to(samples.device)]


def draw_corrected(
    draw: Callable[[int, int], tuple[Tensor, Tensor, Tensor | None]],
    n: int,
    flow: Flow,
    base: Flow,
    energy: Energy | Sequence[Energy],
    beta: float | Sequence[float],
    *,
    seed: int = 0,
) -> Tensor:
    """n samples corrected as by `correct`, drawn several times over: as often as it takes that rows hardly repeat.

    Args:
        draw: (how many, number of the part) -> samples (k, *event), their log-density, and their condition or None.
        n: how many to return.
        flow, base, energy, beta, seed: as in `correct`.

    Returns:
        (n, *event), of which `DISTINCT` are different draws, unless `MOST_TIMES` n draws do not hold as many: then a
        UserWarning says so.
    """
    count, parts = check_count("n", n), []
    u = _positions(count, seed)
    while True:
        x, log_q, condition = draw(TIMES * count, len(parts))
        last = TIMES * (len(parts) + 1) >= MOST_TIMES
        try:
            log_w, values = correction_log_weights(x, flow, base, energy, beta, condition, log_q)
        except ValueError:  # all of this part is forbidden, which of few draws says nothing
            if last and not any(bool((kept > -math.inf).any()) for _, kept, _ in parts):
                raise
            log_w = torch.full((len(x),), -math.inf, dtype=torch.float64)
            parts.append((x, log_w, torch.zeros_like(log_w)))
        else:
            parts.append((x, log_w, values.values.cpu()))
        samples, weights, energies = (torch.cat(column) for column in zip(*parts, strict=True))
        if not bool((weights > -math.inf).any()):
            continue
        index = _resampled(weights, energies, u)
        if len(index.unique()) >= DISTINCT * count or last:
            break
    _warn_if_few(n_eff(weights), len(samples), count)
    return samples[index.to(samples.device)]


def _positions(count: int, seed: int) -> Tensor:
    """Systematic positions in [0, 1), in a random order, so that copies of one row do not stand together."""
    generator = torch.Generator().manual_seed(mix(seed, -5))
    offset = torch.rand((), generator=generator, dtype=torch.float64)
    return (torch.randperm(count, generator=generator) + offset) / count


def _resampled(log_w: Tensor, energies: Tensor, u: Tensor) -> Tensor:
    """Rows drawn ∝ w at positions u along the rows in order of energy.

    What is returned has the weighted samples' energies to 1 / n, where positions along an arbitrary order scatter as
    independent draws do.
    """
    order = energies.argsort(stable=True)
    return order[resample(log_w[order], u)]


def _warn_if_few(left: float, drawn: int, count: int) -> None:
    if left < count / FEW:
        warnings.warn(
            f"the correction leaves {left:.0f} effective points of {drawn} samples for the {count} asked for, "
            "which repeat accordingly: draw more samples, train longer, or correct at a lower beta",
            stacklevel=3,
        )


def _one_energy(
    energy: Energy | Sequence[Energy], beta: float | Sequence[float], flow: Flow
) -> tuple[Energy, float, Flow]:
    """Several energies as their sum Σ beta·E at beta 1, and a flow of every beta at this one."""
    fixed = flow.at(beta) if getattr(flow, "beta_range", None) else flow
    if not isinstance(energy, Sequence):
        if isinstance(beta, Sequence):
            raise ValueError(
                f"beta must be one number for one energy, got {tuple(beta)}; give energy=[a, b] for several"
            )
        return energy, check_beta(beta), fixed
    betas = tuple(beta) if isinstance(beta, Sequence) else (beta,)
    if len(betas) != len(energy) or not energy:
        raise ValueError(f"beta must hold one number for each of {len(energy)} energies, got {shown(beta)}")
    weighted = [check_beta(b) * as_energy(e) for b, e in zip(betas, energy, strict=True)]
    total = weighted[0]
    for other in weighted[1:]:
        total = total + other
    return total, 1.0, fixed


def _log_density(name: str, flow: Flow, samples: Tensor, condition: Tensor | None) -> Tensor:
    log_prob = getattr(flow, "log_prob", None)
    if log_prob is None:
        raise ValueError(
            f"a correction needs likelihoods, and {name}, a {type(flow).__name__}, has no log_prob: give a Flow"
        )
    if isinstance(flow, TokenFlow) and flow.path.likelihood == "estimate":
        raise ValueError(
            f"a correction needs exact likelihoods, and those of path {flow.path.name!r} ({name}) are estimates: "
            "fit on path 'sequential'"
        )
    return _check_log_density(f"the log-density of {name}", log_prob(samples, condition))


def _check_log_density(name: str, value: Tensor) -> Tensor:
    """In float64 on the CPU; −inf is allowed, NaN and +inf are not."""
    value = as_tensor(name, value, "a tensor (m,) of numbers").detach()
    if value.is_complex():
        raise ValueError(f"{name} must be real, got {shown(value)}")
    value = value.double().cpu()
    if bool((value.isnan() | (value == math.inf)).any()):  # of a user's own flow, too
        raise ValueError(f"{name} is NaN or +inf at some samples: no correction is possible")
    return value
