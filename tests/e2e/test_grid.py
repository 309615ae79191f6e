"""The grid over 100,000 hits: what is in the page, what stays in place, and the keyboard.

The answers are made up, and come to the real page of the real server; so do their thumbnails, from one real photo.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

expect = pytest.importorskip("playwright.sync_api").expect

TOTAL = 100_000
BLOCK = 100
HOSTILE = '<img src=x onerror="alert(1)">'
# From the top: red, green, blue.
STRIPES = base64.b64encode(bytes([255, 0, 0] * 4 + [0, 255, 0] * 4 + [0, 0, 255] * 4)).decode()


def photo_id(place: int) -> str:
    return f"{place:032x}"


def hit(place: int) -> dict[str, Any]:
    # No block is as high as the first lets expect.
    block = place // BLOCK
    shapes = (
        [(400, 300), (500, 300), (1200, 300)]
        if block == 0
        else [(400, 300), (300, 400), (300 + 200 * (block % 2), 300)]
    )
    width, height = shapes[place % 3]
    return {
        "id": photo_id(place),
        "path": f"/photos/{place}.jpg",
        "score": None,
        "relevant": place < 99_990,
        "why": [],
        "caption": HOSTILE if place == 1 else f"Photo {place}",
        "taken_at": "2023-05-14T16:20:11" if place % 2 == 0 else None,
        "width": width,
        "height": height,
        "others": [photo_id(TOTAL)] if place == 2 else [],
        "preview": STRIPES,
    }


class Library:
    """Answers the page's searches with made-up hits. Blocks in `held` wait until they are released."""

    def __init__(self, page: Page, address: str) -> None:
        self.total = TOTAL
        self.asked: list[int] = []
        self.thumbnails = 0
        self.held: set[int] = set()
        self.waiting: list[tuple[int, Route]] = []
        known = page.request.get(f"{address}api/search?limit=1").json()["hits"][0]["id"]
        self.picture = page.request.get(f"{address}api/photos/{known}/thumb").body()
        self.photo = page.request.get(f"{address}api/photos/{known}").json()
        page.route("**/api/search?*", self.search)
        page.route("**/thumb?*", self.thumbnail)
        page.route("**/picture", self.thumbnail)
        page.route(re.compile(r"/api/photos/[0-9a-f]{32}$"), self.document)
        page.route("**/similar?*", lambda route: route.fulfill(json={"hits": []}))

    def search(self, route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        offset = int(asked["offset"][0])
        assert asked["limit"] == [str(BLOCK)]
        self.asked.append(offset // BLOCK)
        if offset // BLOCK in self.held:
            self.waiting.append((offset, route))
        else:
            self.answer(offset, route)

    def answer(self, offset: int, route: Route) -> None:
        hits = [hit(place) for place in range(offset, min(offset + BLOCK, self.total))]
        found = {
            "query": "",
            "conditions": [],
            "model": "starter",
            "total": self.total,
            "collapsed": 0,
            "left_out": 5,
            "took_ms": 1.0,
        }
        route.fulfill(json={**found, "hits": hits, "listing": "7b" * 8 if offset < 10_000 else None})

    def release(self) -> None:
        self.held.clear()
        for offset, route in self.waiting:
            self.answer(offset, route)
        self.waiting.clear()

    def thumbnail(self, route: Route) -> None:
        self.thumbnails += 1
        route.fulfill(body=self.picture, content_type="image/webp")

    def document(self, route: Route) -> None:
        identity = route.request.url.rsplit("/", 1)[1]
        caption = f"Photo {int(identity, 16)}"
        route.fulfill(json={**self.photo, "id": identity, "caption": caption, "paths": [f"/photos/{caption}.jpg"]})


@pytest.fixture
def library(page: Page, address: str) -> Library:
    return Library(page, address)


def tile(page: Page, place: int) -> Locator:
    return page.locator(f'[data-id="{photo_id(place)}"]')


def rows(page: Page) -> list[list[dict[str, float]]]:
    """The tiles that are in the page, by rows: the place of each, and where it is."""
    found = page.locator(".tile").evaluate_all(
        """all => all.map(each => {
          const { left, right, top, height } = each.getBoundingClientRect();
          return { place: parseInt(each.dataset.id, 16), left, right, top, height };
        })"""
    )
    by_top: dict[float, list[dict[str, float]]] = {}
    for each in found:
        by_top.setdefault(each["top"], []).append(each)
    return [by_top[top] for top in sorted(by_top)]


def scroll_to_part(page: Page, part: float) -> None:
    page.evaluate("part => scrollTo(0, part * document.documentElement.scrollHeight)", part)


def settled(page: Page) -> None:
    """All that is seen is there, and nothing is scrolled any more."""
    expect(page.locator(".blank")).to_have_count(0)
    expect(page.locator(".tile.shown").first).to_be_attached()
    page.wait_for_timeout(200)


def top_of(page: Page, place: int) -> float:
    return float(tile(page, place).evaluate("each => each.getBoundingClientRect().top"))


@pytest.mark.parametrize("part", [0, 0.5, 1])
def test_only_what_is_near_is_in_the_page_and_it_is_the_right_photos_in_full_rows(
    page: Page, address: str, library: Library, part: float
) -> None:
    page.goto(address)
    settled(page)
    scroll_to_part(page, part)
    settled(page)
    assert page.locator("*").count() < 700
    assert len(library.asked) < 8
    assert library.thumbnails < 150
    seen = rows(page)
    places = [int(each["place"]) for row in seen for each in row]
    assert places == list(range(places[0], places[-1] + 1))
    assert abs(places[len(places) // 2] - part * TOTAL) < 0.05 * TOTAL
    item = page.get_by_role("listitem").filter(has=tile(page, places[3]))
    expect(item).to_have_attribute("aria-posinset", str(places[3] + 1))
    expect(item).to_have_attribute("aria-setsize", str(TOTAL))
    expect(tile(page, places[3]).locator("img")).to_have_attribute("alt", hit(places[3])["caption"].strip())
    box = page.locator("#grid").bounding_box()
    assert box is not None
    for row in seen[:-1] if part == 1 else seen:
        assert row[0]["left"] == pytest.approx(box["x"], abs=1)
        assert row[-1]["right"] == pytest.approx(box["x"] + box["width"], abs=1)
        assert 115 < row[0]["height"] < 400
    if part == 1:
        expect(page.get_by_role("button", name="Show photos that fit less")).to_be_in_viewport()


def test_nothing_moves_when_what_lies_above_comes_later(page: Page, address: str, library: Library) -> None:
    page.goto(address)
    settled(page)
    scroll_to_part(page, 0.5)
    settled(page)
    first = min(int(each["place"]) for row in rows(page) for each in row)
    library.held = {first // BLOCK - 2, first // BLOCK - 1}
    page.mouse.move(600, 400)
    for _ in range(100):
        page.mouse.wheel(0, -400)
        page.wait_for_timeout(20)
        if library.waiting:
            break
    page.wait_for_timeout(200)
    looked_at = next(int(row[0]["place"]) for row in rows(page) if row[0]["top"] > 100)
    before, height = top_of(page, looked_at), page.evaluate("document.documentElement.scrollHeight")
    library.release()
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollHeight") != height
    assert top_of(page, looked_at) == pytest.approx(before, abs=1)


def test_another_width_lays_all_out_anew_around_the_photo_at_the_top(
    page: Page, address: str, library: Library
) -> None:
    page.goto(address)
    settled(page)
    scroll_to_part(page, 0.3)
    settled(page)
    at_top = next(row[0] for row in rows(page) if row[0]["top"] + row[0]["height"] > 90)
    page.set_viewport_size({"width": 700, "height": 800})
    settled(page)
    assert top_of(page, int(at_top["place"])) == pytest.approx(at_top["top"], abs=120)  # another size, the same place
    assert all(row[-1]["right"] < 700 for row in rows(page))


def test_the_keyboard_goes_from_photo_to_photo_and_to_both_ends(page: Page, address: str, library: Library) -> None:
    page.goto(address)
    settled(page)
    page.locator("#count").click()  # from there the next stop is in the bar, and then comes the grid
    for _ in range(5):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className").startswith("tile"):
            break
    expect(tile(page, 0)).to_be_focused()
    assert page.locator('.tile[tabindex="0"]').count() == 1
    page.keyboard.press("ArrowRight")
    expect(tile(page, 1)).to_be_focused()
    below = rows(page)[1]
    page.keyboard.press("ArrowDown")
    centre = tile(page, 1).evaluate(
        "each => (each.getBoundingClientRect().left + each.getBoundingClientRect().right) / 2"
    )
    nearest = min(below, key=lambda each: abs((each["left"] + each["right"]) / 2 - centre))
    expect(tile(page, int(nearest["place"]))).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(tile(page, 1)).to_be_focused()
    page.keyboard.press("End")
    expect(tile(page, TOTAL - 1)).to_be_focused()
    expect(tile(page, TOTAL - 1)).to_be_in_viewport()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("heading", name="Photo 99998")).to_be_visible()
    page.keyboard.press("Escape")
    expect(tile(page, TOTAL - 2)).to_be_focused()
    page.keyboard.press("Home")
    expect(tile(page, 0)).to_be_focused()
    expect(tile(page, 0)).to_be_in_viewport()


def test_arrows_down_go_beyond_the_block_and_keep_the_focus_in_sight(
    page: Page, address: str, library: Library
) -> None:
    page.goto(address)
    settled(page)
    tile(page, 0).focus()
    for _ in range(34):
        page.keyboard.press("ArrowDown")
        page.wait_for_timeout(15)
    focused = page.locator(".tile:focus")
    expect(focused).to_be_in_viewport(ratio=1)
    assert int(str(focused.get_attribute("data-id")), 16) > BLOCK


def test_the_viewer_goes_on_beyond_what_is_loaded_and_the_focus_follows(
    page: Page, address: str, library: Library
) -> None:
    library.held = {1}
    page.goto(address)
    settled(page)
    tile(page, 0).focus()
    page.mouse.move(600, 400)
    for _ in range(100):
        page.mouse.wheel(0, 300)
        page.wait_for_timeout(10)
        if page.locator(".blank").count():
            break
    tile(page, 98).click()
    viewer = page.get_by_role("dialog")
    page.keyboard.press("ArrowRight")
    expect(viewer.get_by_role("heading", name="Photo 99")).to_be_visible()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    expect(viewer.get_by_role("heading", name="Photo 99")).to_be_visible()
    library.release()
    expect(viewer.get_by_role("heading", name="Photo 100")).to_be_visible()
    for place in range(101, 122):
        page.keyboard.press("ArrowRight")
        expect(page).to_have_url(re.compile(f"photo={photo_id(place)}"))
    page.keyboard.press("Escape")
    expect(tile(page, 121)).to_be_focused()
    expect(tile(page, 121)).to_be_in_viewport()


def test_back_and_reload_lead_to_where_one_was(page: Page, address: str, library: Library) -> None:
    page.goto(address)
    settled(page)
    scroll_to_part(page, 0.7)
    settled(page)
    at = next(row[0] for row in rows(page) if row[0]["top"] > 90)
    place = int(at["place"])
    page.locator("#q").fill("dog")
    expect(page).to_have_url(re.compile("q=dog"))
    expect(tile(page, 0)).to_be_in_viewport()  # another search begins at its top
    page.go_back()
    expect(tile(page, place)).to_be_in_viewport()
    settled(page)
    assert top_of(page, place) == pytest.approx(at["top"], abs=2)
    page.reload()
    expect(tile(page, place)).to_be_in_viewport()
    settled(page)
    assert top_of(page, place) == pytest.approx(at["top"], abs=2)


def test_a_blur_and_the_date_stand_there_before_the_thumbnail(page: Page, address: str, library: Library) -> None:
    page.route("**/thumb?*", lambda route: None)  # for ever on its way
    page.goto(address)
    expect(tile(page, 0).locator("time")).to_have_text("May 14, 2023")
    expect(tile(page, 1).locator("time")).to_have_count(0)
    expect(tile(page, 1).locator("img")).to_have_attribute("alt", HOSTILE)
    expect(tile(page, 1).locator(".words")).to_have_text(HOSTILE)
    expect(tile(page, 2).locator(".more")).to_have_text("+1")
    assert page.locator(".tile.shown").count() == 0
    top, middle, bottom = (
        tile(page, 0)
        .locator("canvas")
        .evaluate(
            """canvas => [0, 0.5, 0.99].map(part => [...canvas.getContext("2d").getImageData(
          canvas.width / 2, Math.floor(part * canvas.height), 1, 1).data])"""
        )
    )
    assert top[0] > 200 and middle[1] > 150 and bottom[2] > 200
    assert max(top[1:3]) < 60 and max(bottom[:2]) < 60


def test_the_thumbnail_is_chosen_by_how_many_pixels_it_is_shown_in(page: Page, address: str, library: Library) -> None:
    page.goto(address)
    settled(page)
    panorama = next(place for place in range(BLOCK) if hit(place)["width"] == 1200)
    source, sizes = tile(page, panorama).locator("img").evaluate("each => [each.srcset, each.sizes]")
    small, medium = source.split(", ")
    assert re.fullmatch(rf"/api/photos/{photo_id(panorama)}/thumb\?size=small 320w", small)
    assert re.fullmatch(rf"/api/photos/{photo_id(panorama)}/thumb\?size=medium 640w", medium)
    height = tile(page, panorama).evaluate("each => each.offsetHeight")
    assert int(sizes.removesuffix("px")) == pytest.approx(4 * height / 1.15, abs=2)  # cropped at its sides


def test_who_drags_the_scroll_bar_asks_only_for_where_it_stops(page: Page, address: str, library: Library) -> None:
    page.goto(address)
    settled(page)
    asked, thumbnails = len(library.asked), library.thumbnails
    page.evaluate(
        """() => new Promise(done => {
          let step = 0;
          const move = () => {
            scrollTo(0, (step / 40) * document.documentElement.scrollHeight * 0.9);
            if (step++ < 40) requestAnimationFrame(move); else done();
          };
          move();
        })"""
    )
    settled(page)
    assert len(library.asked) - asked < 12
    assert library.thumbnails - thumbnails < 200


def test_a_block_that_does_not_come_is_said_and_asked_for_again(refused_page: Page, address: str) -> None:
    page = refused_page
    library = Library(page, address)
    page.goto(address)
    settled(page)
    page.route(
        "**/api/search?*offset=*",
        lambda route: route.fulfill(status=503, json={"detail": "Too much is asked at once; try again."}),
    )
    scroll_to_part(page, 0.5)
    expect(page.get_by_role("alert")).to_contain_text("Too much is asked at once")
    expect(page.get_by_role("alert")).to_be_in_viewport()
    page.unroute("**/api/search?*offset=*")
    page.get_by_role("button", name="Try again").click()
    settled(page)
    expect(page.get_by_role("alert")).not_to_be_visible()
    assert max(library.asked) > 300


def test_more_hits_than_were_said_are_reached_too(page: Page, address: str, library: Library) -> None:
    library.total = 130
    page.goto(address)
    settled(page)
    library.total = 260
    for _ in range(3):
        page.locator("#end").scroll_into_view_if_needed()
        settled(page)
    expect(tile(page, 259)).to_be_in_viewport()
    expect(page.get_by_role("listitem").filter(has=tile(page, 259))).to_have_attribute("aria-setsize", "260")


JUSTIFY = """async cases => {
  const { justify } = await import("/static/js/grid/justify.js");
  return cases.map(([ratios, shape]) => justify(ratios, shape));
}"""


def test_rows_are_full_and_near_the_wished_height_whatever_the_photos(page: Page, address: str) -> None:
    page.goto(address)
    shapes = [(358, 110, 6), (1198, 230, 10), (2104, 230, 10)]
    mixtures = [[1.5], [0.56], [2.4], [1.5, 0.67], [2.4, 0.56, 1.33, 1.0, 1.78]]
    cases = [
        [[mixture[i * i % len(mixture)] for i in range(BLOCK)], {"width": width, "height": height, "gap": gap}]
        for width, height, gap in shapes
        for mixture in mixtures
    ]
    for (ratios, shape), laid in zip(cases, page.evaluate(JUSTIFY, json.loads(json.dumps(cases))), strict=True):
        assert [box["row"] for box in laid["boxes"]] == sorted(box["row"] for box in laid["boxes"])
        assert len(laid["boxes"]) == len(ratios) == laid["rows"][-1]["to"]
        for row in laid["rows"]:
            last = laid["boxes"][row["to"] - 1]
            assert last["left"] + last["width"] == shape["width"]
            assert 0.6 < row["height"] / shape["height"] < 1.6
            for place in range(row["from"], row["to"]):
                assert laid["boxes"][place]["width"] == pytest.approx(ratios[place] * row["height"], abs=4)
    one, few = page.evaluate(
        JUSTIFY,
        [
            [[1.5], {"width": 1198, "height": 230, "gap": 10}],
            [[1.5] * 6, {"width": 1198, "height": 230, "gap": 10, "ends": True}],
        ],
    )
    assert one["rows"][0]["height"] == 230  # never as wide as the page
    assert [row["height"] for row in few["rows"]][-1] == 230
