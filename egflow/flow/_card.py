"""The model card of a flow: what it is, how close it came as its report says, how to load it; README.md at the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from egflow.flow._html import facts
from egflow.network import NETWORKS, AtBeta
from egflow.report._markup import as_markdown, markdown

if TYPE_CHECKING:
    from egflow.flow._flow import Flow
    from egflow.report import TiltReport

LIBRARY = "egflow"
TAGS = ("egflow", "flow-matching", "energy-weighted-flow-matching")


def model_card(flow: Flow, *, license: str | None = None, data: str | None = None, repo_id: str = "owner/name") -> str:
    """The card as Markdown under the hub's own metadata in YAML.

    Args:
        flow: any flow; without a report the card says that nothing was measured.
        license: of the model, as the hub spells it; None: the card says that none is stated.
        data: a sentence on what the data are; None: what the report knows of them.
        repo_id: where it goes, for the line that loads it.
    """
    report = flow.report
    parts = [
        _metadata(flow, license),
        f"# {'A tilted flow' if report or flow.beta is not None else 'A flow'}, made with egflow",
        _said(flow),
        "## What it is",
        "\n".join(f"- {name}: {markdown(words)}" for name, words in facts(flow).items() if name != "verdict"),
        "## Report",
        "Nothing was measured: there is no report of this flow." if report is None else _report(report),
        "## Data",
        _data(report, data),
        "## Use",
        _use(flow, repo_id),
        "## Licence",
        f"{markdown(license)}." if license else "The author states none: ask before you use it.",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(flow: Flow, license: str | None) -> str:
    content: dict[str, Any] = {"library_name": LIBRARY}
    if license is not None:
        content["license"] = license
    content["tags"] = [*TAGS, *([flow.domain] if flow.domain else [])]
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _said(flow: Flow) -> str:
    if flow.report is None and flow.beta is None and flow.beta_range is None:
        return "It generates samples of a density p that it was fitted to."
    return (
        "It generates samples of q(x) ∝ p(x)·exp(−beta·E(x)): of a density p, weighted by an energy E, which is low "
        "where a sample is good (energy-weighted flow matching, arXiv 2503.04975). The energy itself is code, not in "
        "here."
    )


def _report(report: TiltReport) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in report.versions.items())
    made = f"\n\nMade with {markdown(versions)}." if versions else ""
    return f"**{markdown(report.verdict)}**\n\n{as_markdown(report.table())}\n\n`report.json` holds all of it.{made}"


def _data(report: TiltReport | None, data: str | None) -> str:
    lines = [markdown(data)] if data else []
    if report is not None:
        drawn = report.reference != "data"
        points = f"draws of {'the base flow' if report.reference == 'base' else 'the density'}" if drawn else "points"
        lines.append(
            f"The report is against {report.n_data:,} {points}, {report.n_held_out:,} of them held out; n_eff "
            f"{report.n_eff:,.0f}."
        )
        if not data and isinstance(named := report.domain_metrics.get("data"), str):
            lines.append(f"They were named {markdown(named)} when the flow was trained.")
        if report.nearest_in_train:
            near = report.nearest_in_train
            lines.append(
                f"Of {near['share']:.1%} of the samples the nearest data point was trained on; chance gives "
                f"{near['expected']:.1%}, copies 100%."
            )
    if not data:
        lines.append("What the data are, where they come from and whose they are is not recorded: ask the author.")
    return "\n\n".join(lines)


def _use(flow: Flow, repo_id: str) -> str:
    network: Any = flow.network.network if isinstance(flow.network, AtBeta) else flow.network
    own = type(network) not in NETWORKS.values()
    asked = ["1_000"]
    if flow.condition_shape is not None:
        asked.append("condition=0" if flow.num_classes is not None else "condition=condition")
    if flow.beta_range is not None:
        high = [high for _, high in flow.beta_range]
        asked.append(f"beta={high[0] if len(high) == 1 else high}")
    lines = [
        "```python",
        "from egflow import Flow",
        "",
        f'flow = Flow.from_pretrained("{repo_id}"{", network=module" if own else ""})',
        f"samples = flow.sample({', '.join(asked)})",
        "```",
        "",
        "`pip install 'egflow[hub]'`; a folder that is there already is read by `Flow.load(folder)`. Weights are "
        "safetensors, held against their checksum; nothing in here is run.",
    ]
    if own:
        lines.append(f"The network, {markdown(type(network).__name__)}, is code and is not in here: bring the module.")
    return "\n".join(lines)
