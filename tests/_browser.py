"""Pages in a real browser: Debian's chromium, driven by playwright, seeing no network.

Without chromium these tests are skipped; where EGFLOW_BROWSER=required is set, as in .ci/run, they fail.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
_OWN = ("file:", "data:", "blob:", "about:", "http://127.0.0.1")


@dataclass
class Watched:
    """A page, with what went wrong on it.

    Attributes:
        page: playwright's, nothing opened yet: ``watched.page.goto(file.as_uri())``.
        errors: console errors and uncaught exceptions.
        external: addresses asked for that are neither files nor on this machine.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)

    def check(self) -> None:
        """No error so far, nothing asked of the network, and no need to scroll sideways."""
        assert not self.errors
        assert not self.external
        wide = self.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1], f"the page is {wide[0]} px wide in a window of {wide[1]} px"


BrowserPage = Callable[..., Watched]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a file. Not longer: an open playwright keeps asyncio's loop to itself."""
    file = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _missing("playwright is not installed: pip install -e '.[dev]'")
    if file is None:
        _missing("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=file, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def browser_page(chromium: Browser) -> Iterator[BrowserPage]:
    """``browser_page(width=1280, height=800, dark=False)``: a fresh page of that size, watched."""
    contexts = []

    def make(width: int = 1280, height: int = 800, *, dark: bool = False) -> Watched:
        scheme = "dark" if dark else "light"
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        watched = Watched(context.new_page())
        watched.page.set_default_timeout(20_000)
        watched.page.on("console", lambda said: watched.errors.append(said.text) if said.type == "error" else None)
        watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
        watched.page.on(
            "request", lambda asked: None if asked.url.startswith(_OWN) else watched.external.append(asked.url)
        )
        return watched

    yield make
    for context in contexts:
        context.close()


def _missing(what: str) -> NoReturn:
    if os.environ.get("EGFLOW_BROWSER") == "required":
        pytest.fail(f"EGFLOW_BROWSER=required, but {what}")
    pytest.skip(what)
