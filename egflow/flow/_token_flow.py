"""The flow of tokens: a network that tells what is hidden on a discrete path, sampled and asked for likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from egflow._kinds import as_tensor, check_flag
from egflow._token_inputs import check_fixed, check_tokens, check_vocabulary
from egflow.flow._flow import Flow
from egflow.flow._token_correction import check_correction, corrects
from egflow.flow._token_density import told_in_random_orders, told_left_to_right
from egflow.flow._token_model import NetworkModel
from egflow.network import AtBeta, Recurrent, Twisted
from egflow.path import TokenPath, make_token_path
from egflow.solver import Solver, TokenSolution, TokenSolver, make_token_solver
from egflow.training import check_count, mix

if TYPE_CHECKING:
    from egflow.energy import EnergyModel

_CHUNK = 2**21  # numbers a network may give at once, so that memory does not grow with n
_AT_ONCE = 2_048  # rows drawn together from left to right, which keeps one position of them
_ORDERS = 8
_WIDE = 384  # width from which bfloat16 gains


class TokenFlow(Flow):
    """A generator of tokens (batch, length), with a likelihood where its path has one.

    Args:
        network: ``forward(x_t, t, condition)``: x_t (batch, length) long ids inside, see `egflow.path.Vocabulary`, to
            logits (batch, length, outputs). On the sequential path logits at position i are for the token after input
            i, and ``start``, ``step`` and ``select`` sample with a cached state, see `egflow.network.Recurrent`.
        length: of a row.
        vocab_size: tokens are 0 … vocab_size − 1.
        pad_id: the id of padding at the end of shorter rows, inside or outside the vocabulary; None: all are full.
        path: "sequential" (None), "masked" or "uniform".

    Attributes:
        vocabulary: the ids of tokens inside.
        The others are those of `Flow`.

    Example:
        >>> from egflow.network import Recurrent
        >>> flow = TokenFlow(Recurrent(inputs=5, outputs=4, length=6, width=8), 6, vocab_size=3, pad_id=-1)
        >>> flow.log_prob(flow.sample(2)).shape
        torch.Size([2])
    """

    path: Any  # a TokenPath; the methods of `Flow` that need a velocity are refused below

    def __init__(
        self,
        network: nn.Module,
        length: int,
        *,
        vocab_size: int,
        pad_id: int | None = None,
        path: str | TokenPath | None = None,
    ) -> None:
        super().__init__(network, (check_count("length", length),))
        self.vocabulary = check_vocabulary(vocab_size, pad_id)
        self.path = make_token_path(path)
        self.prediction = "x_1"

    @property
    def vocab_size(self) -> int:
        """Tokens are 0 … vocab_size − 1."""
        return self.vocabulary.size

    @property
    def pad_id(self) -> int | None:
        """The id of padding, or None."""
        return self.vocabulary.pad_id

    @property
    def length(self) -> int:
        """Positions of a row."""
        return self.event_shape[0]

    def at(self, beta: float | Sequence[float] | None) -> TokenFlow:
        """See `Flow.at`."""
        fixed = super().at(beta)
        assert isinstance(fixed, TokenFlow)
        return fixed

    def sample(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        solver: str | Solver | TokenSolver | None = None,
        correct: bool | None = None,
        energy: EnergyModel | list[EnergyModel] | None = None,
        fixed: Tensor | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Tensor:
        """n samples.

        Args:
            n: how many.
            condition, beta: as in `Flow.sample`.
            solver: "ancestral" (sequential, the only one there; masked), "ctmc" (masked and uniform, their default),
                "entropy" (masked), or an object such as ``CTMC(steps=16)``.
            correct: draw four times as many, or more where rows would repeat, and resample by
                base · exp(−beta·E) / q, see `egflow.correct`; None: so it is done on the sequential path where base and
                energy are at hand, rows share one condition and one prefix, and the solver is exact; but for what a
                search left (``method="trajectory_balance"``), whose calls are counted, only with ``energy`` given.
            energy: for the correction where the flow was loaded; else that of the last tilt.
            fixed: (length,) or (n, length) long: tokens that are given, −1 where a position is free. Anything on the
                masked path (infilling), a prefix on the sequential one.
            rtol, atol: of no use here.
            seed: fixes the samples.

        Returns:
            (n, length) long, padded with ``pad_id``, on the flow's device.

        Raises:
            ValueError: for a bad n, condition, beta, solver or fixed, or a correction that cannot be had.
        """
        flow = self.at(beta)
        if fixed is not None:
            fixed = as_tensor("fixed", fixed, f"a long tensor ({self.length},) or (n, {self.length})")
        if correct is None:
            correct = corrects(flow, condition, solver, energy, fixed)
        if not check_flag("correct", correct):
            return flow.solve(n, condition, solver=solver, fixed=fixed, seed=seed).y
        from egflow._correct import draw_corrected

        check_correction(flow, solver, energy, fixed)
        one = flow._check_condition(condition, check_count("n", n))

        def draw(k: int, part: int) -> tuple[Tensor, Tensor, Tensor | None]:
            repeated = None if one is None else one[:1].expand(k, *one.shape[1:])
            made = flow.solve(k, repeated, solver=solver, fixed=fixed, seed=seed if part == 0 else mix(seed, part))
            log_q = made.log_q
            return made.y, flow.log_prob(made.y, repeated) if log_q is None else log_q, repeated

        given: Any = flow.energy if energy is None else energy
        assert flow.base is not None and flow.beta is not None
        return draw_corrected(draw, n, flow, flow.base, given, flow.beta, seed=seed)

    def solve(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        solver: str | Solver | TokenSolver | None = None,
        fixed: Tensor | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> TokenSolution:
        """As `sample`, never corrected, with evaluations, and whether the samples are exact for a perfect network."""
        flow = self.at(beta)
        condition = flow._check_condition(condition, check_count("n", n))
        words, chosen = flow.vocabulary, make_token_solver(solver, flow.path)
        x = torch.full((n, flow.length), words.own)
        if fixed is not None:
            x = check_fixed(fixed, n, flow.length, words, flow.path.name)
        generator = torch.Generator().manual_seed(mix(seed, -2))
        parts: list[TokenSolution] = []
        at_once = _AT_ONCE if flow.path.name == "sequential" else flow._rows
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=flow._in_bfloat16):
            for rows in torch.arange(n).split(at_once):
                model = flow._model(None if condition is None else condition[rows.to(flow.device)])
                parts.append(chosen.solve_tokens(model, x[rows].to(flow.device), generator))
        y, nfe, rejected = (torch.cat([getattr(part, name) for part in parts]) for name in ("y", "nfe", "rejected"))
        told = [part.log_q for part in parts if part.log_q is not None]
        log_q = torch.cat(told) if len(told) == len(parts) else None
        return TokenSolution(words.decode(y), nfe, rejected, parts[0].exact, parts[0].word, log_q)

    def sample_with_log_prob(
        self,
        n: int,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        probes: int | None = None,
        solver: str | Solver | TokenSolver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """n samples (n, length) and their log-probabilities (n,) float64; see `sample` and `log_prob`.

        They are what the samples were drawn with: in bfloat16 a few hundredths of a nat from `log_prob`, in float32.
        """
        flow = self.at(beta)
        flow._check_likelihood()
        solution = flow.solve(n, condition, solver=solver, seed=seed)
        if not solution.exact:
            raise ValueError(f"the log-probability of samples drawn with {solution.word} is not known: use sample")
        if solution.log_q is not None:
            return solution.y, solution.log_q
        return solution.y, flow.log_prob(solution.y, condition, probes=probes, seed=seed)

    def log_prob(
        self,
        x: Tensor,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        probes: int | None = None,
        solver: str | Solver | TokenSolver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> Tensor:
        """Natural log-probability of x: exact on the sequential path, an estimate on the masked one.

        Args:
            x: (batch, length) long.
            condition, beta: as in `sample`.
            probes: masked: random orders the chain rule is taken in, 8 if None; a lower bound in the mean.
            solver, rtol, atol: of no use here.
            seed: of the orders.

        Returns:
            (batch,) float64.

        Raises:
            ValueError: for tokens that are none, or on the uniform path, which has no likelihood.
        """
        return self.log_prob_with_error(x, condition, beta=beta, probes=probes, seed=seed)[0]

    def log_prob_with_error(
        self,
        x: Tensor,
        condition: Tensor | int | None = None,
        *,
        beta: float | Sequence[float] | None = None,
        probes: int | None = None,
        solver: str | Solver | TokenSolver | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
    ) -> tuple[Tensor, Tensor]:
        """As `log_prob`, with the standard error over the orders (0 where exact, NaN for one order)."""
        flow = self.at(beta)
        flow._check_likelihood()
        z = flow._check_x(x)
        condition = flow._check_condition(condition, len(z))
        orders = _ORDERS if probes is None else check_count("probes", probes)
        generator = torch.Generator().manual_seed(mix(seed, -4))
        log_p = torch.zeros(len(z), dtype=torch.float64, device=flow.device)
        error = torch.zeros_like(log_p)
        order = torch.arange(len(z), device=flow.device)
        if flow.path.likelihood == "exact" and flow.vocabulary.end is not None:
            order = (z != flow.vocabulary.end).sum(1).argsort()  # rows of like length, for their ends are left out
        with torch.no_grad():
            for rows in order.split(flow._rows):
                model = flow._model(None if condition is None else condition[rows])
                if flow.path.likelihood == "exact":
                    log_p[rows] = told_left_to_right(model, z[rows])
                else:
                    log_p[rows], error[rows] = told_in_random_orders(model, z[rows], orders, generator)
        return log_p, error

    def velocity(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: tokens do not move."""
        raise ValueError("a flow of tokens has no velocity: it jumps; sample, solve and log_prob are what it has")

    def integrate(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: tokens do not move."""
        raise ValueError("a flow of tokens is no ODE to integrate: use solve")

    def tune(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: there is no ODE to tune a solver for."""
        raise ValueError("a flow of tokens is no ODE to tune a solver for: use solver='ctmc:16' for fewer evaluations")

    def __repr__(self) -> str:
        return super().__repr__().replace("Flow(", "TokenFlow(", 1)

    @property
    def _in_bfloat16(self) -> bool:
        """Whether samples are drawn in bfloat16: large networks on CPUs that multiply in it, some twice as fast.

        Samples then follow the rounded network (log_q says which exactly), .01 nats from the one of `log_prob`.
        """
        if self.device.type != "cpu" or self.path.name != "sequential":
            return False
        network: Any = self.network.network if isinstance(self.network, AtBeta) else self.network
        network = network.base if isinstance(network, Twisted) else network
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)  # not public: no where it is not there
        return isinstance(network, Recurrent) and network.width >= _WIDE and bool(supported())

    def _model(self, condition: Tensor | None) -> NetworkModel:
        return NetworkModel(self.network, self.path, self.vocabulary, condition)

    @property
    def _rows(self) -> int:
        """How many rows are computed at once."""
        wide = max(self.vocabulary.outputs, self.length)
        return min(8_192, max(1, _CHUNK // (self.length * wide)))

    def _check_x(self, x: Tensor) -> Tensor:
        x = check_tokens(x, self.vocabulary)
        if x.shape[1] != self.length:
            raise ValueError(f"x must have shape (batch, {self.length}), got {tuple(x.shape)}")
        return self.vocabulary.encode(x).to(self.device)

    def _check_likelihood(self) -> None:
        if self.path.likelihood == "none":
            raise ValueError(f"path {self.path.name!r} has no likelihood: use 'sequential' (exact) or 'masked'")
