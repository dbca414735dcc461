"""What an energy is: a module from (batch, *event) to (batch,), low = good, +inf = forbidden."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from egflow.energy._check import check_inputs, check_output


@runtime_checkable
class BlackBox(Protocol):
    """All that tilting asks of an energy: values. x (batch, *event) -> (batch,)."""

    def __call__(self, x: Tensor, condition: Tensor | None = None) -> Tensor: ...


@runtime_checkable
class Differentiable(Protocol):
    """What only the gradient-guided peers ask for besides: ∂E/∂x, (batch, *event) -> (batch, *event)."""

    def __call__(self, x: Tensor, condition: Tensor | None = None) -> Tensor: ...

    def gradient(self, x: Tensor, condition: Tensor | None = None) -> Tensor: ...


class EnergyModel(nn.Module):
    """An energy E(x | condition): low is good, +inf is forbidden, NaN and −inf are errors.

    Write `forward`, or wrap a function with `as_energy`. Energies are combined on their own scale, and what is
    forbidden stays so under every operation: ``2 * a + b``, ``a - b``, ``-a``, ``a / 2``, ``a + 3.0``,
    ``a.clip(lo, hi)``. A combination computes in float64, and is differentiable where its parts are.

    Example:
        >>> import torch
        >>> class Height(EnergyModel):
        ...     def forward(self, x, condition=None):
        ...         return x[:, 1]
        >>> (2 * Height() + 1.0)(torch.tensor([[0.0, 3.0]]))
        tensor([7.], dtype=torch.float64)
    """

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Energies (batch,) of x (batch, *event) under condition (batch, …) or None."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x, condition=None) -> (batch,)")

    def describe(self) -> str:
        """A short name for people, as in report.json's ``energy``."""
        return type(self).__name__

    @property
    def differentiable(self) -> bool:
        """Whether `forward` builds a torch graph from x. A subclass that does not overrides this with False."""
        return True

    def gradient(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """∂E/∂x at each row: (batch, *event), in x's dtype; 0 where forbidden.

        Raises:
            TypeError: for a black-box energy, or one whose output does not depend on x through a torch graph.
        """
        check_inputs(x, condition)
        if not self.differentiable:
            raise TypeError(f"energy {self.describe()} is a black box: it has values but no gradient")
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = check_output(self(x, condition), x.shape[0], self.describe())
            allowed = energy[energy != torch.inf].sum()
            gradient = None
            if allowed.requires_grad:
                (gradient,) = torch.autograd.grad(allowed, x, allow_unused=True)
        if gradient is None:
            raise TypeError(
                f"energy {self.describe()} does not depend on x through torch: it was detached or left torch"
            )
        return gradient

    def clip(self, lo: float | None = None, hi: float | None = None) -> EnergyModel:
        """min(max(E, lo), hi) of what is allowed; what is forbidden stays forbidden.

        Raises:
            ValueError: for no bound at all, a bound that is not finite, or lo > hi.
        """
        from egflow.energy._algebra import Clipped  # the algebra's nodes are EnergyModels themselves

        return Clipped(self, lo, hi)

    def __add__(self, other: EnergyModel | float) -> EnergyModel:
        from egflow.energy._algebra import Shifted, Sum

        return Sum(self, other) if isinstance(other, EnergyModel) else Shifted(self, other)

    def __radd__(self, other: float) -> EnergyModel:
        return self + other

    def __sub__(self, other: EnergyModel | float) -> EnergyModel:
        return self + (-other)

    def __rsub__(self, other: float) -> EnergyModel:
        return -self + other

    def __neg__(self) -> EnergyModel:
        return -1 * self

    def __mul__(self, factor: float) -> EnergyModel:
        from egflow.energy._algebra import Scaled

        return Scaled(self, factor)

    def __rmul__(self, factor: float) -> EnergyModel:
        return self * factor

    def __truediv__(self, divisor: float) -> EnergyModel:
        from egflow.energy._algebra import Scaled, number

        if (value := number(divisor, "the divisor of an energy")) == 0:
            raise ValueError("an energy is divided by 0; divide by a finite number other than 0")
        return Scaled(self, 1 / value)
