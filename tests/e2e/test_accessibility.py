"""What axe-core says of each view of the page; and that nothing moves where nothing is to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest
from browsing import watched_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api").expect
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
NOTHING = "Found 0 accessibility violations:\n"


def open_filters(page: Page) -> None:
    page.get_by_role("button", name="Filters").click()
    expect(page.get_by_role("heading", name="Dates")).to_be_visible()


def open_suggestions(page: Page) -> None:
    page.locator("#q").press_sequentially("cam")
    expect(page.get_by_role("option").first).to_be_visible()
    page.keyboard.press("ArrowDown")


def open_photo(page: Page) -> None:
    page.locator(".tile").first.click()
    expect(page.get_by_role("heading", name="Details")).to_be_visible()


def use_tools(page: Page) -> None:
    open_photo(page)
    page.keyboard.press("w")
    expect(page.locator(".photo canvas")).to_be_visible()
    page.keyboard.press("b")
    page.get_by_role("button", name="caption").click()


def zoom_in(page: Page) -> None:
    open_photo(page)
    page.keyboard.press("+")


def select_some(page: Page) -> None:
    for place in range(2):
        page.locator(".tile").nth(place).focus()
        page.keyboard.press("x")


def open_cards(page: Page) -> None:
    for card in ("Runs", "Models"):
        page.get_by_text(card, exact=True).click()
    expect(page.get_by_text("in use")).to_be_visible()


def open_keys(page: Page) -> None:
    page.get_by_role("button", name="Keys").click()


def look(page: Page) -> None:
    pass


# Where each view is, and what leads to it from there.
VIEWS: dict[str, tuple[str, Callable[[Page], None]]] = {
    "without a query": ("", look),
    "hits": ("?q=a+motorcycle+after:1990&all=1", look),
    "no hits": ("?q=%22zebra+crossing%22", look),
    "filters": ("?q=a+motorcycle", open_filters),
    "suggestions": ("", open_suggestions),
    "a photo": ("?q=motorcycle", open_photo),
    "a photo, looked into": ("?q=motorcycle", use_tools),
    "a photo, zoomed": ("?q=motorcycle", zoom_in),
    "a selection": ("", select_some),
    "the library": ("?view=library", open_cards),
    "duplicates": ("?view=duplicates&kind=near", look),
    "the keys": ("", open_keys),
    "the API": ("docs", look),
}


@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing_amiss(browser: Browser, address: str, view: str) -> None:
    place, steps = VIEWS[view]
    # The page's own policy would not let in axe's script.
    with watched_page(browser, errors_expected=False, bypass_csp=True, reduced_motion="reduce") as page:
        page.goto(address + place)
        expect(page.locator("#count:not(:empty), .empty h2, .api section, .view h1").first).to_be_visible()
        steps(page)
        assert axe.Axe().run(page, options=OPTIONS).generate_report() == NOTHING
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 390, "height": 844})
        assert axe.Axe().run(page, options=OPTIONS).generate_report() == NOTHING


RECORD = """
  window.moved = [];
  for (const kind of ["transitionrun", "animationstart"]) {
    addEventListener(kind, ({ target }) => window.moved.push(`${kind} ${target.className}`), true);
  }
"""


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_for_those_who_do_not_want_it(
    browser: Browser, address: str, motion: Literal["reduce", "no-preference"]
) -> None:
    with watched_page(browser, errors_expected=False, reduced_motion=motion) as page:
        page.add_init_script(RECORD)
        page.goto(f"{address}?q=motorcycle&all=1")
        expect(page.locator(".tile.shown")).to_have_count(11)
        page.locator(".tile").nth(1).hover()
        use_tools(page)
        page.wait_for_timeout(50)
        still = page.evaluate(
            "window.moved.length === 0 && getComputedStyle(document.documentElement).scrollBehavior === 'auto'"
        )
        assert still == (motion == "reduce"), page.evaluate("window.moved")
