"""The flow of a distribution: dx/dt = v(x, t, c) from x_0 ~ N(shift, scale²) at t = 0 to the data at t = 1."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from egflow._kinds import as_tensor, check_flag, shown
from egflow.flow._checks import (
    check_at,
    check_finite,
    check_flow_condition,
    check_points,
    check_preprocessing,
    check_shape,
    check_time,
    same_beta,
    say_range,
)
from egflow.flow._density import DensitySettings, log_density, push_density
from egflow.flow._stored import Stored
from egflow.network import AtBeta, scale_beta
from egflow.path import Path, Prediction, make_path
from egflow.solver import Solution, Solver, Tuned, fit_tuned, make_solver
from egflow.training import check_count, mix

if TYPE_CHECKING:
    from egflow.energy import EnergyModel
    from egflow.report import TiltReport

_CHUNK = 8_192  # rows integrated at once, so that memory does not grow with n


class Flow(Stored):
    """A generator with a density: a network that predicts on a path, between a normal source and data.

    The network works on preprocessed data z = (x − shift) / scale; every method here speaks of x.

    Args:
        network: called as ``network(z, t, condition)`` with z (batch, *event), t (batch,); any nn.Module. One's own
            pretrained velocity is wrapped as a base by this constructor, see examples/wrap_velocity.py.
        event_shape: shape of one sample.
        path: "cond_ot", "vp", "cosine", or a `Path`.
        prediction: what the network's output means: "velocity", "noise", "x_1" or "score_fn"; None is the path's own.
        shift, scale: preprocessing, broadcastable to event_shape; None is 0 and 1.
        condition_shape: of one condition, where the network takes vectors: ``(k,)``.
        num_classes: where the network takes labels, 0 … num_classes − 1.

    Raises:
        ValueError: for an unknown path or prediction, or a shift or scale of another shape.

    Attributes:
        base: the flow this one was tilted from, or None.
        energy: the energy of the last tilt (of several: a list), at hand in memory only.
        beta: of the last tilt, or None; one number for each of several energies.
        beta_range: (low, high) for each energy where this is one model of every beta, else None.
        report: the `TiltReport` of the last tilt, or None.
        history: rows of metrics of the last training.
        domain: name of the domain whose objects the samples are, see `decode`; or None.
        calls: what the search of its tilt evaluated, an `egflow.rounds.Pool`, or None; not saved.

    Example:
        >>> flow = Flow(lambda z, t, condition: torch.zeros_like(z), (2,))  # no motion: the source itself
        >>> flow.sample(3).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        network: nn.Module,
        event_shape: Sequence[int],
        *,
        path: str | Path | None = None,
        prediction: Prediction | None = None,
        shift: Tensor | None = None,
        scale: Tensor | None = None,
        condition_shape: Sequence[int] | None = None,
        num_classes: int | None = None,
    ) -> None:
        if not callable(network):
            raise ValueError(f"network must be a module, called as network(z, t, condition), got {shown(network)}")
        self.network = network
        self.event_shape = check_shape("event_shape", event_shape)
        self.path = make_path(path)
        self.prediction: Prediction = self.path.prediction if prediction is None else prediction
        if not isinstance(self.prediction, str) or self.prediction not in get_args(Prediction):
            raise ValueError(f"prediction must be one of {', '.join(get_args(Prediction))}, got {shown(prediction)}")
        first = next(iter(network.parameters()), None) if isinstance(network, nn.Module) else None
        like = torch.zeros(()) if first is None else first.detach()
        self.shift = (torch.zeros(()) if shift is None else as_tensor("shift", shift, "a tensor")).to(like)
        self.scale = (torch.ones(()) if scale is None else as_tensor("scale", scale, "a tensor")).to(like)
        check_preprocessing(self.shift, self.scale, self.event_shape)
        if condition_shape is not None and num_classes is not None:
            raise ValueError("conditions are vectors (condition_shape=) or labels (num_classes=): give one of the two")
        self.num_classes = None if num_classes is None else check_count("num_classes", num_classes)
        self.condition_shape: tuple[int, ...] | None = None if num_classes is None else ()
        if condition_shape is not None:
            self.condition_shape = check_shape("condition_shape", condition_shape)
        self.tuned: Tuned | None = None
        self.base: Flow | None = None
        self.energy: EnergyModel | list[EnergyModel] | None = None
        self.beta: float | tuple[float, ...] | None = None
        self.beta_range: tuple[tuple[float, float], ...] | None = None
        self.report: TiltReport | None = None
        self.history: list[dict[str, str | float]] = []
        self.notes: dict[str, str] = {}
        self.train_seconds = 0.0
        self.domain: str | None = None
        self.calls: Any = None

    def __repr__(self) -> str:
        tilted = f", {say_range(self.beta_range)}" if self.beta_range else ""
        tilted = tilted if self.beta is None else f", beta={self.beta}"
        return f"Flow({type(self.network).__name__}, event_shape={self.event_shape}, path={self.path.name}{tilted})"

    def _repr_html_(self) -> str:
        from egflow.flow._html import flow_html

        return flow_html(self)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.shift.device

    def decode(self, x: Tensor) -> Any:
        """Samples (n, *event) as objects of the flow's domain: molecules, say. Without a domain, x itself.

        Raises:
            ValueError: where the domain is not installed.
        """
        from egflow.domain import find_domain

        spec = None if self.domain is None else find_domain(self.domain)
        return spec.find(spec.decode)(x) if spec is not None and spec.decode else x

    def to(self, device: str | torch.device | None = None, dtype: torch.dtype | None = None) -> Flow:
        """Move the flow, in place, to a device or a floating-point type; returns itself."""
        for flow in (self, self.base):
            if flow is not None:
                flow.network.to(device=device, dtype=dtype)
                flow.shift = flow.shift.to(device=device, dtype=dtype)
                flow.scale = flow.scale.to(device=device, dtype=dtype)
        return self

    def at(self, beta: float | Sequence[float] | None) -> Flow:
        """This flow at one beta of its range, sharing the network; every method works on what is returned.

        Args:
            beta: within the range; one number for each energy where there are several. For a flow of one beta: that
                beta, or None.

        Raises:
            ValueError: outside the range.
        """
        if self.beta_range is None:
            if beta is not None and not same_beta(beta, self.beta):
                raise ValueError(f"beta must be {self.beta}, what this flow was tilted to, or None; got {shown(beta)}")
            return self
        numbers = check_at(beta, self.beta_range)
        fixed = copy.copy(self)
        scaled = scale_beta(torch.tensor([numbers], dtype=torch.float64), self.beta_range)[0]
        fixed.network = AtBeta(self.network, scaled.clamp(0, 1))
        fixed.beta, fixed.beta_range, fixed.tuned = numbers[0] if len(numbers) == 1 else numbers, None, None
        return fixed

    def velocity(
        self,
        x: Tensor,
        t: Tensor | float,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
    ) -> Tensor:
        """dx/dt at x (batch, *event) and t (batch,) or one number; (batch, *event), in units of x.

        Tensors are checked for what they are and not for their numbers, so that `torch.func` may go through it, and no
        device is waited for: the velocity at NaN is NaN.

        Raises:
            ValueError: for another event shape, a condition that does not fit, or a beta outside the range.
        """
        self = self.at(beta)
        x = self._check_x(x)
        z = (x - self.shift) / self.scale
        t = check_time(t, len(z), z)
        c = check_flow_condition(condition, len(z), self.condition_shape, self.num_classes, self.shift)
        return self.scale * self._velocity(z, t, c)

    def sample(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        solver: str | Solver | None = None,
        correct: bool | None = None,
        energy: EnergyModel | list[EnergyModel] | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Tensor:
        """n samples.

        Args:
            n: how many.
            condition: labels (n,) or vectors (n, k), or one label for all; for conditional flows.
            beta: anywhere in the range of a flow of every beta; else the beta the flow was tilted to, or None.
            solver: None is ``adams``; a name (``dopri5``, ``rk4``, ``tuned`` …) or a solver.
            correct: draw four times as many and resample by base · exp(−beta·E) / q, see `egflow.correct`; None: not.
            energy: for ``correct`` where the flow was loaded; else that of the last tilt.
            rtol, atol: tolerances of adaptive solvers, in units of preprocessed data.
            seed: fixes the samples.

        Returns:
            (n, *event), on the flow's device.

        Raises:
            ValueError: for a bad n, condition, beta or solver, or a correction without base or energy.
            egflow.solver.SolverError: where the network is not finite on the way.
        """
        self = self.at(beta)
        if correct is None or not check_flag("correct", correct):
            return self.solve(n, condition, solver=solver, rtol=rtol, atol=atol, seed=seed).y
        from egflow._correct import correct as correct_samples

        energy = self.energy if energy is None else energy
        if self.base is None or energy is None or self.beta is None:
            raise ValueError("correct=True needs the base and the energy at hand: tilt, or load and give energy= again")
        many = None if condition is None else self._check_condition(condition, n)
        repeated = None if many is None else many.repeat_interleave(4, 0)
        samples = self.solve(4 * n, repeated, solver=solver, rtol=rtol, atol=atol, seed=seed).y
        return correct_samples(samples, self, self.base, energy, self.beta, condition=repeated, n=n, seed=seed)

    def solve(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Solution:
        """As `sample`, with the solver's statistics: a `Solution` of samples, evaluations and rejected steps."""
        self = self.at(beta)
        condition = self._check_condition(condition, check_count("n", n))
        z_0 = self._source(n, seed)
        solution = self.integrate(z_0, 0.0, self.path.t_end, condition, solver=solver, rtol=rtol, atol=atol)
        return Solution(self.shift + self.scale * solution.y, solution.nfe, solution.rejected)

    def sample_with_log_prob(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        probes: int | None = None,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """n samples (n, *event) and their log-densities (n,) float64, from one integration; see `log_prob`."""
        self = self.at(beta)
        condition = self._check_condition(condition, check_count("n", n))
        settings = self._density_settings(probes, solver, rtol, atol, seed)
        z, log_q = push_density(self._velocity, self._source(n, seed), condition, self.path.t_end, settings)
        return self.shift + self.scale * z, log_q - self._log_scale

    def integrate(
        self,
        z: Tensor,
        t_0: float,
        t_1: float,
        condition: Tensor | None = None,
        *,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
    ) -> Solution:
        """Carry preprocessed points z (n, *event) along the flow from t_0 to t_1."""
        chosen = self.tuned if isinstance(solver, str) and solver == "tuned" and self.tuned else make_solver(solver)
        parts = []
        with torch.no_grad():
            for start in range(0, len(z), _CHUNK):
                c = None if condition is None else condition[start : start + _CHUNK]

                def field(y: Tensor, t: Tensor, rows: Tensor, c: Tensor | None = c) -> Tensor:
                    return self._velocity(y, t, None if c is None else c[rows])

                parts.append(chosen.solve(field, z[start : start + _CHUNK], t_0, t_1, rtol=rtol, atol=atol))
        return Solution(*(torch.cat([getattr(part, name) for part in parts]) for name in ("y", "nfe", "rejected")))

    def tune(self, nfe: int = 16, *, condition: Tensor | int | None = None, n: int = 1_000, seed: int = 0) -> float:
        """Fit the ``tuned`` solver to this flow: a grid and multistep coefficients for nfe evaluations a sample.

        Args:
            nfe: evaluations a sample.
            condition: as in `sample`, for n samples.
            n: trajectories to fit on.
            seed: of the trajectories.

        Returns:
            The root-mean-square error against an accurate solution, on trajectories not fitted on, in units of
            preprocessed data. Saved with the flow; `sample(solver="tuned")` uses it.
        """
        check_count("n", n)
        c = self._check_condition(condition, n)
        z_0 = self._source(n, seed, -3)
        with torch.no_grad():
            self.tuned, error = fit_tuned(
                lambda y, t, rows: self._velocity(y, t, None if c is None else c[rows]), z_0, 0.0, self.path.t_end, nfe
            )
        return error

    def log_prob(
        self,
        x: Tensor,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        probes: int | None = None,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Tensor:
        """Natural log-density of x, by the change of variables along the flow (Chen et al. 2018).

            log q(x) = log N(z_0) − ∫ ∇·v dt − Σ log scale

        Args:
            x: (batch, *event).
            condition, beta: as in `sample`.
            probes: None for the exact divergence (a backward pass a dimension and evaluation), or the number of
                Hutchinson's probes; `log_prob_with_error` gives their error bar.
            solver, rtol, atol: as in `sample`; ``tuned`` does not apply.
            seed: of the probes.

        Returns:
            (batch,).

        Raises:
            ValueError, egflow.solver.SolverError: as `sample`, and for an x that is no point.
        """
        self = self.at(beta)
        return self.log_prob_with_error(x, condition, probes=probes, solver=solver, rtol=rtol, atol=atol, seed=seed)[0]

    def log_prob_with_error(
        self,
        x: Tensor,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        probes: int | None = None,
        solver: str | Solver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """As `log_prob`, with the standard error of Hutchinson's estimate (0 where exact, NaN for one probe)."""
        self = self.at(beta)
        x = check_finite("x", self._check_x(x))
        condition = self._check_condition(condition, len(x))
        settings = self._density_settings(probes, solver, rtol, atol, mix(seed, -4))
        z = (x - self.shift) / self.scale
        log_q, error = log_density(self._velocity, z, condition, self.path.t_end, settings)
        return (log_q - self._log_scale).to(x.dtype), error.to(x.dtype)

    def _velocity(self, z: Tensor, t: Tensor, condition: Tensor | None) -> Tensor:
        value = self.network(z, t, condition)
        return self.path.convert(value, z, t, self.prediction, "velocity")

    def _check_x(self, x: Tensor) -> Tensor:
        return check_points(x, self.event_shape).to(self.shift)

    def _check_condition(self, condition: Tensor | int | None, n: int) -> Tensor | None:
        c = check_flow_condition(condition, n, self.condition_shape, self.num_classes, self.shift)
        return c if c is None or self.num_classes is not None else check_finite("condition", c)

    def _source(self, n: int, seed: int, stream: int = -2) -> Tensor:
        generator = torch.Generator().manual_seed(mix(seed, stream))
        return torch.randn(n, *self.event_shape, generator=generator).to(self.shift)

    @property
    def _log_scale(self) -> Tensor:
        return self.scale.double().log().expand(self.event_shape).sum()

    def _density_settings(
        self, probes: int | None, solver: str | Solver | None, rtol: float, atol: float, seed: int
    ) -> DensitySettings:
        if probes is not None:
            check_count("probes", probes)
        return DensitySettings(probes, make_solver(solver), rtol, atol, seed)
