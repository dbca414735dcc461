"""The verdict in words: what the figures allow to be said, and no more.

Each check compares a difference with its own error. What is inferred, not measured, is called so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from egflow.report._compare import Comparison
from egflow.report._coverage import Coverage
from egflow.report._distance import Halved
from egflow.report._memory import Memory

FEW_EFFECTIVE, NO_ERROR_BAR, FEW_SAMPLES = 1000, 100, 200
Mean = tuple[float, float]
REMEDY = "lower beta, bring more data, or go in rounds"


@dataclass(frozen=True, slots=True)
class Account:
    """The figures a verdict is drawn from; None where they could not be had. Means come as (value, standard error).

    `base_std` is the energy's spread over the untilted data; `matched` the beta of the samples' mean energy;
    `resembles` says whether the data at that beta agree with the samples in energy and coverage. With several energies
    all of that is of their sum, at beta 1, and `each` has the comparison of every one by name.
    """

    beta: float
    n_eff: float
    n_held: float
    n_samples: int
    base: Mean | None
    target: Mean | None
    generated: Mean | None
    base_std: float
    ks: float | None
    ks_noise: float
    distance: Halved | None
    coverage: Coverage | None
    memory: Memory | None
    forbidden: float
    matched: Mean | None
    resembles: bool
    missed_at_matched: bool
    each: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def widen(self) -> float:
        """Errors estimated from few held-out points are too small, the more the fewer: a factor set by simulation."""
        return 1 + 15 / self.n_held if self.n_held > 0 else math.inf

    def apart(self, a: Mean, b: Mean, slack: float) -> bool:
        """Whether two means differ by more than three of their widened errors and a slack."""
        return abs(a[0] - b[0]) > 3 * self.widen * math.hypot(a[1], b[1]) + slack


def _g(value: float) -> str:
    return f"{value:.4g}"


def _energy(account: Account) -> tuple[str, str] | None:
    """What the mean energy, and the distribution of the energies, say."""
    base, target, made = account.base, account.target, account.generated
    if base is None or target is None or made is None:
        return None
    slack = 0.01 * account.base_std
    if not account.apart(made, target, slack):
        if account.ks is not None and account.ks > account.widen * account.ks_noise:
            return "energy", (
                f"energies are not distributed as the target's: KS {account.ks:.3f}, where chance gives up to "
                f"{account.widen * account.ks_noise:.3f}"
            )
        return _each_energy(account)
    means = f"mean energy {_g(made[0])} ± {_g(made[1])}, target {_g(target[0])} ± {_g(target[1])}"
    untilted = f"untilted data {_g(base[0])}"
    if account.apart(base, target, slack):
        like_base = abs(made[0] - base[0]) <= 3 * math.hypot(made[1], base[1]) + 0.05 * abs(target[0] - base[0])
        if like_base:
            return "ignores_energy", f"ignores the energy: {means}, {untilted}"
    if account.matched is not None and account.resembles:
        beta, error = account.matched
        if abs(beta - account.beta) > 4 * account.widen * error:
            less = abs(beta) < abs(account.beta) and beta * account.beta >= 0
            how = "too little" if less else "the wrong way" if beta * account.beta < 0 else "too much"
            asked = f"beta ≈ {beta:.3g} ± {error:.1g}, not {account.beta:.3g}"
            if account.each:
                asked = f"{beta:.3g} ± {error:.1g} times the betas asked for"
            return "wrong_beta", f"tilts {how}: its energies are those of {asked} (inferred from the energies; {means})"
    return "energy", f"misses the target's energies: {means}, {untilted}"


def _each_energy(account: Account) -> tuple[str, str] | None:
    """With several energies: one whose mean is off though the sum's is right."""
    for name, one in account.each.items():
        made, target = one.generated, one.target
        if made is not None and target is not None and account.apart(made, target, 0.01 * one.base_std):
            return "energy", (
                f"misses the target's {name}: mean {_g(made[0])} ± {_g(made[1])}, target {_g(target[0])} ± "
                f"{_g(target[1])}"
            )
    return None


def _findings(account: Account) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    trusted = account.n_eff >= NO_ERROR_BAR
    if trusted and (energy := _energy(account)):
        found.append(energy)
    explained = bool(found) and found[0][0] in ("ignores_energy", "wrong_beta") and not account.missed_at_matched
    coverage = account.coverage
    if trusted and coverage and coverage.mass > 0.005 and not explained:
        found.append(
            (
                "misses",
                f"misses part of the target: regions that hold {coverage.mass:.1%} of its mass have "
                f"{coverage.share:.1%} of the samples",
            )
        )
    if account.memory and account.memory.found:
        memory = account.memory
        found.append(
            (
                "memorised",
                f"repeats the training data: the nearest data point of {memory.share:.1%} of the samples was "
                f"trained on, chance gives {memory.expected:.1%} ± {memory.stderr:.1%} "
                f"(about {min(memory.copied, 1):.0%} copies)",
            )
        )
    if account.forbidden > 0.005:
        found.append(("forbidden", f"{account.forbidden:.1%} of the samples are forbidden"))
    distance = account.distance
    told = {"energy", "misses", "ignores_energy", "wrong_beta"} & {code for code, _ in found}
    limit = distance.expected + account.widen * (distance.limit - distance.expected) if distance else 0.0
    if trusted and distance and distance.value > limit and not told:
        words = (
            f"distance {_g(distance.value)} is {distance.value / distance.floor:.2f} x its floor, chance gives up to "
            f"{limit / distance.floor:.2f} x"
            if distance.floor > 0
            else f"distance {_g(distance.value)} over a floor of 0"
        )
        found.append(("distance", f"away from the target: {words}"))
    return found


def _measured(account: Account) -> str:
    parts = []
    if account.distance and account.distance.floor > 0:
        parts.append(f"distance {account.distance.value / account.distance.floor:.2f} x its floor")
    if account.generated and account.target:
        (made, _), (target, error) = account.generated, account.target
        bar = f" ± {_g(error)}" if account.n_eff >= NO_ERROR_BAR else ""
        parts.append(f"mean energy {_g(made)}, target {_g(target)}{bar}")
    if account.ks is not None:
        parts.append(f"energy KS {account.ks:.3f}")
    return ", ".join(parts)


def verdict(account: Account) -> tuple[list[str], str]:
    """The codes of what was found, and the verdict in one paragraph."""
    found = _findings(account)
    codes = [code for code, _ in found]
    words = "; ".join(text for _, text in found)
    distance = account.distance
    if found and distance and distance.floor > 0 and "distance" not in codes:
        words += f"; distance {distance.value / distance.floor:.2f} x its floor"
    if codes == ["memorised"] and account.n_eff >= FEW_EFFECTIVE:
        words += "; otherwise within noise of the target"
    few = []
    if account.n_eff < FEW_EFFECTIVE:
        codes.insert(0, "few_effective")
        few.append(f"too few effective samples: n_eff = {account.n_eff:.0f}, under {FEW_EFFECTIVE} ({REMEDY})")
    if account.n_samples < FEW_SAMPLES:
        codes.insert(0, "few_samples")
        few.append(f"too few generated samples: {account.n_samples}, under {FEW_SAMPLES}")
    if not few:
        if account.target is None or account.generated is None or account.distance is None:
            return codes, words or "no verdict: the target or the samples could not be measured, see notes"
        return codes, words or f"within noise of the target: {_measured(account)}"
    if account.n_eff < NO_ERROR_BAR:
        words = words or "no standard error can be given, so nothing is claimed about the tilt"
    elif not found:
        words = (
            "no difference beyond the error bars was seen, which does not show that there is none "
            f"({_measured(account)})"
        )
    else:
        words = f"even so: {words}"
    return codes, "; ".join([*few, words])
