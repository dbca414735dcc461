"""The picture of the HTML report in docs/html_report.md, by chromium: ``python docs/_ext/report_picture.py PAGE``.

PAGE is a file of ``egflow report`` about a run of a range; its slider is put in the middle first.
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

FIGURE = Path(__file__).resolve().parents[1] / "figures" / "html_report.png"
_COLOURS = 128  # as many as keep the file small


def take(page: Path, figure: Path = FIGURE) -> None:
    """Write the top of a page, with the slider in the middle, as a PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        view = browser.new_page(viewport={"width": 1000, "height": 1350}, color_scheme="light")
        view.goto(page.resolve().as_uri())
        slider = view.locator("input[type=range]").first
        slider.fill(str(int(slider.get_attribute("max") or 0) // 2))
        slider.blur()
        view.wait_for_timeout(1000)
        taken = view.screenshot()
        browser.close()
    with Image.open(io.BytesIO(taken)) as picture:
        picture.convert("RGB").quantize(_COLOURS).save(figure, "PNG", optimize=True)


if __name__ == "__main__":
    take(Path(sys.argv[1]))
