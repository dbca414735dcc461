"""The built site: links, alternative texts, its pages in a browser at desktop and phone width without a network, and
the reference, which is made from the code: nothing public and no key of a config is missing from it."""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest
import yaml
from _browser import BrowserPage, browser_page, chromium

__all__ = ["browser_page", "chromium"]

ROOT = Path(__file__).resolve().parents[2]
DESKTOP, PHONE = (1280, 800), (390, 844)


class Page(HTMLParser):
    """What a page links to, what can be linked to in it, and its pictures."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.files: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.images: list[dict[str, str | None]] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {given[key] or "" for key in ("id", "name") if key in given}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag == "img":
            self.images.append(given)
        if tag in ("img", "script", "link"):
            self.files += [address for key in ("src", "href") if (address := given.get(key) or "#") != "#"]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in sorted(site.rglob("*.html")) if "_static" not in file.parts}


def test_links_lead_to_pages_and_anchors(pages: dict[Path, Page]) -> None:
    broken = []
    for file, page in pages.items():
        for link in page.links:
            address, anchor = urldefrag(link)
            if urlsplit(address).scheme in ("http", "https", "mailto"):
                continue
            target = (file.parent / unquote(address)).resolve() if address else file
            if not target.is_file() or (target in pages and unquote(anchor) not in pages[target].anchors):
                broken.append(f"{file.name}: {link}")
    assert len(pages) > 40
    assert not broken


def test_nothing_is_loaded_from_elsewhere_or_missing(pages: dict[Path, Page]) -> None:
    asked = {(file, address) for file, page in pages.items() for address in page.files}
    outside = {f"{file.name}: {a}" for file, a in asked if urlsplit(a).netloc}
    missing = {f"{f.name}: {a}" for f, a in asked if not (f.parent / unquote(urlsplit(a).path)).resolve().is_file()}
    assert not outside
    assert not missing


def test_every_image_has_an_alternative_text(pages: dict[Path, Page]) -> None:
    bare = [
        f"{file.name}: {image.get('src')}"
        for file, page in pages.items()
        for image in page.images
        # docutils puts the file's name where there is no text
        if len(alt := image.get("alt") or "") < 10 or Path(str(image.get("src"))).name in alt
    ]
    assert sum(len(page.images) for page in pages.values()) > 10
    assert not bare


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_pages_are_whole(
    size: tuple[int, int], pages: dict[Path, Page], site: Path, address: str, browser_page: BrowserPage
) -> None:
    """No console error, no request to elsewhere, no scrolling sideways, every picture loads: on every page."""
    watched = browser_page(*size)
    for file in pages:
        if "_modules" in file.parts or file.stem == "genindex":
            continue
        watched.page.goto(f"{address}/{file.relative_to(site)}", wait_until="load")
        try:
            watched.check()
        except AssertionError as error:
            pytest.fail(f"{file.relative_to(site)}: {error}")
        images = watched.page.evaluate("[...document.images].filter(i => !i.naturalWidth).map(i => i.src)")
        assert not images, file.name


def test_search_works_without_a_network(address: str, browser_page: BrowserPage) -> None:
    watched = browser_page(*DESKTOP)
    watched.page.goto(address)
    watched.page.fill("input.sidebar-search", "achieved beta")
    watched.page.press("input.sidebar-search", "Enter")
    watched.page.wait_for_selector("#search-results ul.search li a")
    found = watched.page.locator("#search-results ul.search li a").all_text_contents()
    assert any("beta" in title.lower() or "report" in title.lower() for title in found)
    watched.check()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_mathematics_is_drawn(size: tuple[int, int], address: str, browser_page: BrowserPage) -> None:
    watched = browser_page(*size)
    watched.page.goto(f"{address}/index.html")
    watched.page.evaluate("document.fonts.ready")
    boxes = watched.page.evaluate("[...document.querySelectorAll('math')].map(m => m.getBoundingClientRect().width)")
    assert boxes and all(width > 5 for width in boxes)
    assert watched.page.evaluate("[...document.fonts].some(f => f.family.includes('STIX2') && f.status === 'loaded')")
    watched.check()


def test_the_home_picture_goes_with_the_scheme(address: str, browser_page: BrowserPage) -> None:
    for dark in (False, True):
        watched = browser_page(*DESKTOP, dark=dark)
        watched.page.goto(address)
        images = "[...document.querySelectorAll('article img')].filter(i => i.offsetWidth).map(i => i.src)"
        seen = watched.page.evaluate(images)
        assert [Path(src).stem for src in seen] == ["home-dark" if dark else "home-light"]


def test_charts_turn_dark_and_pictures_do_not(address: str, browser_page: BrowserPage) -> None:
    for dark in (False, True):
        for name, is_chart in (("rounds", True), ("images", False)):
            watched = browser_page(*DESKTOP, dark=dark)
            watched.page.goto(f"{address}/{name}.html")
            filtered = watched.page.evaluate("getComputedStyle(document.querySelector('article img')).filter")
            assert (filtered != "none") == (dark and is_chart), (name, dark, filtered)


def test_tutorials_show_what_they_printed(site: Path) -> None:
    for page in (ROOT / "docs" / "tutorials").glob("*.md"):
        text = (site / "tutorials" / f"{page.stem}.html").read_text(encoding="utf-8")
        assert "what it printed below is of" in text and "cell_output" in text, page.stem
    assert "within noise" in (site / "tutorials" / "first_energy.html").read_text(encoding="utf-8")


def test_every_public_name_is_described(site: Path) -> None:
    api = importlib.import_module("public_api")
    texts = {file.stem: file.read_text(encoding="utf-8") for file in (site / "reference" / "api").glob("*.html")}
    described = {name for text in texts.values() for name in re.findall(r'id="([\w.]+)"', text)}
    missing = [
        f"{module}.{name}"
        for module in api.modules()
        for name in api.public_names(importlib.import_module(module))
        # a name given by several modules is described in one, and led to from the others
        if f"{module}.{name}" not in described and f".{name}</span>" not in texts[module]
    ]
    assert {"egflow.tilt", "egflow.path.CondOT", "egflow_toy.densities.density"} <= described
    assert not missing


def leaves(value: object, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    return {leaf for key, item in value.items() for leaf in leaves(item, f"{prefix}.{key}" if prefix else str(key))}


CONFIGS = [*(ROOT / "configs").glob("*.yaml"), *ROOT.glob("domains/*/egflow_*/conf/domain/*.yaml")]


@pytest.mark.parametrize("file", CONFIGS, ids=[file.stem for file in CONFIGS])
def test_every_key_of_a_config_is_listed(file: Path, site: Path) -> None:
    reference = importlib.import_module("config_reference")
    text = file.read_text(encoding="utf-8")
    about, settings = reference.read_settings(text)
    asked = yaml.safe_load(text)
    wanted = {leaf for leaf in leaves(asked) if not leaf.startswith(("hydra", "defaults"))}
    assert {setting.key for setting in settings if setting.default} == wanted
    assert about and reference.config_file(file.stem).read_text(encoding="utf-8") == text
    page = (site / "reference" / "config.html").read_text(encoding="utf-8")
    assert f"domain={file.stem}" in page or f"egflow.{file.stem}" in page
    assert not [setting.key for setting in settings if f">{setting.key}<" not in page]
