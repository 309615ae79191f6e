"""Captions on the page: shown, edited, kept, and found."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import index, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def captioned(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an index of two photos with captions by the built-in captioner."""
    folder = tmp_path_factory.mktemp("captioned")
    (folder / "photos").mkdir()
    for name in ("coffee.png", "rocket.jpg"):
        shutil.copy(photos / name, folder / "photos")
    index(folder / "home", folder / "photos", captions="starter")
    with serving(folder / "home") as address:
        yield address


def test_own_caption_takes_the_place_of_the_captioners_and_gives_it_back(page: Page, captioned: str) -> None:
    page.goto(f"{captioned}?q=coffee&mode=words")
    page.locator(".tile").click()
    viewer = page.get_by_role("dialog")
    expect(viewer).to_contain_text("coffee.png · caption by starter")
    by_captioner = viewer.get_by_role("heading", level=2).inner_text()

    viewer.get_by_role("button", name="Edit the caption").click()
    field = viewer.get_by_label("Your caption")
    expect(field).to_be_focused()
    expect(field).to_have_value(by_captioner)
    field.fill("Breakfast in <b>Lisbon</b>")
    field.press("ArrowRight")  # moves in the text, not to another photo
    field.press("Enter")
    expect(viewer.get_by_role("heading", name="Breakfast in <b>Lisbon</b>")).to_be_visible()
    expect(viewer).to_contain_text("caption by you")
    expect(viewer.get_by_alt_text("Breakfast in <b>Lisbon</b>", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".tile img")).to_have_attribute("alt", "Breakfast in <b>Lisbon</b>")
    expect(page.locator(".tile .words")).to_have_text("Breakfast in <b>Lisbon</b>")
    page.goto(f"{captioned}?q=lisbon&mode=words")
    expect(page.locator(".tile")).to_have_count(1)

    page.locator(".tile").click()
    viewer.get_by_role("button", name="Edit the caption").click()
    field.fill("")
    viewer.get_by_role("button", name="Save").click()
    expect(viewer.get_by_role("heading", name=by_captioner)).to_be_visible()


def test_escape_leaves_the_caption_and_not_the_viewer(page: Page, captioned: str) -> None:
    page.goto(f"{captioned}?q=rocket&mode=words")
    page.locator(".tile").click()
    viewer = page.get_by_role("dialog")
    before = viewer.get_by_role("heading", level=2).inner_text()
    viewer.get_by_role("button", name="Edit the caption").click()
    viewer.get_by_label("Your caption").fill("never kept")
    viewer.get_by_label("Your caption").press("Escape")
    expect(viewer.get_by_role("heading", name=before)).to_be_visible()
    expect(viewer.get_by_role("button", name="Edit the caption")).to_be_focused()


def test_typed_text_is_there_again_whatever_was_pressed_meanwhile(page: Page, captioned: str) -> None:
    page.goto(captioned)
    page.locator(".tile").first.click()
    viewer = page.get_by_role("dialog")
    viewer.get_by_role("button", name="Edit the caption").click()
    field = viewer.get_by_label("Your caption")
    field.fill("half a sentence")
    viewer.get_by_role("button", name="Save").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    expect(field).to_be_focused()
    expect(field).to_have_value("half a sentence")

    viewer.get_by_role("button", name="Next").click()
    expect(field).to_be_hidden()
    viewer.get_by_role("button", name="Previous").click()
    viewer.get_by_role("button", name="Edit the caption").click()
    expect(field).to_have_value("half a sentence")
    viewer.get_by_role("button", name="Cancel").click()
    viewer.get_by_role("button", name="Edit the caption").click()
    expect(field).not_to_have_value("half a sentence")


def test_caption_that_cannot_be_kept_says_why_and_stays_in_the_field(refused_page: Page, captioned: str) -> None:
    page = refused_page
    page.route("**/caption", lambda route: route.abort())
    page.goto(f"{captioned}?q=rocket&mode=words")
    page.locator(".tile").click()
    viewer = page.get_by_role("dialog")
    viewer.get_by_role("button", name="Edit the caption").click()
    viewer.get_by_label("Your caption").fill("kept in the field")
    viewer.get_by_role("button", name="Save").click()
    expect(viewer.get_by_role("alert")).to_contain_text("does not answer")
    expect(viewer.get_by_label("Your caption")).to_have_value("kept in the field")
