"""The policies' part of the HTML report: their returns beside the data's."""

from __future__ import annotations

import math
from typing import Any

from egflow.page import Block, Intervals
from egflow.report import TiltReport

_ROWS = (
    ("policy", "return_mean", "return_std"),
    ("best of {best_of_n} draws by Q", "best_of_n_return_mean", "best_of_n_return_std"),
    ("behaviour cloning", "bc_return_mean", "bc_return_std"),
    ("data", "data_return_mean", ""),
)
"""Name, mean, and the spread over episodes where an error is made of it: the data's mean is a fixed number."""


def page(report: TiltReport) -> list[Block]:
    """Mean returns with standard errors over the evaluation's episodes, the policy first; nothing without them."""
    found = report.domain_metrics
    episodes = found.get("episodes")
    if not isinstance(episodes, int) or episodes < 1:
        return []
    rows: list[tuple[str, float, float | None]] = []
    for name, mean, spread in _ROWS:
        if (value := found.get(mean)) is not None:
            spreading = found.get(spread)
            error = None if spreading is None else float(spreading) / math.sqrt(episodes)
            rows.append((name.format_map({"best_of_n": found.get("best_of_n")}), float(value), error))
    return [Intervals("Returns", _words(found, episodes), rows)]


def _words(found: dict[str, Any], episodes: int) -> str:
    normal = found.get("normalized_return_mean")
    said = "" if normal is None else f" Normalised, the policy's is {float(normal):.1f}."
    return (
        f"Mean return of an episode of {found.get('environment')}, {episodes} episodes each, ± standard error; of the "
        f"data {found.get('data_episodes')} episodes.{said}"
    )
