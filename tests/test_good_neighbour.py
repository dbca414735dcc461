"""A good neighbour: the hub, files that others read, notebooks, types. No test here touches a network."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest
import torch
from huggingface_hub import HfApi, ModelCard
from torch import nn

import egflow
from egflow import Flow, TrainingOptions
from egflow.flow import TokenFlow

QUIET = TrainingOptions(progress="quiet")
HOSTILE = "<script>alert(1)</script>|`x`\n# head"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever connects, fails: what passes below needs no network."""

    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def tilted() -> Flow:
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    base = egflow.fit(x, steps=5, batch_size=32, options=QUIET)
    return egflow.tilt(base, lambda x: x[:, 0], 1.0, data=x, steps=5, batch_size=32, options=QUIET)


@pytest.fixture(scope="module")
def words() -> TokenFlow:
    x = torch.randint(3, (100, 4), generator=torch.Generator().manual_seed(0))
    flow = egflow.fit(x, vocab_size=3, steps=2, batch_size=16, options=QUIET)
    assert isinstance(flow, TokenFlow)
    return flow


def test_a_folder_with_a_card_comes_back(tilted: Flow, words: TokenFlow, tmp_path: Path) -> None:
    tilted.save_pretrained(tmp_path / "model", license="cc-by-4.0", data="Two normal numbers.")
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert names == {"weights.safetensors", "model.json", "report.json", "base", "README.md"}
    for back in (Flow.from_pretrained(str(tmp_path / "model")), Flow.load(tmp_path / "model")):
        assert torch.equal(back.sample(5, seed=1), tilted.sample(5, seed=1))
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.to_dict() == {
        "library_name": "egflow",
        "license": "cc-by-4.0",
        "tags": ["egflow", "flow-matching", "energy-weighted-flow-matching"],
    }
    report = tilted.report
    assert report is not None
    text = " ".join(card.text.replace("\\", "").split())
    assert report.verdict in text and "Two normal numbers." in text and "Flow.from_pretrained" in text
    assert f"| n_eff | {report.n_eff:,.0f} |" in text and "| beta | 1 |" in text and "400 points" in text
    tilted.save_pretrained(tmp_path / "model")  # again, now with nothing stated
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.license is None and "The author states none" in card.text and "is not recorded" in card.text

    words.save_pretrained(tmp_path / "words")
    back = Flow.from_pretrained(tmp_path / "words")
    assert isinstance(back, TokenFlow) and torch.equal(back.sample(4), words.sample(4))
    assert "Nothing was measured" in (tmp_path / "words" / "README.md").read_text()


def test_a_card_holds_what_strangers_wrote_as_plain_words(tmp_path: Path) -> None:
    x = torch.randn(60, 2)
    energy = egflow.as_energy(lambda x: x[:, 0], name=HOSTILE)
    flow = egflow.tilt(None, energy, 1.0, data=x, steps=2, batch_size=16, options=QUIET)
    flow.domain = "x\n- y: {z"
    flow.save_pretrained(tmp_path / "model", license=HOSTILE, data=HOSTILE)
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert (card.data.license, card.data.tags and card.data.tags[-1]) == (HOSTILE, "x\n- y: {z")
    outside = re.sub(r"```.*?```", "", card.text, flags=re.DOTALL)
    assert "<script>" not in outside and not re.search(r"^# head", outside, re.M)
    rows = [line for line in outside.splitlines() if line.startswith("| ")]
    assert rows and all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)
    for shown in (flow, flow.report):
        assert shown is not None and "<script>" not in shown._repr_html_() and "&lt;script&gt;" in shown._repr_html_()


def cached(hub: Path, model: Path, name: str) -> str:
    """A repository in the hub's cache, as a download leaves it: snapshots of links to blobs. Returns the commit."""
    home, commit = hub / f"models--{name.replace('/', '--')}", "0" * 40
    (home / "blobs").mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    for number, file in enumerate(file for file in model.rglob("*") if file.is_file()):
        shutil.copy(file, home / "blobs" / str(number))
        place = home / "snapshots" / commit / file.relative_to(model)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(os.path.relpath(home / "blobs" / str(number), place.parent))
    return commit


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """HF_HUB_OFFLINE=1, which huggingface_hub reads when it is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    yield


@pytest.mark.usefixtures("offline")
def test_a_repository_is_read_with_the_checks_of_load(tilted: Flow, tmp_path: Path) -> None:
    tilted.save_pretrained(tmp_path / "model")
    hub = tmp_path / "hub"
    commit = cached(hub, tmp_path / "model", "someone/flow")
    back = Flow.from_pretrained("someone/flow", cache_dir=hub)
    assert torch.equal(back.sample(5, seed=1), tilted.sample(5, seed=1)) and back.base is not None
    assert torch.equal(Flow.from_pretrained("someone/flow", cache_dir=hub, revision=commit).sample(2), back.sample(2))

    model = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps(model | {"weights_sha256": "0" * 64}))
    cached(hub, tmp_path / "model", "someone/altered")
    with pytest.raises(ValueError, match="checksum"):
        Flow.from_pretrained("someone/altered", cache_dir=hub)
    (tmp_path / "model" / "model.json").write_text(json.dumps({"schema": "egflow-policy/1"}))
    cached(hub, tmp_path / "model", "someone/policy")
    with pytest.raises(ValueError, match="egflow-policy/1"):
        Flow.from_pretrained("someone/policy", cache_dir=hub)
    (tmp_path / "empty").mkdir()
    cached(hub, tmp_path / "empty", "someone/empty")
    with pytest.raises(FileNotFoundError):
        Flow.from_pretrained("someone/empty", cache_dir=hub)


@pytest.mark.usefixtures("offline")
def test_what_is_not_there_is_told_in_a_line(tilted: Flow, tmp_path: Path) -> None:
    for name, words in {
        "someone/nothing": "there is no folder someone/nothing",
        "nothing": "is no folder, and no name at the hub",
        "./nothing/here": "is no folder, and no name at the hub",
        "a/b/c": "is no folder, and no name at the hub",
    }.items():
        with pytest.raises(FileNotFoundError, match=words) as caught:
            Flow.from_pretrained(name, cache_dir=tmp_path)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"model\.json"):
        Flow.from_pretrained(Path("someone/nothing"))  # a Path is a folder, whatever it looks like
    with pytest.raises(OSError, match="was not sent to the hub"):
        tilted.push_to_hub("someone/flow", token="none")


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor, t: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.weight * x


@pytest.mark.parametrize("own", [False, True])
def test_what_is_sent_is_the_folder_and_it_loads(
    own: bool, tilted: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, Any] = {}

    def create(self: HfApi, *, repo_id: str, **options: Any) -> Any:
        sent["create"] = options
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload(self: HfApi, *, folder_path: Path, **options: Any) -> str:
        sent["upload"] = options
        shutil.copytree(folder_path, tmp_path / "sent")
        return f"https://huggingface.co/{options['repo_id']}/commit/0"

    monkeypatch.setattr(HfApi, "create_repo", create)
    monkeypatch.setattr(HfApi, "upload_folder", upload)
    flow = Flow(Small(), (2,)) if own else tilted
    url = flow.push_to_hub("someone/flow", license="mit", private=True, commit_message="first", create_pr=True)
    assert url == "https://huggingface.co/someone/flow/commit/0"
    assert sent["create"]["private"] is True and sent["upload"]["commit_message"] == "first"
    assert sent["upload"]["create_pr"] is True and sent["upload"]["repo_id"] == "someone/flow"
    back = Flow.from_pretrained(tmp_path / "sent", network=Small() if own else None)
    assert torch.equal(back.sample(5, seed=1), flow.sample(5, seed=1))
    card = ModelCard.load(tmp_path / "sent" / "README.md")
    assert card.data.license == "mit" and 'Flow.from_pretrained("someone/flow"' in card.text
    assert ("bring the module" in card.text) == own and not (tmp_path / "sent" / "config.json").exists()
    with pytest.raises(TypeError, match="was not sent to the hub"):
        flow.push_to_hub("someone/flow", priavte=True)


def test_the_core_needs_no_hub(tilted: Flow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    tilted.save_pretrained(tmp_path / "model")
    Flow.from_pretrained(tmp_path / "model")
    with pytest.raises(ModuleNotFoundError, match=r"egflow\[hub\]"):
        Flow.from_pretrained("someone/flow")
    with pytest.raises(ModuleNotFoundError, match=r"egflow\[hub\]"):
        tilted.push_to_hub("someone/flow")
    code = "import sys, egflow; sys.exit('huggingface_hub' in sys.modules or 'pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class Page(HTMLParser):
    """Tags that are closed in order, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""
        self.styles: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.styles += [value or "" for name, value in attrs if name == "style"]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += f"{data}\n"


def test_flows_and_reports_show_themselves(tilted: Flow, words: TokenFlow) -> None:
    report = tilted.report
    assert report is not None
    flow, account = Page(tilted._repr_html_()), Page(report._repr_html_())
    many = sum(one.numel() for one in tilted.network.parameters())
    for words_ in ("Flow", "(2,)", "cond_ot", f"{many:,} parameters", report.energy, report.verdict):
        assert words_ in flow.words
    for words_ in (report.verdict, "n_eff", f"{report.n_eff:,.0f}", "achieved beta", "untilted, held out"):
        assert words_ in account.words
    for page in (flow, account):  # in the notebook's colours, light or dark
        assert not any(re.search("color|background", style) for style in page.styles)
    assert "TokenFlow" in Page(words._repr_html_()).words
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(1))
    every = egflow.tilt(tilted, lambda x: x[:, 0], (0.0, 1.0), data=x, steps=2, batch_size=16, options=QUIET)
    assert every.report is not None and every.report.per_beta is not None
    assert "any in 0 to 1" in Page(every._repr_html_()).words
    assert every.report._repr_html_().count("<tr>") == 1 + len(every.report.per_beta)  # a row for each beta
    assert "labels 0 … 4" in Page(Flow(Small(), (2,), num_classes=5)._repr_html_()).words


DECODED: dict[str, Callable[[], Any]] = {
    "images": lambda: torch.rand(30, 3, 8, 8),
    "molecules": lambda: importlib.import_module("egflow_molecules").prior().sample(3),
}


@pytest.mark.parametrize("domain", DECODED)
def test_decoded_samples_show_themselves(domain: str) -> None:
    flow = Flow(Small(), (2,))
    flow.domain = domain
    shown = flow.decode(DECODED[domain]())
    html = shown._repr_html_()
    assert re.search(r"<(img|svg)", html) and "<script" not in html and "http-equiv" not in html
    if domain == "images":
        Page(html)
        assert "30 pictures of 3 × 8 × 8; the first 20:" in html
        assert shown[0].size == (8, 8) and shown[0].getpixel((2, 1)) == pytest.approx(
            tuple(round(255 * float(one)) for one in shown.x[0, :, 1, 2]), abs=0
        )


PACKAGES = ("egflow", "egflow_toy", "egflow_images", "egflow_molecules", "egflow_offline_rl")
USER = """
from typing import assert_type

import torch
from torch import Tensor

import egflow
from egflow import EnergyModel, Flow, TiltReport


def energy(x: Tensor) -> Tensor:
    return x.sum(dim=1)


x = torch.randn(1_000, 2)
base = egflow.fit(x, steps=10)
assert_type(base, Flow)
guided = egflow.tilt(base, energy, 1.0, data=x)
assert_type(guided.sample(5), Tensor)
assert_type(guided.log_prob(x), Tensor)
assert_type(guided.report, TiltReport | None)
assert_type(egflow.as_energy(energy) * 2.0, EnergyModel)
assert_type(Flow.from_pretrained("owner/name"), Flow)
if guided.report is not None:
    assert_type(guided.report.n_eff, float)
guided.sample("five")  # wrong
"""


def test_packages_say_that_they_are_typed() -> None:
    for name in PACKAGES:
        assert importlib.resources.files(name).joinpath("py.typed").is_file(), name


@pytest.mark.slow  # pyright takes some twenty seconds
@pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="pyright is not installed")
def test_a_typed_script_of_a_user_passes_but_for_its_mistake(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER)
    settings = {"typeCheckingMode": "standard", "pythonVersion": "3.11"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    line = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)["generalDiagnostics"]
    wrong = [index for index, text in enumerate(USER.splitlines()) if "# wrong" in text]
    assert [one["range"]["start"]["line"] for one in found] == wrong, found
