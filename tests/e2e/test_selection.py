"""Selecting several photos in the grid, and what can be done with them."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture
def grid(page: Page, address: str) -> Page:
    page.goto(address)
    expect(page.locator(".tile.shown")).to_have_count(11)
    return page


def selected(page: Page) -> list[int]:
    """The places of the selected tiles."""
    return page.locator(".grid > li").evaluate_all(  # type: ignore[no-any-return]
        "all => all.flatMap((each, i) => each.classList.contains('selected') ? [i] : [])"
    )


def bar(page: Page) -> Any:
    return page.get_by_role("region", name="Selected photos")


def test_marks_keys_and_clicks_select_and_escape_drops_it(grid: Page) -> None:
    page, tiles = grid, grid.locator(".tile")
    expect(bar(page)).to_be_hidden()
    tiles.nth(1).hover()
    page.locator(".check").nth(1).click()
    expect(bar(page).get_by_role("status").first).to_have_text("1 selected")
    tiles.nth(3).click()  # as one is selected already
    assert selected(page) == [1, 3]
    tiles.nth(1).click()
    assert selected(page) == [3]
    tiles.nth(5).click(modifiers=["Shift"])
    assert selected(page) == [3, 4, 5]
    tiles.nth(8).focus()
    page.keyboard.press("x")
    assert selected(page) == [3, 4, 5, 8]
    expect(page.locator(".check").nth(8)).to_have_attribute("aria-pressed", "true")
    expect(tiles.nth(8)).to_contain_text("selected")
    page.keyboard.press("Escape")
    assert selected(page) == []
    expect(bar(page)).to_be_hidden()
    tiles.nth(2).click(modifiers=["ControlOrMeta"])
    assert selected(page) == [2]
    expect(page.locator("#viewer")).to_be_hidden()
    page.get_by_role("button", name="Select none").click()
    expect(tiles.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()


def test_the_selection_outlives_its_tiles_and_ends_with_another_search(page: Page, address: str) -> None:
    example: dict[str, Any] = {}

    def many(route: Route) -> None:
        if "q=" in route.request.url:
            return route.continue_()
        response = route.fetch()
        hit = example.setdefault("hit", (response.json()["hits"] or [None])[0])
        first = int(re.search(r"offset=(\d+)", route.request.url)[1])  # type: ignore[index]
        hits = [{**hit, "id": f"{first + i:032x}"} for i in range(100)]
        route.fulfill(response=response, json={**response.json(), "total": 2000, "hits": hits})

    page.route("**/api/search?*", many)
    page.route("**/thumb*", lambda route: route.fulfill(status=200, content_type="image/webp", body=b""))
    page.goto(address)
    page.locator(".tile").first.hover()
    page.locator(".check").first.click()
    page.evaluate("document.activeElement.blur(); scrollTo(0, 12000)")
    expect(page.locator(f".tile[data-id='{0:032x}']")).to_have_count(0)
    expect(page.locator(".selecting .tile")).not_to_have_count(0)
    seen = page.locator(".tile").evaluate_all("all => all.findIndex(each => each.getBoundingClientRect().top > 200)")
    tile = page.locator(".tile").nth(seen)
    number = int(str(tile.get_attribute("data-id")), 16)
    tile.click(modifiers=["Shift"])  # also over what was never loaded
    expect(bar(page).locator(".number")).to_have_text(f"{number + 1:,} selected")
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("li.selected")).not_to_have_count(0)
    page.locator("#q").fill("a dog")
    expect(bar(page)).to_be_hidden()


def test_a_long_press_selects_and_opens_nothing(grid: Page) -> None:
    touch = """async ([tile, ms]) => {
      const { left, top } = tile.getBoundingClientRect();
      const options = { pointerType: "touch", pointerId: 7, clientX: left + 60, clientY: top + 60, bubbles: true };
      tile.dispatchEvent(new PointerEvent("pointerdown", options));
      await new Promise(resolve => setTimeout(resolve, ms));
      tile.dispatchEvent(new PointerEvent("pointerup", options));
      tile.dispatchEvent(new PointerEvent("click", { ...options, cancelable: true, detail: 1 }));
    }"""
    page, tile = grid, grid.locator(".tile").nth(4).element_handle()
    page.evaluate(touch, [tile, 600])
    assert selected(page) == [4]
    expect(page.locator("#viewer")).to_be_hidden()
    page.evaluate(touch, [tile, 20])
    assert selected(page) == []


def test_paths_are_copied_one_a_line(grid: Page, photos: Path) -> None:
    page = grid
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+X")
    page.get_by_role("button", name="Copy paths").click()
    expect(bar(page)).to_contain_text("2 paths copied")
    paths = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert len(paths) == 2 and {str(photos)} == {path.rpartition("/")[0] for path in paths}


def test_a_zip_goes_to_the_browsers_downloads(grid: Page, tmp_path: Path, photos: Path) -> None:
    page = grid
    for name in ("rocket.jpg", "coffee.png"):
        page.get_by_role("link", name=name).click(modifiers=["ControlOrMeta"])
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    assert downloading.value.suggested_filename == "sightline-2-photos.zip"
    downloading.value.save_as(tmp_path / "photos.zip")
    with zipfile.ZipFile(tmp_path / "photos.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: (photos / name).read_bytes() for name in ("rocket.jpg", "coffee.png")
        }
    expect(bar(page)).to_contain_text("2 photos are being downloaded")
    assert selected(page) != []


def test_a_download_that_cannot_be_is_explained_where_it_was_asked_for(refused_page: Page, address: str) -> None:
    page = refused_page
    page.goto(address)
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    sentence = "Too many archives are being downloaded at once; wait until one is done."
    page.route("**/api/archive", lambda route: route.fulfill(status=503, json={"detail": sentence}))
    page.get_by_role("button", name="Download").click()
    expect(bar(page)).to_contain_text(sentence)
    expect(page.locator(".tile")).to_have_count(11)


def test_what_looks_like_all_of_them_is_found(grid: Page) -> None:
    page = grid
    for place in (0, 2):
        page.locator(".tile").nth(place).click(modifiers=["ControlOrMeta"])
    page.get_by_role("button", name="Find like these").click()
    expect(page).to_have_url(re.compile(r"\?like=[0-9a-f]{32}\+[0-9a-f]{32}$"))
    expect(page.locator(".chip")).to_have_count(2)
    expect(bar(page)).to_be_hidden()


def test_photos_are_said_to_be_no_duplicates_and_it_is_taken_back(grid: Page) -> None:
    page = grid
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    apart = page.get_by_role("button", name="Not duplicates")
    expect(apart).to_have_attribute("aria-disabled", "true")
    apart.click(force=True)
    expect(bar(page)).to_contain_text("Select two to 100 photos")
    page.locator(".tile").nth(1).click()
    with page.expect_response("**/api/duplicates/dismissals") as answered:
        apart.click()
    assert answered.value.json() == {"pairs": 1}
    expect(bar(page)).to_contain_text("2 photos: not duplicates of each other")
    with page.expect_response("**/api/duplicates/dismissals") as answered:
        page.get_by_role("button", name="Undo").click()
    assert (answered.value.request.method, answered.value.json()) == ("DELETE", {"pairs": 1})
    expect(bar(page)).to_contain_text("Taken back")


def test_undo_is_there_only_where_it_takes_nothing_older_back(grid: Page) -> None:
    page = grid
    for place in range(2):
        page.locator(".tile").nth(place).click(modifiers=["ControlOrMeta"])
    page.get_by_role("button", name="Not duplicates").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()
    page.locator(".tile").nth(2).click()
    with page.expect_response("**/api/duplicates/dismissals") as answered:
        page.get_by_role("button", name="Not duplicates").click()
    assert answered.value.json() == {"pairs": 2}
    expect(bar(page)).to_contain_text("3 photos: not duplicates of each other")
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)
    request = answered.value.request
    page.evaluate(
        "body => fetch('/api/duplicates/dismissals', "
        "{ method: 'DELETE', body, headers: { 'Content-Type': 'application/json' } })",
        request.post_data,
    )


def test_the_selection_ends_where_another_view_begins(grid: Page) -> None:
    page = grid
    page.locator(".tile").first.click(modifiers=["ControlOrMeta"])
    expect(bar(page)).to_be_visible()
    page.get_by_role("link", name="Library").click()
    expect(bar(page)).to_be_hidden()
    page.go_back()
    expect(page.locator(".tile.shown")).to_have_count(11)
    expect(bar(page)).to_be_hidden()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_bar_fits_at_every_width_and_hides_no_tile_that_is_focused(grid: Page, width: int) -> None:
    page = grid
    page.set_viewport_size({"width": width, "height": 500})
    page.locator(".tile").first.focus()
    page.keyboard.press("x")
    around = bar(page).bounding_box()
    assert around is not None and around["x"] >= 0 and around["x"] + around["width"] <= width
    page.keyboard.press("End")
    expect(page.locator(".tile").last).to_be_focused()
    tile = page.locator(".tile").last.bounding_box()
    assert tile is not None and tile["y"] + tile["height"] <= around["y"]
