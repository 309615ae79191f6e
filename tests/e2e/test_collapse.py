"""Moments on the page: one tile for all their photos, which opens; and pages that fit while the index is written."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import index, serving, tiles
from PIL import Image
from support import picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def moments(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an index of the sample photos and a burst of three."""
    folder = tmp_path_factory.mktemp("moments")
    shutil.copytree(photos, folder / "photos")
    with Image.open(photos / "motorcycle_left.png") as opened:
        scene = opened.convert("RGB")
    for second, left in ((1, 0), (3, 12), (5, 24)):
        exif = Image.Exif()
        exif[0x0132] = f"2021:06:30 18:00:0{second}"
        frame = scene.crop((left, 0, scene.width - 24 + left, scene.height))
        frame.save(folder / "photos" / f"burst_{second}.jpg", exif=exif)
    index(folder / "home", folder / "photos")
    with serving(folder / "home") as address:
        yield address


def test_a_moment_is_one_tile_that_opens(page: Page, moments: str) -> None:
    page.goto(f"{moments}?q=burst&mode=words")
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".tile .more")).to_have_text("+2")
    expect(page.locator("#count")).to_contain_text("1 photo and 2 more of the same moments")
    page.locator(".tile").click()
    viewer = page.get_by_role("dialog")
    first = viewer.get_by_role("button", name="Photo 1 of 3")
    third = viewer.get_by_role("button", name="Photo 3 of 3")
    expect(first).to_have_attribute("aria-current", "true")
    leader = page.url
    third.focus()
    page.keyboard.press("Enter")
    expect(page).not_to_have_url(leader)
    expect(viewer.get_by_role("heading", name=re.compile(r"^burst_\d\.jpg$"))).not_to_have_text(tiles(page)[0])
    expect(viewer.locator(".facts")).to_contain_text("717 × 500")  # drawn anew, with what is known of it
    expect(third).to_have_attribute("aria-current", "true")
    expect(third).to_be_focused()
    page.reload()
    expect(third).to_have_attribute("aria-current", "true")
    first.click()
    expect(page).to_have_url(leader)
    page.keyboard.press("Escape")
    expect(page.locator(".tile")).to_be_focused()


def test_arrows_go_from_moment_to_moment(page: Page, moments: str) -> None:
    page.goto(f"{moments}?q=burst+coffee&mode=words&all=1")
    expect(page.locator(".tile")).to_have_count(2)
    order = [page.locator(".tile").nth(place).get_attribute("data-id") for place in range(2)]
    burst = next(place for place in range(2) if tiles(page)[place].startswith("burst"))
    page.locator(".tile").nth(burst).click()
    page.get_by_role("button", name="Photo 3 of 3").click()
    expect(page.get_by_role("button", name="Photo 3 of 3")).to_have_attribute("aria-current", "true")
    page.keyboard.press("ArrowLeft" if burst else "ArrowRight")
    expect(page).to_have_url(re.compile(f"photo={order[1 - burst]}"))
    expect(page.get_by_role("button", name="Photo 3 of 3")).to_have_count(0)


def test_moments_can_be_taken_apart(page: Page, moments: str) -> None:
    page.goto(f"{moments}?q=burst&mode=words")
    expect(page.locator(".tile")).to_have_count(1)
    page.get_by_label("One per moment").uncheck()
    expect(page).to_have_url(re.compile(r"&apart=1$"))
    expect(page.locator(".tile")).to_have_count(3)
    expect(page.locator(".tile .more")).to_have_count(0)
    page.reload()
    expect(page.locator(".tile")).to_have_count(3)
    page.get_by_label("One per moment").check()
    expect(page.locator(".tile")).to_have_count(1)
    page.goto(moments)
    expect(page.locator(".tile")).to_have_count(14)  # the list of the newest has them all
    expect(page.get_by_label("One per moment")).not_to_be_visible()


def test_further_pages_fit_to_the_first_while_photos_come_and_go(refused_page: Page, tmp_path: Path) -> None:
    page = refused_page  # of a photo that has gone, the thumbnail may be asked for still
    folder, home = tmp_path / "photos", tmp_path / "home"
    folder.mkdir()
    for number in range(100, 210):
        picture(folder / f"photo_{number}.jpg", number)
    index(home, folder)
    with serving(home) as address:
        page.goto(f"{address}?q=photo&mode=words&apart=1")
        found = page.request.get(f"{address}api/search?q=photo&mode=words&limit=110").json()["hits"]
        order = [Path(hit["path"]).name for hit in found]
        expect(page.locator(f'.tile img[alt="{order[0]}"]')).to_be_visible()
        gone = order[104]
        (folder / gone).unlink()
        (folder / order[0]).unlink()
        for number in range(20):
            picture(folder / f"photo_{number:03}.jpg", number)
        index(home, folder)
        page.locator("#end").scroll_into_view_if_needed()
        expect(page.locator(f'.tile img[alt="{order[-1]}"]')).to_be_visible()
        further = [name for name in order[100:] if name != gone]  # the first 100 came before
        assert tiles(page)[-len(further) - 1 :] == [order[99], *further]
