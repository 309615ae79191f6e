"""The page in a real browser, over the real command line and a real index of sample photographs."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import HOSTILE_NAME, index, serving, tiles

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect


def test_at_first_the_newest_photos_and_a_few_suggestions(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator("#count")).to_have_text("11 photos, newest first")
    expect(page.locator(".tile.shown")).to_have_count(11)
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("#state")).to_contain_text("model: starter")
    page.get_by_role("link", name="a red motorcycle").click()
    expect(page.locator("#q")).to_have_value("a red motorcycle")
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")


def test_typing_finds_and_the_address_keeps_it(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("#q").press_sequentially("a red motorcycle", delay=15)
    expect(page).to_have_url(re.compile(r"\?q=a\+red\+motorcycle$"))
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
    expect(page.locator("#count")).to_contain_text(re.compile(r"^\d photos?\b"))
    page.reload()
    expect(page.locator("#q")).to_have_value("a red motorcycle")
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
    page.go_back()
    expect(page.locator("#q")).to_have_value("")
    expect(page.locator("#count")).to_have_text("11 photos, newest first")


def test_photos_that_fit_less_are_one_click_away(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+motorcycle&mode=meaning")
    expect(page.get_by_role("button", name="Show photos that fit less")).to_be_visible()
    fitting = tiles(page)
    assert fitting[0] == "motorcycle_left.png" and len(fitting) < 11
    page.get_by_role("button", name="Show photos that fit less").click()
    expect(page.locator(".tile")).to_have_count(11)
    assert tiles(page)[: len(fitting)] == fitting
    expect(page.locator(".tile.less")).to_have_count(11 - len(fitting))
    page.get_by_role("button", name="Only photos that fit").click()
    expect(page.locator(".tile")).to_have_count(len(fitting))


def test_where_nothing_fits_the_rest_is_one_click_away_too(page: Page, address: str) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        found = response.json()
        if "all=true" not in route.request.url:
            found |= {"total": 0, "left_out": 11, "hits": []}
        route.fulfill(response=response, json=found)

    page.route("**/api/search?*", answer)
    page.goto(f"{address}?q=zebra&mode=meaning")
    expect(page.get_by_role("heading", name="No photo answers this")).to_be_visible()
    page.get_by_role("button", name="Show photos that fit less").click()
    expect(page.locator(".tile")).to_have_count(11)


def test_only_words_and_no_answer(page: Page, address: str) -> None:
    page.goto(f"{address}?q=motorcycle")
    page.get_by_label("Match").select_option("words")
    # As a pattern: of a plain text the blanks at its ends would not count, and "11 photos" would do.
    expect(page.locator("#count")).to_contain_text(re.compile(r"^1 photo\b"))
    assert tiles(page) == ["motorcycle_left.png"]
    page.locator("#q").fill('"zebra crossing"')
    expect(page.get_by_role("heading", name="No photo answers this")).to_be_visible()
    assert tiles(page) == []


def test_a_photo_opens_with_what_is_known_and_why_it_matched(page: Page, address: str) -> None:
    page.goto(f"{address}?q=motorcycle&all=1")
    page.locator(".tile").first.click()
    viewer = page.get_by_role("dialog", name="motorcycle_left.png")
    expect(viewer).to_be_visible()
    expect(viewer.locator("mark")).to_have_text("motorcycle")
    expect(viewer.locator(".why")).to_contain_text("Meaning")
    expect(viewer.locator(".facts")).to_contain_text("741 × 500")
    expect(viewer.get_by_role("link", name="Open the original")).to_have_attribute("href", re.compile(r"/file$"))
    first = page.url
    page.keyboard.press("ArrowRight")
    expect(page).not_to_have_url(first)
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(first)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(page).to_have_url(re.compile(r"\?q=motorcycle&all=1$"))
    expect(page.locator(".tile").first).to_be_focused()
    page.go_forward()
    expect(viewer).to_be_visible()
    page.reload()
    expect(viewer.locator("mark")).to_have_text("motorcycle")


def test_more_like_this_and_back(page: Page, address: str) -> None:
    page.goto(f"{address}?q=motorcycle")
    page.locator(".tile").first.click()
    page.get_by_role("button", name="More like this").click()
    expect(page).to_have_url(re.compile(r"\?like=[0-9a-f]{32}$"))
    expect(page.locator(".chip")).to_contain_text("motorcycle_left.png")
    expect(page.locator("#count")).to_contain_text("10 photos")
    assert "motorcycle_left.png" not in tiles(page)
    page.go_back()
    expect(page.locator("#viewer")).to_be_visible()
    page.go_back()
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(page.locator("#q")).to_have_value("motorcycle")


def test_a_chosen_picture_is_searched_by_and_combines_with_text(page: Page, address: str, photos: Path) -> None:
    page.goto(address)
    expect(page.locator(".tile")).to_have_count(11)
    page.locator("#file").set_input_files(photos / "coffee.png")
    expect(page.locator(".chip")).to_contain_text("coffee.png")
    expect(page.locator(".tile img").first).to_have_attribute("alt", "coffee.png")
    page.locator("#q").fill("a motorcycle")
    expect(page).to_have_url(re.compile("q=a"))
    page.locator(".tile").first.click()
    expect(page.locator(".why")).to_contain_text("Looks alike")
    expect(page.locator(".why")).to_contain_text("Meaning")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Remove: coffee.png").click()
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
    page.go_back()
    expect(page.locator(".chip")).to_contain_text("coffee.png")


_HAND_OVER = """([kind, name, type, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type }));
  const options = { bubbles: true, cancelable: true };
  if (kind === "paste") {
    document.body.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
  } else {
    for (const each of ["dragenter", "dragover", "drop"]) {
      document.body.dispatchEvent(new DragEvent(each, { ...options, dataTransfer: transfer }));
    }
  }
}"""


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_can_be_dropped_and_pasted(page: Page, address: str, photos: Path, kind: str) -> None:
    page.goto(address)
    content = list((photos / "rocket.jpg").read_bytes())
    page.evaluate(_HAND_OVER, [kind, "rocket.jpg", "image/jpeg", content])
    expect(page.locator(".tile img").first).to_have_attribute("alt", "rocket.jpg")
    expect(page.locator("#drop")).not_to_be_visible()


def test_what_is_no_picture_is_said_so_where_it_was_dropped(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".tile")).to_have_count(11)
    page.evaluate(_HAND_OVER, ["drop", "notes.txt", "text/plain", [1, 2, 3]])
    expect(page.get_by_role("alert")).to_contain_text("not a picture")
    expect(page.locator(".tile")).to_have_count(11)


def test_a_damaged_picture_is_explained(refused_page: Page, address: str) -> None:
    refused_page.goto(address)
    refused_page.evaluate(_HAND_OVER, ["drop", "photo.jpg", "image/jpeg", [255, 216, 255, 1]])
    expect(refused_page.get_by_role("alert")).to_contain_text("cannot be searched by")
    refused_page.get_by_role("button", name=re.compile("^Remove")).click()
    expect(refused_page.locator(".tile")).to_have_count(11)
    expect(refused_page.get_by_role("alert")).not_to_be_visible()


def test_a_hostile_name_is_shown_as_text(page: Page, address: str) -> None:
    page.goto(f"{address}?q=onerror&mode=words")
    expect(page.locator(".tile img")).to_have_attribute("alt", HOSTILE_NAME)
    page.locator(".tile").click()
    expect(page.get_by_role("heading", name=HOSTILE_NAME)).to_be_visible()
    expect(page.locator(".why mark")).to_have_text("onerror")
    page.get_by_role("button", name="More like this").click()
    expect(page.locator(".chip")).to_contain_text(HOSTILE_NAME)
    assert page.locator("img[src=x]").count() == 0


def test_hostile_text_in_the_address_is_text(page: Page, address: str) -> None:
    page.goto(f"{address}?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    expect(page.locator("#q")).to_have_value("<img src=x onerror=alert(1)>")
    assert page.locator("img[src=x]").count() == 0


def test_the_keyboard_alone_will_do(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".tile")).to_have_count(11)
    page.locator(".tile").first.focus()
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    expect(page.locator("#q")).to_have_value("")
    page.keyboard.type("motorcycle")
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className").startswith("tile"):
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_nothing_moves_while_the_thumbnails_load(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".tile.shown")).to_have_count(11)
    shift = page.evaluate(
        """() => new Promise(resolve => {
          let sum = 0;
          new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) sum += e.value; })
            .observe({ type: "layout-shift", buffered: true });
          setTimeout(() => resolve(sum), 300);
        })"""
    )
    assert shift < 0.1


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_no_width_makes_the_page_scroll_sideways(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    for query in ("", "?q=motorcycle", "docs"):
        page.goto(address + query)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), query


def test_pages_that_bring_nothing_new_come_to_an_end(page: Page, address: str) -> None:
    """A photo that leaves the index between two pages moves the others up: fewer come than were announced."""
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "total": 150})

    page.route("**/api/search?*", answer)
    page.goto(f"{address}?q=dog&all=1")
    expect(page.locator(".tile")).to_have_count(11)
    expect(page.get_by_role("button", name="Only photos that fit")).to_be_visible()
    page.wait_for_timeout(500)
    assert len(asked) == 2  # of 100 photos each


def test_the_rows_of_the_grid_are_level(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".tile")).to_have_count(11)
    boxes = page.locator(".tile").evaluate_all("all => all.map(e => e.getBoundingClientRect().toJSON())")
    for top in {round(box["top"]) for box in boxes}:
        heights = [box["height"] for box in boxes if round(box["top"]) == top]
        assert max(heights) - min(heights) < 1.5


def test_the_api_is_described_without_anything_from_elsewhere(page: Page, address: str) -> None:
    page.goto(f"{address}docs")
    expect(page.get_by_role("heading", name="The HTTP API")).to_be_visible()
    expect(page.locator("section")).to_have_count(29)
    expect(page.locator("body")).to_contain_text("/api/photos/{photo_id}/thumb")


def test_before_there_is_an_index_the_page_says_what_to_type(refused_page: Page, photos: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serving(home) as address:
        refused_page.goto(address)
        expect(refused_page.get_by_role("heading", name="No photos are indexed yet")).to_be_visible()
        expect(refused_page.locator("code")).to_have_text("sightline index ~/Pictures")
        index(home, photos)
        # The page finds out by itself.
        expect(refused_page.locator(".tile")).to_have_count(11)
        expect(refused_page.locator("#empty")).not_to_be_visible()


def test_the_page_recovers_when_the_server_comes_back(refused_page: Page, photos: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    home = tmp_path / "home"
    index(home, photos)
    with serving(home, port) as address:
        refused_page.goto(address)
        expect(refused_page.locator(".tile")).to_have_count(11)
    refused_page.locator("#q").fill("motorcycle")
    expect(refused_page.get_by_role("alert")).to_contain_text("does not answer")
    expect(refused_page.locator(".tile")).to_have_count(11)  # what was there stays to be looked at
    with serving(home, port):
        expect(refused_page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
        expect(refused_page.get_by_role("alert")).not_to_be_visible()
