"""The page as text: the template filled, its style and script inside it, and nothing else allowed to run."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from egflow.page._blocks import Block, Intervals, Picture, Stops
from egflow.page._charts import Chart, drawn_charts, intervals_chart
from egflow.page._compare import compare
from egflow.page._drawn import Drawn
from egflow.report import TiltReport, beta_words
from egflow.weights import n_eff

MOST_BYTES = 5 * 2**20
_MARGIN = 2**18


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run, as the page shows it.

    Attributes:
        name: of its folder.
        report: its account.
        facts: name -> words, at the head.
        header, rows, caption: the terminal's own table.
        charts: along its range, and of its rounds.
        losses: of its training.
        drawn: samples of its flow, or None.
        blocks: what its domain adds.
        figures: its PNG files by name, smallest first; as many as there is room for are shown.
        settings: dotted key -> value, to compare.
        text: of its config.yaml.
        repeat: the command that makes such a run.
        notes: what is missing, and why.
    """

    name: str
    report: TiltReport
    facts: Mapping[str, str]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str
    charts: Sequence[Chart]
    losses: Sequence[Chart]
    drawn: Drawn | None
    blocks: Sequence[Block]
    figures: Mapping[str, Picture]
    settings: Mapping[str, str]
    text: str
    repeat: str
    notes: Sequence[str]


def render(runs: Sequence[RunPage], made: str, command: str) -> str:
    """The whole page.

    Args:
        runs: one or several.
        made: when, and by what.
        command: the one that makes this page.

    Raises:
        ValueError: where it would be larger than `MOST_BYTES`.
    """
    room = (MOST_BYTES - _MARGIN) // len(runs)
    shown = [_run(one, number, room) for number, one in enumerate(runs)]
    data = json.dumps([one.pop("data") for one in shown], allow_nan=False, separators=(",", ":"))
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; "
        "form-action 'none'"
    )
    several = len(runs) > 1
    page = _template().render(
        title="egflow: " + (f"{len(runs)} runs" if several else runs[0].name),
        policy=policy,
        style=Markup(style),
        script=Markup(script),
        data=Markup(_harmless(data)),
        runs=shown,
        parts=compare([one.report for one in runs], [one.settings for one in runs]) if several else [],
        made=made,
        command=command,
    )
    if (size := len(page.encode())) > MOST_BYTES:
        raise ValueError(f"the page would have {size / 2**20:.1f} MB, over {MOST_BYTES / 2**20:.0f}: name fewer runs")
    return page


def _run(run: RunPage, number: int, room: int) -> dict[str, Any]:
    """What the template needs of a run, and under ``data`` what its script needs."""
    notes = list(run.notes)
    charts = [*([] if run.drawn is None else _charts(run.drawn, notes)), *run.charts]
    specs = [chart.spec for chart in (*charts, *run.losses)]
    sections, left = [], room - len(json.dumps(specs)) - len(run.text)
    for block in run.blocks:
        if section := _section(block, left, notes):
            left -= section.pop("size")
            sections.append(section)
    figures = {}
    for name, picture in run.figures.items():
        if (size := len(picture.uri)) <= left - 2_000:
            left, figures[name] = left - size - 200, picture
    if missing := [name for name in run.figures if name not in figures]:
        notes.append(f"No room on this page for figures/ {', '.join(missing)}: they are in the run's folder.")
    return {
        "id": f"run-{number}",
        "name": run.name,
        "report": run.report,
        "good": not run.report.findings and "within noise" in run.report.verdict,
        "facts": run.facts,
        "header": run.header,
        "rows": run.rows,
        "caption": run.caption,
        "charts": charts,
        "losses": run.losses,
        "sections": sections,
        "figures": dict(sorted(figures.items())),
        "text": run.text,
        "repeat": run.repeat,
        "notes": notes,
        "sliders": _sliders(run.drawn),
        "drawn": run.drawn,
        "data": {
            "stops": [] if run.drawn is None else [list(one) for one in run.drawn.stops],
            "words": [] if run.drawn is None else _words(run.drawn, run.report),
            "charts": specs,
            "sections": [section.pop("spec") for section in sections],
        },
    }


def _charts(drawn: Drawn, notes: list[str]) -> list[Chart]:
    """Of what was drawn, or none with the reason among the notes: samples and data may be such as no chart takes."""
    try:
        if not all(bool(x.isfinite().all()) for x in (*drawn.samples, *([] if drawn.data is None else [drawn.data]))):
            raise ValueError("they, or the data beside them, hold NaN or infinity")
        return drawn_charts(drawn)
    except Exception as error:  # a domain's own way of delivering may give anything
        notes.append(f"No charts of the samples drawn for this page: {' '.join(str(error).split())}")
        return []


def _section(block: Block, room: int, notes: list[str]) -> dict[str, Any] | None:
    """A domain's block for the template, the numbers for the script as ``spec``, and its bytes; None without room."""
    common = {"title": block.title, "words": block.words, "kind": type(block).__name__.lower()}
    if isinstance(block, Intervals):
        chart = intervals_chart(block)
        return common | {"alt": chart.alt, "spec": chart.spec, "size": 0}
    if isinstance(block, Stops):
        spec: dict[str, Any] = {"kind": "stops", "pictures": [one.uri for one in block.pictures]}
        spec["alts"] = [one.alt for one in block.pictures]
        size = sum(map(len, spec["pictures"]))
        if size > room:
            notes.append(f"No room on this page for {block.title!r}.")
            return None
        return common | {"picture": block.pictures[0], "spec": spec, "size": size + len(block.pictures[0].uri)}
    cards, size = [], 0
    for card in block.cards:
        size += len(card.picture.uri) + 600
        if size > 0.75 * room:
            notes.append(f"No room on this page for all of {block.title!r}: the first {len(cards)} are shown.")
            break
        cards.append(card)
    keys = list(dict.fromkeys(key for card in cards for key in card.values))
    values = [[_finite(card.values.get(key)) for key in keys] for card in cards]
    return common | {"cards": cards, "keys": keys, "spec": {"kind": "grid", "keys": keys, "values": values},
                     "size": size}  # fmt: skip


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value or abs(value) == float("inf") else float(f"{value:.6g}")


def _sliders(drawn: Drawn | None) -> list[dict[str, Any]]:
    """Name and stops of each slider."""
    stops = [] if drawn is None else drawn.stops
    named = drawn is not None and len(stops) > 1 and len(drawn.names) == len(stops)
    return [
        {"name": f"beta of {drawn.names[k]}" if named and drawn is not None else f"beta {k + 1}" if len(stops) > 1
         else "beta", "stops": one}
        for k, one in enumerate(stops)
    ]  # fmt: skip


def _words(drawn: Drawn, report: TiltReport) -> list[list[str]]:
    """For each frame its beta, what is seen there, and the report's verdict where it looked at that beta."""
    told = {_key(block["beta"]): str(block["verdict"]) for block in report.per_beta or []}
    words = []
    for place, beta in enumerate(drawn.betas):
        said = []
        if drawn.log_w:
            said.append(f"n_eff of the {len(drawn.log_w[place]):,} data drawn here {n_eff(drawn.log_w[place]):,.0f}")
        for k, name in enumerate(drawn.names if drawn.energies else ()):
            found = drawn.energies[place][k]
            mean = float(found.values[~found.forbidden].mean()) if not bool(found.forbidden.all()) else None
            if mean is not None:
                what = f"energy {name}" if len(drawn.names) > 1 else "energy"
                said.append(f"mean {what} of the generated {mean:.4g}")
        verdict = told.get(_key(list(beta)), "")
        words.append([beta_words(list(beta)), "; ".join(said), verdict])
    return words


def _key(beta: Any) -> tuple[float, ...]:
    return tuple(round(float(b), 9) for b in (beta if isinstance(beta, list) else [beta]))


def _harmless(text: str) -> str:
    """JSON inside of a script element: no sign in it can end the element or begin another."""
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _asset(name: str) -> str:
    return (files("egflow.page") / "template" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _template() -> jinja2.Template:
    source = _asset("page.html")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)  # fmt: skip
    return environment.from_string(source)
