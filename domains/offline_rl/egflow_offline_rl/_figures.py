"""The domain's pictures: returns, Q against returns, actions of some states, the achieved beta, a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from egflow.report._canvas import DATA, MADE, STYLE, TARGET, canvas
from egflow_offline_rl._kept import Kept
from egflow_offline_rl._report import policy_actions
from egflow_offline_rl._returns import Returns
from egflow_offline_rl._rollout import Rollout

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BEHAVIOUR = "#009E73"  # Okabe and Ito's green, beside the data's grey and the policy's vermilion
_STATES = 6
_DRAWS = 200


def save_own_figures(kept: Kept, returns: Returns, rollout: Rollout, seed: int, folder: Path) -> list[Path]:
    """Write the figures there is something to draw of: returns, q, actions, achieved_beta and rollout, each a png."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        drawn: dict[str, Figure | None] = {
            "returns.png": returns_figure(returns),
            "q.png": q_figure(kept),
            "actions.png": actions_figure(kept, seed),
            "achieved_beta.png": achieved_figure(kept.record["steps"]),
            "rollout.png": rollout_figure(rollout),
        }
        found = {name: figure for name, figure in drawn.items() if figure is not None}
        for name, figure in found.items():
            figure.savefig(folder / name, bbox_inches="tight")
    return [folder / name for name in found]


def returns_figure(returns: Returns) -> Figure:
    """Returns of the data's episodes and of each policy's; and beside them how the return rose on the way."""
    figure, axes = canvas(1, 2, 10.2, 3.6, gridspec_kw={"width_ratios": [3, 2]})
    left, right = axes[0]
    entries = [("policy", returns.policy.returns, MADE)]
    if returns.best_of is not None:
        entries.append((f"best of {returns.n}", returns.best_of.returns, "#CC79A7"))
    if returns.behaviour is not None and returns.behaviour is not returns.policy:
        entries.append(("behaviour cloning", returns.behaviour.returns, BEHAVIOUR))
    everything = np.concatenate([returns.data, *(values for _, values, _ in entries)])
    bins = np.linspace(everything.min(), max(everything.max(), everything.min() + 1e-6), 41)
    left.hist(returns.data, bins, weights=np.full(len(returns.data), 1 / len(returns.data)), color=DATA, alpha=0.35)
    top = left.get_ylim()[1]
    for row, (name, values, colour) in enumerate(entries):
        height = top * (1.12 + 0.16 * row)
        left.plot(values, np.full(len(values), height), "|", color=colour, markersize=9, alpha=0.8)
        left.plot(values.mean(), height, "o", color=colour, markersize=5)
        left.annotate(f"{name} {values.mean():,.0f}", (1.01, height), xycoords=("axes fraction", "data"), color=colour,
                      va="center", fontsize=9)  # fmt: skip
    left.axvline(returns.data.mean(), color=DATA, linestyle="--", linewidth=1.2)
    left.annotate(f"data {returns.data.mean():,.0f}", (1.01, 0.5 * top), xycoords=("axes fraction", "data"), color=DATA,
                  va="center", fontsize=9)  # fmt: skip
    left.set_ylim(0, top * (1.2 + 0.16 * (len(entries) - 1)))
    left.set(xlabel="return of an episode", ylabel="share of the data's episodes", title=returns.environment)
    stages = _stages(returns)
    if len(stages) > 1:
        beta, mean, error = (np.array(column) for column in zip(*stages, strict=True))
        right.errorbar(beta, mean, error, color=MADE, marker="o", capsize=3)
        right.axhline(returns.data.mean(), color=DATA, linestyle="--", linewidth=1.2)
        right.set(xlabel="beta (0: behaviour cloning)", ylabel="mean return ± error", title="Return on the way")
    else:
        _quantiles(right, returns.data, entries)
    return figure


def _stages(returns: Returns) -> list[tuple[float, float, float]]:
    """Beta, mean return and its error: behaviour, policies on the way, and the last one."""
    rows = [(beta, found.mean, found.stderr) for beta, found in returns.between]
    if returns.behaviour is not None:
        rows.insert(0, (0.0, returns.behaviour.mean, returns.behaviour.stderr))
    return [*rows, (returns.beta, returns.policy.mean, returns.policy.stderr)] if returns.beta else []


def _quantiles(axis: Any, data: np.ndarray, entries: list[tuple[str, np.ndarray, str]]) -> None:
    """Share of episodes with a lower return, where there is no way to show."""
    for _, values, colour in [("data", data, DATA), *entries]:
        axis.ecdf(values, color=colour, linewidth=1.6)
    axis.set(xlabel="return of an episode", ylabel="share of episodes below", title="Distribution")


def q_figure(kept: Kept) -> Figure | None:
    """Q of held-out rows against the discounted return that came of them; None without a critic."""
    if kept.q is None or kept.returns is None or len(kept.q) < 2:
        return None
    q, returns = kept.q.double().numpy(), kept.returns.double().numpy()
    check = kept.record["check"] or {}
    figure, axes = canvas(1, 1, 4.8, 4.2)
    axis = axes[0, 0]
    axis.scatter(returns, q, s=5, color=TARGET, alpha=0.3, linewidths=0, rasterized=True)
    ends = [min(q.min(), returns.min()), max(q.max(), returns.max())]
    axis.plot(ends, ends, color=DATA, linewidth=1, linestyle="--", label="Q = return")
    correlation = check.get("correlation")
    words = "" if correlation is None else f"correlation {correlation:.2f}, "
    axis.set(
        xlabel="discounted return of held-out episodes (behaviour's)",
        ylabel="Q",
        title=f"{words}bias {check.get('bias', float('nan')):+.3g}",
    )
    axis.legend(loc="best", fontsize=8)
    return figure


def actions_figure(kept: Kept, seed: int) -> Figure:
    """Actions at a few held-out states: many of the behaviour and the policy, and the one of the data."""
    support = kept.support
    count = min(_STATES, len(support.observations))
    chosen = np.linspace(0, len(support.observations) - 1, count).round().astype(int)
    observations = support.observations[torch.from_numpy(chosen)]
    repeated = observations.repeat_interleave(_DRAWS, 0)
    size = support.actions.shape[2]

    def draws(policy: Any) -> np.ndarray:
        return policy_actions(policy, repeated, seed).reshape(count, _DRAWS, size).numpy()

    made, data = draws(kept.policy), support.actions[torch.from_numpy(chosen), 0].numpy()
    behaviour = None if kept.behaviour is None else draws(kept.behaviour)
    columns = min(3, count)
    rows = -(-count // columns)
    figure, axes = canvas(rows, columns, 3.4 * columns, 2.9 * rows, sharex=True, sharey=size > 1)
    for index, axis in enumerate(axes.flat):
        if index >= count:
            axis.set_axis_off()
            continue
        _actions(axis, made[index], None if behaviour is None else behaviour[index], data[index])
        axis.set_title(f"state {chosen[index]}", fontsize=9)
    for handle in axes[0, 0].legend(loc="best", fontsize=7).legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    figure.supxlabel("action[0], in units of the space", fontsize=10)
    figure.supylabel("action[1]" if size > 1 else "density", fontsize=10)
    return figure


def _actions(axis: Any, made: np.ndarray, behaviour: np.ndarray | None, data: np.ndarray) -> None:
    if made.shape[1] == 1:
        bins = np.linspace(-1, 1, 41)
        if behaviour is not None:
            axis.hist(behaviour[:, 0], bins, density=True, color=BEHAVIOUR, alpha=0.35, label="behaviour")
        axis.hist(made[:, 0], bins, density=True, histtype="step", color=MADE, linewidth=1.6, label="policy")
        axis.axvline(data[0], color=DATA, linestyle="--", linewidth=1.4, label="data's action")
        axis.set_xlim(-1.05, 1.05)
        return
    if behaviour is not None:
        axis.scatter(behaviour[:, 0], behaviour[:, 1], s=9, color=BEHAVIOUR, alpha=0.4, linewidths=0, label="behaviour")
    axis.scatter(made[:, 0], made[:, 1], s=9, color=MADE, alpha=0.4, linewidths=0, label="policy")
    axis.plot(data[0], data[1], "x", color="black", markersize=8, markeredgewidth=2, label="data's action")
    axis.set(xlim=(-1.08, 1.08), ylim=(-1.08, 1.08))


def achieved_figure(steps: Sequence[dict[str, Any]]) -> Figure | None:
    """Beta aimed at and achieved, and the support's effective actions, round by round; None without rounds."""
    if not steps:
        return None
    number = [step["number"] for step in steps]
    figure, axes = canvas(1, 2, 8.4, 3.3)
    left, right = axes[0]
    left.plot(number, [step["beta"] for step in steps], color=TARGET, marker="o", label="aimed at")
    achieved = [np.nan if step["achieved_beta"] is None else step["achieved_beta"] for step in steps]
    left.plot(number, achieved, color=MADE, marker="o", label="achieved (slope of log π − log μ on Q)")
    left.axhline(0, color=DATA, linewidth=0.8)
    left.set(xlabel="round", ylabel="beta, on Q's scale", title="Beta by round")
    left.legend(loc="best", fontsize=8)
    right.plot(number, [step["n_eff"] for step in steps], color=TARGET, marker="o", label="n_eff within support")
    right.set(xlabel="round", ylabel="effective actions", title="Support", ylim=(0, None))
    twin = right.twinx()
    twin.spines["right"].set_visible(True)
    twin.plot(number, [step["sigma_q"] for step in steps], color=BEHAVIOUR, marker="s", label="σ_Q")
    twin.set(ylabel="σ_Q within support", ylim=(0, None))
    right.legend(loc="lower left", fontsize=8)
    twin.legend(loc="lower right", fontsize=8)
    for axis in (left, right):
        axis.set_xticks(number if len(number) <= 12 else number[:: -(-len(number) // 12)])
    return figure


def rollout_figure(rollout: Rollout) -> Figure:
    """Frames of an episode where a renderer works, and its observations, actions and rewards over time."""
    steps = np.arange(len(rollout.actions))
    total = rollout.rewards.sum()
    title = f"One episode: return {total:,.0f} in {len(steps)} steps"
    if rollout.frames is not None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10.2, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        top, bottom = (figure.subfigures(2, 1, height_ratios=[1, 1.5], squeeze=False)[row, 0] for row in range(2))
        for axis, frame, step in zip(
            top.subplots(1, len(rollout.frames)), rollout.frames, rollout.frame_steps, strict=True
        ):
            axis.imshow(frame)
            axis.set_title(f"step {step}", fontsize=8)
            axis.set_axis_off()
        panels = bottom.subplots(1, 3)
        top.suptitle(title, fontsize=11, x=0.01, ha="left")
    else:
        figure, axes = canvas(1, 3, 10.2, 3.2)
        panels = axes[0]
        figure.suptitle(f"{title}\n{rollout.words}", fontsize=8, x=0.01, ha="left")
    for axis, values, name in (
        (panels[0], rollout.observations, "observations"),
        (panels[1], rollout.actions, "actions"),
    ):
        axis.plot(values[:, :8], linewidth=0.8)
        shown = f" (first 8 of {values.shape[1]})" if values.shape[1] > 8 else ""
        axis.set(xlabel="step", title=f"{name}{shown}")
    panels[2].plot(steps, rollout.rewards.cumsum(), color=MADE)
    panels[2].set(xlabel="step", title="return so far")
    return figure
