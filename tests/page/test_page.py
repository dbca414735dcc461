"""The HTML report as text: it says what the terminal says, escapes what it is given, and runs nothing of a folder."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
import yaml
from egflow_toy.domain import Toy
from page_runs import EVIL, make_run, page_by_hand, page_of, report_of

from egflow.cli import _door
from egflow.cli._compose import Settings
from egflow.cli._report_draw import draw
from egflow.flow import Flow
from egflow.page import MOST_BYTES, Drawn, Intervals, Picture, Stops
from egflow.report import TiltReport

COMMAND: Settings = {"device": None, "energy": None, "score": None, "seed": 3}
PNG = b"\x89PNG\r\n\x1a\n"


class Elements(HTMLParser):
    """The elements of a page, by name, and every attribute's name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}


def failing(*argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert _door.run("report", argv) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", " ", page))


def test_the_verdict_and_the_table_are_the_terminals(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    report = TiltReport.load(run)
    said = text_of(page_of(run, out=tmp_path / "a.html"))
    table = report.table()
    assert report.verdict in said
    for column in table.columns:
        for cell in column.cells:
            assert str(cell) in said


def test_a_range_has_a_slider_of_the_same_noise(ranged: Path) -> None:
    notes: list[str] = []
    drawn = draw(COMMAND | {"run": str(ranged)}, False, notes)
    assert drawn is not None and notes == []
    assert list(drawn.stops[0]) == [0.25 * k for k in range(17)]
    flow = Flow.load(ranged / "model")
    for place in (0, 16):
        alone = flow.sample(800, beta=drawn.betas[place][0], rtol=1e-3, atol=1e-3, seed=3)
        assert torch.equal(drawn.samples[place], alone)
    moved = [(drawn.samples[k] - drawn.samples[k + 1]).norm(dim=1).median() for k in range(16)]
    apart = (drawn.samples[0] - drawn.samples[0].roll(1, 0)).norm(dim=1).median()
    assert max(moved) < 0.2 * apart  # a sample goes a short way from one stop to the next


def test_a_range_page_holds_every_frame(ranged_page: Path, ranged: Path) -> None:
    page = ranged_page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    (run,) = json.loads(found[1])
    assert len(run["words"]) == 17
    points = run["charts"][0]
    assert [len(panel["frames"]) for panel in points["panels"]] == [17, 17]
    energy = run["charts"][1]
    assert [one["role"] for one in energy["series"]] == ["data", "target", "made"]
    assert [len(one["frames"]) for one in energy["series"]] == [1, 17, 17]
    report = TiltReport.load(ranged)
    assert [row["verdict"] for row in report.per_beta or []] == [run["words"][k][2] for k in (0, 4, 8, 12, 16)]
    assert len(page.encode()) < 2 * 2**20


def test_markup_in_a_folder_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    report = report_of(energy=EVIL, verdict=EVIL, notes={EVIL: EVIL}, device=EVIL, versions={EVIL: EVIL}, method=EVIL)
    run = make_run(tmp_path / "<b>run<", report, data=EVIL, energy=EVIL, other={EVIL: EVIL})
    (run / "metrics.csv").write_text(
        "stage,step,loss\n" + "".join(f'"{EVIL.replace(chr(34), chr(34) * 2)}",{i},{i}\n' for i in range(5)), "utf-8"
    )
    (run / "figures").mkdir()
    (run / "figures" / "<img src=x onerror=a>.png").write_bytes(PNG)
    other = make_run(tmp_path / "other", data="rings")
    page = page_of(run, other, out=tmp_path / "a.html")
    found = Elements(page)
    assert found.names.count("script") == 2
    assert not [name for name in found.attributes if name.startswith("on")]
    assert found.names.count("img") == 1  # the figure
    assert EVIL.splitlines()[0] in text_of(page)


def test_code_named_in_a_folder_is_not_run_and_typed_code_is(
    ranged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in ("config.yaml", "report.json"):
        (copy / file).write_bytes((ranged / file).read_bytes())
    (copy / "model").symlink_to(ranged / "model")
    settings = yaml.safe_load((copy / "config.yaml").read_text("utf-8"))
    (copy / "config.yaml").write_text(yaml.safe_dump({**settings, "energy": "evil.py:energy"}), "utf-8")
    (tmp_path / "evil.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\ndef energy(x):\n    return x[:, 0]\n", "utf-8"
    )
    page = page_of(copy, out=tmp_path / "a.html")
    assert not (tmp_path / "ran").exists()
    assert "never run from a folder: give energy= again" in page
    assert '"kind":"points"' in page and '"kind":"histogram"' not in page
    page = page_of(copy, out=tmp_path / "a.html", more=("energy=evil.py:energy",))
    assert (tmp_path / "ran").exists()
    assert '"kind":"histogram"' in page


def test_the_command_to_repeat_gives_the_runs_settings(ranged: Path, ranged_page: Path) -> None:
    from egflow.cli._compose import Arguments, compose
    from egflow.cli._folder import load_settings

    found = re.search(r'<pre class="command"><code>(.*?)</code>', ranged_page.read_text("utf-8"))
    assert found is not None
    words = shlex.split(html.unescape(found[1]))
    assert words[:3] == ["python", "-m", "egflow.train"]
    again = compose("train", Arguments.read(words[3:]))
    assert {**again, "run_dir": None} == {**load_settings(ranged), "run_dir": None}


def test_missing_pieces_are_noted(tmp_path: Path) -> None:
    page = text_of(page_of(make_run(tmp_path / "run"), out=tmp_path / "a.html"))
    for words in ("No figures in the folder", "No metrics.csv", "has no model yet"):
        assert words in page
    unknown = make_run(tmp_path / "unknown", domain="nowhere")
    assert "domain=nowhere is not installed" in text_of(page_of(unknown, out=tmp_path / "a.html"))


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / "secret.png").write_bytes(PNG + b"secret")
    (run / "figures").mkdir()
    (run / "figures" / "a.png").symlink_to(tmp_path / "secret.png")
    (run / "figures" / "b.png").write_bytes(b"no picture")
    page = page_of(run, out=tmp_path / "a.html")
    assert "link out of its folder" in page
    assert "figures/b.png is left out" in page
    assert "data:image/png" not in page


def test_a_folder_of_figures_may_be_no_link(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "a.png").write_bytes(PNG + b"secret")
    run = make_run(tmp_path / "run")
    (run / "figures").symlink_to(tmp_path / "private")
    page = page_of(run, out=tmp_path / "a.html")
    assert "figures is a link out of its folder" in page and "data:image/png" not in page


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "figures").mkdir()
    (run / "figures" / "b.png").symlink_to("b.png")
    for pipe in ("metrics.csv", "figures/a.png"):
        os.mkfifo(run / pipe)
    page = page_of(run, out=tmp_path / "a.html")
    for pipe in ("metrics.csv", "figures/a.png"):
        assert f"{pipe} is a pipe, a socket or a device" in page
    assert "figures/b.png is left out" in page  # a link to itself


def test_it_never_grows_past_its_limit(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "figures").mkdir()
    for name, size in (("a", 1), ("b", 2), ("c", 3)):
        (run / "figures" / f"{name}.png").write_bytes(PNG + bytes(size * 2**20))
    page = page_of(run, out=tmp_path / "a.html")
    assert len(page.encode()) <= MOST_BYTES
    assert "No room on this page for figures/ c.png" in page and "b.png</figcaption>" in page


def test_a_block_without_room_leaves_the_others_their_numbers() -> None:
    large = Stops("Large", "", [Picture(PNG + bytes(MOST_BYTES), "")])
    page = page_by_hand(None, large, Intervals("Returns", "", [("policy", 12.0, 1.5)]))
    (place,) = re.findall(r'data-section="(\d+)" data-kind="intervals"', page)
    facts = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert json.loads(facts[0])[0]["sections"][int(place)]["kind"] == "intervals"
    assert "No room on this page for &#39;Large&#39;" in page


@pytest.mark.parametrize("width", [1, 2, 3])
def test_samples_that_no_chart_takes_are_a_note(width: int) -> None:
    said = text_of(page_by_hand(Drawn([], [(1.0,)], [torch.full((9, width), torch.nan)]), Intervals("Returns", "", [])))
    assert "No charts of the samples" in said and "Returns" in said and "Figures of the report" in said


def test_a_domain_that_fails_to_deliver_is_a_note(
    ranged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deliver(*_: object) -> None:
        raise AttributeError("no such thing")

    monkeypatch.setattr(Toy, "deliver", deliver, raising=False)
    assert "No samples were drawn for this page: no such thing" in text_of(page_of(ranged, out=tmp_path / "a.html"))


def test_runs_are_compared_and_differences_marked(tmp_path: Path) -> None:
    a, b = make_run(tmp_path / "a"), make_run(tmp_path / "b", report_of(energy_ks=0.75), data="rings")
    page = page_of(a, b, out=tmp_path / "a.html")
    rows = re.findall(r"<tr( class=\"differs\")?><th scope=\"row\">([\w :]+)", page)
    marked = {name for differs, name in rows if differs}
    same = {name for differs, name in rows if not differs}
    assert {"energy KS", "data"} <= marked
    assert {"n_eff", "mean energy: base", "mean energy: target", "torch"} <= same
    assert "seed" not in marked | same  # of the settings only those that differ


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(tmp_path / "run")
    assert "run= is needed" in failing(capsys=capsys)
    assert "holds no run (no config.yaml in it)" in failing("run=nowhere", capsys=capsys)
    assert "Did you mean 'out'?" in failing("run=run", "outt=a.html", capsys=capsys)
    assert "give it a name that ends in .html" in failing("run=run", "out=run/config.yaml", capsys=capsys)
    (tmp_path / "a.html").mkdir()
    assert "is a folder" in failing("run=run", "out=a.html", capsys=capsys)
    many = [f"run={make_run(tmp_path / f'many{i}')}" for i in range(13)]
    assert "compares 12 at most" in failing(*many, capsys=capsys)
    (run / "report.json").unlink()
    assert "resume=true" in failing("run=run", capsys=capsys)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("changed", [{"n_eff": "many"}, {"energy_mean": []}, {"per_beta": [1, 2]}, {"beta": {"a": 1}}])
def test_a_damaged_report_leaves_the_old_page(
    tmp_path: Path, changed: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = make_run(tmp_path / "run"), tmp_path / "a.html"
    page_of(run, out=out)
    before = out.read_bytes()
    content = json.loads((run / "report.json").read_text("utf-8"))
    (run / "report.json").write_text(json.dumps({**content, **changed}), "utf-8")
    assert "report.json" in failing(f"run={run}", f"out={out}", capsys=capsys)
    assert out.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "run"]
