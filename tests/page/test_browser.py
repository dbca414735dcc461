"""The browser fixture itself: what it is there to catch, it catches."""

from __future__ import annotations

from pathlib import Path

import pytest
from _browser import BrowserPage


def test_an_error_a_request_and_a_wide_page_are_seen(browser_page: BrowserPage, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text("<img src='https://example.org/a.png'><div style='width:900px'>a</div><script>nothing()</script>")
    watched = browser_page(390, 800)
    watched.page.goto(file.as_uri())
    assert watched.external == ["https://example.org/a.png"]
    assert any("nothing is not defined" in error for error in watched.errors)
    watched.errors.clear()
    watched.external.clear()
    with pytest.raises(AssertionError, match="px wide in a window of 390 px"):
        watched.check()
