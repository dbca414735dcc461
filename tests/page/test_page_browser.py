"""The HTML report in a real browser: slider, hover, sorting, keyboard, phone and desk, light and dark, no network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from _browser import BrowserPage, Watched
from page_runs import EVIL, make_run, page_by_hand, page_of, report_of

from egflow.page import Card, Drawn, Grid, Intervals, Picture, Stops

SQUARE = "<svg xmlns='http://www.w3.org/2000/svg' width='20' height='20'><rect width='{}' height='9'/></svg>"


def opened(watched: Watched, page: Path) -> Watched:
    watched.page.goto(page.as_uri())
    watched.page.wait_for_selector(".plot svg")
    return watched


def settled(watched: Watched) -> None:
    watched.page.wait_for_timeout(400)  # longer than the way from one stop to the next


def first(watched: Watched, selector: str, attribute: str) -> str | None:
    return watched.page.locator(selector).first.get_attribute(attribute)


def written(page: str, file: Path) -> Path:
    file.write_text(page, encoding="utf-8")
    return file


@pytest.fixture
def blocks_page(tmp_path: Path) -> Path:
    """A page with everything that a domain can add, made without one."""
    samples = [torch.randn(9, 3) + k for k in range(3)]
    drawn = Drawn([[0.0, 1.0, 2.0]], [(0.0,), (1.0,), (2.0,)], samples)
    values = [{"score": 9.0 - i, "mass": None if i == 3 else float(i * 7 % 30)} for i in range(30)]
    cards = [Card(Picture(SQUARE.format(i), f"picture {i}"), f"card {i} {EVIL}", one) for i, one in enumerate(values)]
    pictures = [Picture(SQUARE.format(i), f"at stop {i}") for i in range(3)]
    blocks = [
        Grid("Cards", "", cards),
        Stops("Moving", EVIL, pictures),
        Stops("Still", "", pictures[:1]),
        Intervals("Returns", "", [("policy", 12.0, 1.5), ("data", 3.0, None)]),
    ]
    return written(page_by_hand(drawn, *blocks), tmp_path / "hand.html")


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_slider_moves_points_histogram_and_words(
    browser_page: BrowserPage, ranged_page: Path, width: int, dark: bool
) -> None:
    watched = opened(browser_page(width, 900, dark=dark), ranged_page)
    page = watched.page
    slider = page.locator("input[type=range]")
    moving = [".made.cloud", ".target.cloud", ".made.line", ".target.line", ".here"]
    before = [first(watched, selector, "d") for selector in moving]
    still = first(watched, ".data.area", "d")
    said = page.locator(".said").inner_text()
    assert page.locator("output").inner_text() == "4"
    slider.focus()
    for _ in range(16):
        page.keyboard.press("ArrowLeft")
    settled(watched)
    after = [first(watched, selector, "d") for selector in moving]
    assert all(a and b and a != b for a, b in zip(before, after, strict=True))
    assert first(watched, ".data.area", "d") == still  # p has no beta
    assert page.locator("output").inner_text() == "0"
    assert slider.get_attribute("aria-valuetext") == "0"
    assert "Report at this beta:" in said and page.locator(".said").inner_text() != said
    slider.fill("16")
    settled(watched)
    assert [first(watched, selector, "d") for selector in moving] == before
    watched.check()


def test_what_is_under_the_pointer_is_told_and_by_keys_too(browser_page: BrowserPage, ranged_page: Path) -> None:
    watched = opened(browser_page(), ranged_page)
    page, tip = watched.page, watched.page.locator("#tip")
    plot = page.locator(".plot").nth(1)
    plot.scroll_into_view_if_needed()
    plot.hover(position={"x": 200, "y": 100})
    assert "weighted data (target q)" in tip.inner_text()
    page.mouse.move(2, 2)
    assert tip.is_hidden()
    plot.focus()
    page.keyboard.press("ArrowRight")
    one = tip.inner_text()
    page.keyboard.press("ArrowRight")
    assert tip.inner_text() != one
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.locator(".plot").first.hover(position={"x": 250, "y": 200})
    assert "energy" in tip.inner_text()
    watched.check()


def captions(watched: Watched) -> list[int]:
    shown = watched.page.locator(".grid li:visible .caption").all_inner_texts()
    return [int(text.split()[1]) for text in shown]


def test_a_grid_is_sorted_both_ways_and_shown_whole(browser_page: BrowserPage, blocks_page: Path) -> None:
    watched = opened(browser_page(), blocks_page)
    page = watched.page
    assert captions(watched) == list(range(24))
    mass = page.get_by_role("button", name="mass")
    assert mass.get_attribute("aria-pressed") == "false"
    mass.focus()
    page.keyboard.press("Enter")
    ordered = sorted((i for i in range(30) if i != 3), key=lambda i: -(i * 7 % 30))
    assert captions(watched) == ordered[:24]
    assert mass.get_attribute("aria-pressed") == "true"
    assert page.locator(".grid .value").first.inner_text() == f"score {9 - ordered[0]} · mass 29"
    mass.click()
    page.get_by_role("button", name="show all 30").click()
    assert captions(watched) == [*reversed(ordered), 3]  # what has no value comes last, either way
    watched.check()


@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_follow_the_slider(browser_page: BrowserPage, blocks_page: Path, width: int) -> None:
    watched = opened(browser_page(width), blocks_page)
    images = watched.page.locator(".picture")
    before = [images.nth(k).get_attribute("src") for k in (0, 1)]
    watched.page.locator("input[type=range]").fill("1")
    settled(watched)
    assert images.nth(0).get_attribute("alt") == "at stop 1"
    assert images.nth(0).get_attribute("src") != before[0]
    assert images.nth(1).get_attribute("src") == before[1]
    assert watched.page.locator(".own .mark-dot").count() == 2
    assert watched.page.evaluate("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
    watched.check()


def test_two_sliders_go_to_each_combination(browser_page: BrowserPage, tmp_path: Path) -> None:
    betas = [(a, b) for a in (0.0, 1.0) for b in (0.0, 2.0, 4.0)]
    drawn = Drawn([[0.0, 1.0], [0.0, 2.0, 4.0]], betas, [torch.randn(9, 2) for _ in betas])
    moving = Stops("Moving", "", [Picture(SQUARE.format(i), f"at {a:g} and {b:g}") for i, (a, b) in enumerate(betas)])
    watched = opened(browser_page(390), written(page_by_hand(drawn, moving), tmp_path / "two.html"))
    first_beta, second_beta = watched.page.locator("input[type=range]").all()
    for a, b, words in (("0", "1", "at 0 and 2"), ("1", "0", "at 1 and 0"), ("1", "2", "at 1 and 4")):
        first_beta.fill(a)
        second_beta.fill(b)
        assert watched.page.locator(".picture").get_attribute("alt") == words
    watched.check()


@pytest.mark.parametrize("width", [390, 1280])
def test_several_runs_and_only_their_differences(browser_page: BrowserPage, tmp_path: Path, width: int) -> None:
    runs = [make_run(tmp_path / name, report_of(energy_ks=ks)) for name, ks in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    file = tmp_path / "three.html"
    page_of(*runs, out=file)
    watched = browser_page(width)
    watched.page.goto(file.as_uri())
    rows = watched.page.locator("table.compared tbody tr:not(.part):visible")
    before = rows.count()
    watched.page.get_by_label("only what differs").check()
    assert rows.all_inner_texts()[0].startswith("energy KS ≠")
    assert rows.count() == 1 < before
    for summary in watched.page.locator("summary").all():
        summary.click()
    watched.check()


def test_nothing_of_a_hostile_folder_is_run(browser_page: BrowserPage, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", report_of(energy=EVIL, verdict=EVIL, notes={EVIL: EVIL}), data=EVIL)
    file = tmp_path / "evil.html"
    page_of(run, out=file)
    watched = browser_page()
    watched.page.goto(file.as_uri())
    settled(watched)
    assert watched.page.title() == "egflow: run"
    assert watched.page.locator("script").count() == 2
    # even markup that got in would not run: the page allows its own script alone
    watched.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
    settled(watched)
    assert watched.page.title() == "egflow: run"
    assert any("Content Security Policy" in error for error in watched.errors)
