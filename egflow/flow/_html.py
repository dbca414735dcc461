"""A flow in a notebook: a small table of what it is, in the notebook's own colours."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from torch import nn

from egflow.report import beta_words

if TYPE_CHECKING:
    from egflow.flow._flow import Flow


def facts(flow: Flow) -> dict[str, str]:
    """What a flow is, name -> words. Nothing in it is escaped for any page yet."""
    network = flow.network
    many = sum(one.numel() for one in network.parameters()) if isinstance(network, nn.Module) else 0
    found = {
        "event shape": str(flow.event_shape),
        "path": flow.path.name,
        "network": f"{type(network).__name__}, {many:,} parameters, predicts {flow.prediction}",
    }
    if flow.num_classes is not None:
        found["condition"] = f"labels 0 … {flow.num_classes - 1}"
    elif flow.condition_shape is not None:
        found["condition"] = f"vectors {flow.condition_shape}"
    if flow.domain is not None:
        found["domain"] = flow.domain
    if flow.beta_range is not None:
        found["beta"] = f"any in {beta_words([list(pair) for pair in flow.beta_range])}"
    elif flow.beta is not None:
        found["beta"] = beta_words(list(flow.beta) if isinstance(flow.beta, tuple) else flow.beta)
    if flow.report is not None:
        found |= {"energy": flow.report.energy, "verdict": flow.report.verdict}
    elif flow.energy is not None:
        energies = flow.energy if isinstance(flow.energy, list) else [flow.energy]
        found["energy"] = ", ".join(one.describe() for one in energies)
    return found


def flow_html(flow: Flow) -> str:
    """The table for ``_repr_html_``."""
    rows = (
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(words)}</td></tr>'
        for name, words in facts(flow).items()
    )
    return f"<table><caption>{escape(type(flow).__name__)}</caption><tbody>{''.join(rows)}</tbody></table>"
