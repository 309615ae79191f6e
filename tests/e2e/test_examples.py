"""Pictures as queries: several at once, refined by words, and parts of photos."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import tiles

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect


def test_several_pictures_and_words_are_one_search(page: Page, address: str, photos: Path) -> None:
    page.goto(address)
    page.locator("#file").set_input_files([photos / "coffee.png", photos / "chelsea.png"])
    expect(page.locator(".chip")).to_have_count(2)
    expect(page.locator("#count strong")).to_have_text("11 photos")
    assert set(tiles(page)[:2]) == {"coffee.png", "chelsea.png"}
    page.get_by_role("button", name="Remove: coffee.png").click()
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator(".tile img").first).to_have_attribute("alt", "chelsea.png")
    page.locator("#q").fill("type:jpeg")
    expect(page.locator(".tile img").first).not_to_have_attribute("alt", "chelsea.png")
    page.go_back()
    page.go_back()
    expect(page.locator(".chip")).to_have_count(2)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("was not kept")


def test_more_than_eight_pictures_are_refused_before_they_are_sent(page: Page, address: str, photos: Path) -> None:
    page.goto(address)
    page.locator("#file").set_input_files([photos / "coffee.png"] * 9)
    expect(page.get_by_role("alert")).to_have_text("A search takes at most 8 pictures. Remove one first.")


def test_a_box_drawn_on_a_photo_searches_by_what_is_in_it(page: Page, address: str) -> None:
    page.goto(f"{address}?q=motorcycle")
    page.locator(".tile").first.click()
    expect(page.locator(".photo img")).to_have_js_property("complete", True)
    page.keyboard.press("b")
    layer = page.locator(".drawing")
    expect(layer).to_be_focused()
    box = layer.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.9 * box["height"], steps=3)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"\?like=[0-9a-f]{32}%400\.25\d*%2C0\.[12]\d*%2C0\.7\d*%2C0\.\d+$"))
    expect(page.locator(".chip")).to_contain_text("Part of motorcycle_left.png")
    expect(page.locator("#count")).to_contain_text("10 photos")
    assert "motorcycle_left.png" not in tiles(page)


def test_a_box_is_drawn_by_the_keys_alone_and_left_without_a_search(page: Page, address: str) -> None:
    page.goto(f"{address}?q=motorcycle")
    page.locator(".tile").first.click()
    page.keyboard.press("b")
    page.keyboard.press("Escape")
    expect(page.locator(".drawing")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("b")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"\?like=[0-9a-f]{32}%400\.23%2C0\.25%2C0\.73%2C0\.77$"))
