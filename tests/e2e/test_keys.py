"""What can be done by the keys is shown on the page, and told in docs/page.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from browsing import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect

ROWS = """() => [...document.querySelectorAll(".keys section")].flatMap((section) =>
  [...section.querySelectorAll("dl > div")].map((row) => [
    section.querySelector("h3").textContent,
    [...row.querySelectorAll("kbd")].map((key) => key.textContent).join(" "),
    row.querySelector("dd").textContent,
  ]))"""


def test_a_question_mark_shows_the_keys_that_the_documentation_names(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".tile").first.focus()
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_be_visible()
    section = (ROOT / "docs" / "page.md").read_text(encoding="utf-8").split("\n## Keys\n")[1].split("\n## ")[0]
    written = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert page.evaluate(ROWS) == [list(row) for row in written[1:]]
    page.keyboard.press("Escape")
    expect(keys).not_to_be_attached()
    expect(page.locator(".tile").first).to_be_focused()


def test_a_question_mark_can_be_typed(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#q").press_sequentially("who?")
    expect(page.locator("#q")).to_have_value("who?")
    expect(page.get_by_role("dialog", name="Keys")).not_to_be_attached()


def test_the_button_at_the_foot_shows_them_too(page: Page, address: str) -> None:
    page.goto(address)
    button = page.get_by_role("button", name="Keys")
    button.click()
    keys = page.get_by_role("dialog", name="Keys")
    keys.get_by_role("button", name="Close").click()
    expect(keys).not_to_be_attached()
    expect(button).to_be_focused()


def test_over_a_photo_they_leave_the_photo_open(page: Page, address: str) -> None:
    page.goto(address)
    page.locator(".tile").first.click()
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    photo = page.url
    page.keyboard.press("ArrowRight")
    page.keyboard.press("?")  # a second time closes them
    expect(page.get_by_role("dialog", name="Keys")).not_to_be_attached()
    expect(viewer).to_be_visible()
    assert page.url == photo
