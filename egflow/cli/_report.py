"""``egflow report``: one HTML file about one or several runs, to be kept, forwarded and opened anywhere."""

from __future__ import annotations

import shlex
import time
from importlib.metadata import version
from pathlib import Path

from egflow._files import write_text
from egflow.cli._compose import Arguments, Settings, flatten
from egflow.cli._folder import refuse_code
from egflow.cli._outcome import say
from egflow.cli._quote import show
from egflow.cli._report_draw import draw
from egflow.cli._report_read import Told, read_run
from egflow.cli._settings import domain_options
from egflow.domain import CORE_METHODS, find_domain
from egflow.page import MOST_BYTES, Block, Drawn, RunPage, render
from egflow.report import TiltReport, beta_words

_MOST_RUNS = 12


def report(settings: Settings, arguments: Arguments) -> int:
    """Read the runs, draw from their flows, and write the page; an older one goes when the new one is whole."""
    out = Path(settings["out"])
    if out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"out={out} is to be an HTML file: give it a name that ends in .html")
    if out.is_dir():
        raise ValueError(f"out={out} is a folder: name a file in it, as in out={out / 'report.html'}")
    if len(settings["run"]) > _MOST_RUNS:
        raise ValueError(f"run= names {len(settings['run'])} folders: a page compares {_MOST_RUNS} at most")
    told = [read_run(run) for run in settings["run"]]
    typed = bool({"energy", "score"} & arguments.typed.keys())
    pages = [_page(one, settings, typed) for one in told]
    made = f"{time.strftime('%Y-%m-%d %H:%M')} by egflow {version('egflow')}"
    text = render(pages, made, _command(settings))
    write_text(out, text)
    print(
        f"{out}: {len(text.encode()) / 2**20:.2f} MB of at most {MOST_BYTES / 2**20:.0f}, one file, no network needed"
    )
    return 0


def _page(told: Told, command: Settings, typed: bool) -> RunPage:
    report, notes = told.report, list(told.notes)
    drawn = _drawn(told, command, typed, notes)
    facts = {
        "domain": told.settings["domain"],
        "data": "the domain's own" if told.settings.get("data") is None else str(told.settings["data"]),
        "energy": str(report.energy),
        "beta": _beta(report),
        "method": str(report.method),
        "seed": str(report.seed),
    }
    header, rows, caption = told.table
    return RunPage(
        name=told.path.resolve().name,
        report=report,
        facts=facts,
        header=header,
        rows=rows,
        caption=caption,
        charts=told.charts,
        losses=told.losses,
        drawn=drawn,
        blocks=_blocks(told, drawn, notes),
        figures=told.figures,
        settings={key: show(value) for key, value in flatten(told.settings).items()},
        text=told.text,
        repeat=told.repeat,
        notes=notes,
    )


def _beta(report: TiltReport) -> str:
    """The beta, or the ends of its range as such."""
    beta = report.beta
    alone = bool(report.per_beta) and isinstance(beta, list) and not isinstance(beta[0], list)
    return beta_words([beta] if alone else beta)  # type: ignore[list-item]  # a list of numbers, by the line above


def _drawn(told: Told, command: Settings, typed: bool, notes: list[str]) -> Drawn | None:
    """Samples of the run's flow, or None with the reason among the notes; what was typed wrongly is an error."""
    if told.settings.get("method") not in CORE_METHODS:
        return None
    say(f"drawing samples of {told.path}")
    try:
        return draw(command | {"run": str(told.path)}, typed, notes)
    except Exception as error:  # a plug-in's way of delivering is foreign code, and the run's folder a stranger's
        if typed:
            raise
        notes.append(f"No samples were drawn for this page: {' '.join(str(error).split())}")
        return None


def _blocks(told: Told, drawn: Drawn | None, notes: list[str]) -> list[Block]:
    """What the run's domain adds. A domain that is missing or fails is a note: the rest of the page stands."""
    name = told.settings["domain"]
    try:
        refuse_code(told.settings, ())
        domain = find_domain(name).load(domain_options(told.settings))
        own = getattr(domain, "page", None)
        return [] if own is None else list(own(told.report, told.path, drawn))
    except Exception as error:  # a plug-in is foreign code, and its folder a stranger's
        notes.append(f"The part of domain {name} is missing: {' '.join(str(error).split())}")
        return []


def _command(settings: Settings) -> str:
    """The command that made the page."""
    words = [*(f"run={run}" for run in settings["run"]), f"out={settings['out']}"]
    words += [f"{key}={settings[key]}" for key in ("energy", "score") if settings[key] is not None]
    return " ".join(["python -m egflow.report", *map(shlex.quote, words)])
