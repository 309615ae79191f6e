"""Tags and kinds on the page: shown with a photo, each a search of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browsing import tiles

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect


def test_a_tag_leads_to_the_photos_that_have_it(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+cup+of+coffee&mode=meaning&sort=date")
    page.locator('.tile img[alt="coffee.png"]').click()
    viewer = page.get_by_role("dialog")
    tag = viewer.get_by_role("link", name="food", exact=True)
    expect(tag).to_have_attribute("title", "Search for tag:food")
    expect(tag).to_have_attribute("href", re.compile(r"^/\?q=tag%3Afood$"))
    tag.click()
    expect(viewer).to_be_hidden()
    expect(page).to_have_url(re.compile(r"\?q=tag%3Afood$"))
    expect(page.locator("#q")).to_have_value("tag:food")
    expect(page.locator('.tile img[alt="coffee.png"]')).to_be_visible()
    assert "rocket.jpg" not in tiles(page)
    page.go_back()
    expect(viewer.get_by_role("link", name="food", exact=True)).to_be_visible()


def test_a_plain_photo_is_of_no_kind_worth_a_word(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+cup+of+coffee&mode=meaning")
    page.locator('.tile img[alt="coffee.png"]').click()
    viewer = page.get_by_role("dialog")
    expect(viewer.get_by_role("heading", name="Tags")).to_be_visible()
    expect(viewer.get_by_role("link", name=re.compile("Screenshot|Document|Drawing|photo"))).to_have_count(0)
