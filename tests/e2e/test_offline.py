"""Photos whose drive is away, on the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import index, serving
from playwright.sync_api import expect
from support import picture

from indexer.run import run_index
from search.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    for name, numbers in (("here", range(4)), ("drive", range(4, 6))):
        (tmp_path / name).mkdir()
        for number in numbers:
            picture(tmp_path / name / f"{number}.jpg", number)
        index(tmp_path / "home", tmp_path / name)
    shutil.move(tmp_path / "drive", tmp_path / "unplugged")
    run_index(Home(tmp_path / "home"))
    with serving(tmp_path / "home") as address:
        yield address


def test_photos_of_a_drive_that_is_away_are_found_and_marked(refused_page: Page, address: str, tmp_path: Path) -> None:
    page = refused_page  # their files cannot be shown
    page.goto(address)
    expect(page.locator(".tile")).to_have_count(6)
    away = page.locator(".tile.offline")
    expect(away).to_have_count(2)
    expect(away.first).to_contain_text("Its drive or folder is not there")
    away.first.click()
    expect(page.locator(".facts").locator("..")).to_contain_text("What is known of the photo is kept.")
    page.goto(f"{address}?view=library")
    folder = page.locator(".index li", has_text="2 missing")
    expect(folder).to_contain_text(f"{tmp_path / 'drive'} is not there; what is known of it stays")
    expect(page.locator(".index li", has_text="missing")).to_have_count(1)
