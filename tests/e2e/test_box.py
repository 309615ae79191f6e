"""The box in a real browser: what is understood, suggested and remembered while one types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browsing import tiles

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect


def test_what_is_understood_stands_below_the_box_and_can_be_taken_back(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#q").press_sequentially('a 🏍 motorcycle type:png -"a dog"', delay=5)
    conditions = page.locator("#conditions li")
    expect(conditions).to_have_text(["PNG", "not a dog"])
    page.get_by_role("button", name="Remove: PNG").click()
    expect(page.locator("#q")).to_have_value('a 🏍 motorcycle -"a dog"')
    expect(conditions).to_have_text(["not a dog"])
    page.go_back()
    expect(conditions).to_have_text(["PNG", "not a dog"])


def test_what_is_typed_before_the_page_listens_is_kept(page: Page, address: str) -> None:
    held: list[Route] = []
    page.route("**/static/js/main.js", lambda route: held.append(route))
    page.goto(address, wait_until="commit")
    page.locator("#q").press_sequentially("a motorcycle")
    while not held:
        page.wait_for_timeout(10)
    held[0].continue_()
    expect(page).to_have_url(re.compile(r"\?q=a\+motorcycle$"))
    expect(page.locator("#q")).to_have_value("a motorcycle")


def test_a_filter_that_is_half_typed_is_said_and_the_hits_stay(refused_page: Page, address: str) -> None:
    page = refused_page
    page.goto(f"{address}?q=motorcycle")
    expect(page.locator(".tile.shown").first).to_be_visible()
    before = tiles(page)
    page.locator("#q").press_sequentially(" after:20", delay=5)
    expect(page.get_by_role("alert")).to_contain_text("There is no date “20”")
    assert tiles(page) == before
    page.locator("#q").press_sequentially("30", delay=5)
    expect(page.get_by_role("heading", name="No photo answers this")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_word_at_the_caret_is_completed_by_the_keys_alone(page: Page, address: str) -> None:
    page.goto(address)
    box = page.get_by_role("combobox", name="Describe the photo you are looking for")
    box.press_sequentially("a cat typ", delay=5)
    options = page.locator("#suggest").get_by_role("option")
    expect(options).to_have_text([re.compile("type:")])
    box.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(box).to_have_value("a cat type:")
    expect(options).to_have_count(2)  # jpeg and png
    box.press("ArrowDown")
    box.press("Enter")
    expect(box).to_have_value(re.compile(r"^a cat type:(jpeg|png) $"))
    expect(options).to_have_count(0)
    expect(page.locator("#conditions li")).to_have_count(1)
    box.press_sequentially("orient", delay=5)
    expect(options).to_contain_text(["orientation:"])
    box.press("Escape")
    expect(options).to_have_count(0)


def test_searches_made_before_are_offered_in_the_empty_box(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#q").fill("a motorcycle")
    page.locator("#q").press("Enter")
    page.locator("#clear").click()
    page.locator("#q").press("ArrowDown")
    page.get_by_role("option", name="a motorcycle").click()
    expect(page).to_have_url(re.compile(r"\?q=a\+motorcycle$"))
    page.locator("#clear").click()
    page.locator("#q").press("ArrowDown")
    page.get_by_role("option", name="Forget these searches").click()
    page.locator("#q").press("ArrowDown")
    expect(page.locator("#suggest")).to_be_hidden()


def test_a_saved_search_is_a_card_where_nothing_is_asked(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+motorcycle&mode=meaning&all=1")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("textbox", name="Name of the search").fill("<b>Bikes</b>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Saved")).to_have_attribute("aria-pressed", "true")
    page.locator("#brand").click()
    card = page.locator("#saved li")
    expect(card).to_contain_text("<b>Bikes</b>")
    expect(card).to_contain_text("11 photos")
    card.get_by_role("link").click()
    expect(page).to_have_url(re.compile(r"\?q=a\+motorcycle&mode=meaning&all=1$"))
    page.go_back()
    card.get_by_role("button", name="Remove the saved search").click()
    expect(card).to_have_count(0)
