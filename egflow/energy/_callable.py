"""`as_energy`: any Python function as an energy, in this process or in workers, with or without a cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, overload

import torch
from torch import Tensor, nn

from egflow.energy._check import check_inputs, check_output
from egflow.energy._collect import collect
from egflow.energy._decode import Decoder
from egflow.energy._errors import EnergyError, own_message, where_raised
from egflow.energy._fingerprint import fingerprint
from egflow.energy._model import EnergyModel
from egflow.energy._run import Call, Policy, first_failure
from egflow.energy._signature import function_name, takes_condition
from egflow.energy._tally import Tally, current_tally
from egflow.energy._worker_options import Backend, Workers


@dataclass(frozen=True, slots=True)
class Options:
    """`as_energy`'s arguments, checked."""

    on: str | None
    decode: Decoder | None
    workers: Workers
    on_failure: Policy
    cache: Path | None
    version: str | None


class CallableEnergy(EnergyModel):
    """A function as an energy; made by `as_energy`, which explains the arguments."""

    def __init__(self, fn: Callable[..., Any], batch: bool, name: str, options: Options):
        super().__init__()
        self.call = Call(fn, name, batch, takes_condition(fn, f"energy {name}"))
        if isinstance(fn, nn.Module):
            self.fn = fn  # a submodule, so that .to(device) and .eval() reach it
        self.on, self.decode = options.on, options.decode
        self.workers = options.workers
        self.policy: Policy = options.on_failure
        self.cache, self.version = options.cache, options.version

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Energies (batch,): as the function returned them, or float64 on x's device where they were collected."""
        check_inputs(x, condition)
        tally = current_tally(x.shape[0])
        cache = self.cache or (tally.cache if tally else None)
        if self.simple and cache is None:
            return self.direct(x, condition, tally)
        with torch.no_grad():
            return collect(self, x.detach(), condition, cache, tally).to(x.device)

    def direct(self, x: Tensor, condition: Tensor | None, tally: Tally | None) -> Tensor:
        """One call of a function on the whole batch, its graph kept."""
        if tally is not None:
            tally.called[:] = True
        try:
            value = self.call.raw(x, condition)
        except Exception as error:  # the energy is foreign code: its own message goes to the user
            index = first_failure(self.call.raw, x, condition, 0, x.shape[0])
            place = None if index is None else index + (tally.offset if tally else 0)
            where = f"on a batch of {x.shape[0]}" if place is None else f"for item {place}"
            said = own_message(error) + where_raised(error, self.call.fn)
            raise EnergyError(f"energy {self.call.name} failed {where}: {said}", place) from error
        return check_output(value, x.shape[0], self.call.name)

    @property
    def simple(self) -> bool:
        """Whether the function sees the batch as it is, so that its graph can be kept."""
        call = self.call
        return (
            call.batch and not self.workers.count and self.on is None and self.decode is None and self.policy == "raise"
        )

    @property
    def differentiable(self) -> bool:
        return self.simple and self.cache is None

    def identity(self) -> str:
        """What the cache calls this energy: function, version, and how x reaches it."""
        decoder = fingerprint(self.decode, None) if self.on is None and self.decode is not None else self.on
        return f"{fingerprint(self.call.fn, self.version)} on {decoder} batch {self.call.batch}"

    def describe(self) -> str:
        return self.call.name

    def extra_repr(self) -> str:
        return self.call.name


@overload
def as_energy(
    fn: Callable[..., Any],
    *,
    on: str | None = None,
    decode: Decoder | None = None,
    batch: bool = True,
    workers: int = 0,
    backend: Backend | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    on_failure: Policy = "raise",
    cache: str | Path | None = None,
    version: str | int | None = None,
    name: str | None = None,
) -> EnergyModel: ...


@overload
def as_energy(
    fn: None = None,
    *,
    on: str | None = None,
    decode: Decoder | None = None,
    batch: bool = True,
    workers: int = 0,
    backend: Backend | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    on_failure: Policy = "raise",
    cache: str | Path | None = None,
    version: str | int | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Any]], EnergyModel]: ...


def as_energy(
    fn: Callable[..., Any] | None = None,
    *,
    on: str | None = None,
    decode: Decoder | None = None,
    batch: bool = True,
    workers: int = 0,
    backend: Backend | None = None,
    time_limit: float | None = None,
    memory_limit: float | None = None,
    on_failure: Policy = "raise",
    cache: str | Path | None = None,
    version: str | int | None = None,
    name: str | None = None,
) -> EnergyModel | Callable[[Callable[..., Any]], EnergyModel]:
    """Make an energy of a function; also a decorator, ``@as_energy`` or ``@as_energy(batch=False, workers=4)``.

    Low is good, +inf is forbidden. The function's values are taken as they are: nothing is standardised or clipped.

    Args:
        fn: called as fn(x), or as fn(x, condition) where its second positional parameter is required or is named
            ``condition``. With batch=True x is the batch (batch, *event), and fn returns a float tensor (batch,) (a
            float numpy array of that shape is converted). With batch=False x is one item, and fn returns one float.
        on: name of a decoder that the domain gives later (`bind_decoders`); fn then gets decoded objects.
        decode: the decoder itself: (batch, *event) -> a sequence of batch objects. Where an object is None the item is
            forbidden and fn is not asked.
        batch: whether fn takes a batch or one item.
        workers: number of worker processes; 0 runs here. fn must stand at the top level of a module or file. With
            batch=True fn gets batches of up to 64 items.
        backend: where workers run: "processes" of this machine (the default), or actors on a "ray" cluster, the one
            that ``RAY_ADDRESS`` names or one started here. fn travels to Ray by value where its module cannot be
            imported there.
        time_limit: seconds for one item (for a batch of k items k times as many), after which its worker is killed and
            replaced. Needs workers.
        memory_limit: MB (10^6 bytes) that items may take, on top of what their worker holds when fn is loaded; a call
            that asks for more fails, and its worker is replaced. Needs workers, and Linux.
        on_failure: what becomes of an item on which fn raises, returns NaN, takes too much or ends its worker:
            "raise" (an `EnergyError` with fn's own message and the item's index) or "forbid" (+inf, counted).
        cache: folder of a persistent cache. The key holds the item's bytes and its condition, the function's name and
            version. Failures are never cached.
        version: stands for the function's code in the cache's key: change it when the energy changes. Without it the
            function's own code and constants are the key, which does not see what it uses from elsewhere.
        name: what reports call it; the function's own name by default.

    Returns:
        An `EnergyModel`; fn itself where it is one already and no option is given. Where fn was made by `as_energy`,
        its function is taken again, and the options given here replace its own.

    Raises:
        TypeError, ValueError: where fn takes no batch, or an option is not what it must be.

    Example:
        >>> height = as_energy(lambda x: x[:, 1], name="height")
        >>> (2 * height)(torch.tensor([[0.0, 3.0]]))
        tensor([6.], dtype=torch.float64)
    """

    def wrap(fn: Callable[..., Any]) -> EnergyModel:
        own = fn if isinstance(fn, CallableEnergy) else None
        options = (on, decode, workers, backend, time_limit, memory_limit, cache, version, name)
        if isinstance(fn, EnergyModel) and not any(options) and batch and on_failure == "raise":
            return fn
        if own is not None:
            fn = own.call.fn
        check_function(fn)
        given = own.workers if own else Workers()
        crew = Workers(
            workers or given.count,
            backend or given.backend,
            time_limit or given.time_limit,
            memory_limit or given.memory_limit,
        )
        crew.check_together()
        merged = Options(
            on=on or (own.on if own and decode is None else None),
            decode=decode or (own.decode if own and on is None else None),
            workers=crew,
            on_failure=own.policy if own and on_failure == "raise" else on_failure,
            cache=Path(cache) if cache is not None else (own.cache if own else None),
            version=str(version) if version is not None else (own.version if own else None),
        )
        label = name or (own.call.name if own else fn.describe() if isinstance(fn, EnergyModel) else function_name(fn))
        return CallableEnergy(fn, batch and (own is None or own.call.batch), label, merged)

    Workers(workers, backend or "processes", time_limit, memory_limit)  # checked before fn is known
    if on_failure not in get_args(Policy):
        raise ValueError(f"on_failure is {on_failure!r}; give 'raise' or 'forbid'")
    if on is not None and decode is not None:
        raise ValueError("both on= and decode= are given; on= names the domain's decoder, decode= is your own")
    return wrap if fn is None else wrap(fn)


def check_function(fn: Any) -> None:
    if not callable(fn):
        raise TypeError(f"an energy is a function (batch, *event) -> (batch,); this is a {type(fn).__name__}")
    if isinstance(fn, type):
        raise TypeError(f"{fn.__name__} is a class, not an energy; give an instance of it, or a function")
