"""One photo, large: how it is zoomed, what can be copied, and where it leads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect

_BOX = "document.querySelector('.photo').getBoundingClientRect().toJSON()"
_TOUCH = """([kind, ...points]) => {
  const view = document.querySelector(".pane");
  for (const [id, x, y] of points) {
    const options = { pointerId: id, pointerType: "touch", clientX: x, clientY: y, button: 0, bubbles: true };
    view.dispatchEvent(new PointerEvent(`pointer${kind}`, options));
  }
}"""


def box(page: Page) -> dict[str, float]:
    return page.evaluate(_BOX)  # type: ignore[no-any-return]


def settled(page: Page) -> dict[str, float]:
    """Where the photo is, once it has come to rest."""
    page.wait_for_timeout(300)
    return box(page)


def opened(page: Page, address: str, name: str = "rocket.jpg", query: str = "") -> None:
    page.goto(address + query)
    page.get_by_role("link", name=name).first.click()
    expect(page.locator(".facts")).to_be_visible()
    page.locator(".photo img").first.evaluate("image => image.decode()")


def make_larger(page: Page) -> Page:
    """Say of every photo that it is ten times as large as it is, so that its thumbnail has too few pixels."""

    def enlarge(route: Route) -> None:
        response = route.fetch()
        found = response.json()
        for photo in found.get("hits", [found]):
            photo |= {"width": 10 * photo["width"], "height": 10 * photo["height"]}
        route.fulfill(response=response, json=found)

    page.route(re.compile(r"/api/(search\?|photos/[0-9a-f]{32}$)"), enlarge)
    return page


def test_a_small_photo_fills_the_room_there_is_and_is_centred(page: Page, address: str) -> None:
    opened(page, address)
    stage, photo = page.locator(".stage").bounding_box(), box(page)
    assert stage is not None
    assert photo["width"] > 640  # its own
    assert abs(photo["width"] / photo["height"] - 640 / 427) < 0.01
    assert photo["x"] + photo["width"] / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=1)
    assert photo["y"] + photo["height"] / 2 == pytest.approx(stage["y"] + stage["height"] / 2, abs=1)


def test_the_wheel_zooms_at_the_pointer_dragging_moves_and_a_key_ends_it(page: Page, address: str) -> None:
    opened(page, address)
    before = box(page)
    x, y = before["x"] + 0.4 * before["width"], before["y"] + 0.6 * before["height"]
    page.mouse.move(x, y)
    for _ in range(8):
        page.mouse.wheel(0, -200)
    after = settled(page)
    assert after["width"] > 3 * before["width"]
    page.mouse.wheel(0, -300)
    further = settled(page)
    for start, length, at in (("x", "width", x), ("y", "height", y)):
        point = (at - after[start]) / after[length]
        assert (at - further[start]) / further[length] == pytest.approx(point, abs=0.002)
    page.mouse.down()
    page.mouse.move(x - 50, y + 20, steps=3)
    page.mouse.up()
    moved = settled(page)
    assert moved["x"] - further["x"] == pytest.approx(-50, abs=1)
    assert moved["y"] - further["y"] == pytest.approx(20, abs=1)
    page.keyboard.press("0")
    assert settled(page) == pytest.approx(before, abs=0.5)


def test_keys_and_buttons_zoom_and_arrows_then_move_the_photo(page: Page, address: str) -> None:
    opened(page, address, query="?q=a+rocket&all=1")
    first = page.url
    before = box(page)
    for _ in range(3):
        page.keyboard.press("+")
    after = settled(page)
    assert after["width"] == pytest.approx(1.5**3 * before["width"], rel=0.01)
    page.keyboard.press("ArrowRight")
    assert settled(page)["x"] < after["x"]
    assert page.url == first
    page.get_by_role("button", name="Zoom out").click()
    assert settled(page)["width"] < after["width"]
    page.get_by_role("button", name="Fit to the window").click()
    assert settled(page) == pytest.approx(before, abs=0.5)
    page.get_by_role("button", name="Zoom in").click()
    expect(page.locator(".zoomed")).to_have_count(1)
    page.get_by_role("button", name="Next photo").click()
    expect(page).not_to_have_url(first)
    expect(page.locator(".zoomed")).to_have_count(0)
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(first)


def test_a_double_click_goes_in_and_out_and_the_map_keeps_to_the_photo(page: Page, address: str) -> None:
    opened(page, address, query="?q=a+rocket")
    before = box(page)
    page.keyboard.press("w")
    expect(page.locator(".photo canvas")).to_have_count(1)
    middle = (before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    page.mouse.dblclick(*middle)
    after = settled(page)
    assert after["width"] > 1.5 * before["width"]
    canvas = page.locator(".photo canvas").bounding_box()
    assert canvas is not None
    assert {**canvas} == pytest.approx({key: after[key] for key in canvas}, abs=1)
    page.mouse.dblclick(*middle)
    assert settled(page)["width"] == pytest.approx(before["width"], abs=1)


def test_the_full_picture_is_asked_for_only_when_zoom_needs_it_and_moves_nothing(page: Page, address: str) -> None:
    make_larger(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.url.endswith("/picture") else None)
    opened(page, address)
    page.wait_for_timeout(300)
    assert asked == []
    page.keyboard.press("+")
    page.keyboard.press("+")
    before = settled(page)
    expect(page.locator(".photo .whole")).to_have_count(1)
    assert settled(page) == before
    whole, photo = page.locator(".photo .whole").bounding_box(), page.locator(".photo img").first.bounding_box()
    assert whole == photo and len(asked) == 1


def test_two_fingers_zoom_and_one_goes_on(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}?q=a+rocket&all=1")
    page.locator(".tile").first.click()
    expect(page.locator(".facts")).to_be_visible()
    page.evaluate("Element.prototype.setPointerCapture = () => {}")  # of fingers that are none
    first, before = page.url, box(page)
    y = before["y"] + before["height"] / 2
    page.evaluate(_TOUCH, ["down", [1, 150, y], [2, 250, y]])
    page.evaluate(_TOUCH, ["move", [1, 50, y], [2, 350, y]])
    page.evaluate(_TOUCH, ["up", [1, 50, y], [2, 350, y]])
    after = settled(page)
    assert after["width"] == pytest.approx(3 * before["width"], rel=0.05)
    stage = page.locator(".stage").bounding_box()
    assert stage is not None and stage["height"] == 844  # all of the screen
    page.get_by_role("button", name="Fit to the window").click()
    assert settled(page) == pytest.approx(before, abs=1)
    page.evaluate(_TOUCH, ["down", [1, 300, y]])
    page.evaluate(_TOUCH, ["move", [1, 180, y + 10]])
    page.evaluate(_TOUCH, ["up", [1, 180, y + 10]])
    expect(page).not_to_have_url(first)


@pytest.mark.parametrize("clipboard", [True, False])
def test_the_path_is_copied_also_where_there_is_no_clipboard(
    page: Page, address: str, photos: Any, clipboard: bool
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    if not clipboard:
        page.add_init_script("Object.defineProperty(Navigator.prototype, 'clipboard', { value: undefined })")
    opened(page, address)
    button = page.get_by_role("button", name="Copy the path")
    button.click()
    expect(page.locator("#viewer > .unseen")).to_have_text("Copied")
    if clipboard:
        assert page.evaluate("navigator.clipboard.readText()") == str(photos / "rocket.jpg")
    else:
        expect(button).to_be_focused()
        page.keyboard.press("Escape")
        page.locator("#q").fill("")
        page.locator("#q").press("Control+v")
        expect(page.locator("#q")).to_have_value(str(photos / "rocket.jpg"))


def test_a_place_has_a_link_to_a_map_and_asks_nothing_of_it(page: Page, address: str) -> None:
    def place(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json={**response.json(), "latitude": -33.8568, "longitude": 151.2153})

    page.route(re.compile(r"/api/photos/[0-9a-f]{32}$"), place)
    opened(page, address)
    link = page.get_by_role("link", name="Show on a map")
    expect(link).to_have_attribute(
        "href", "https://www.openstreetmap.org/?mlat=-33.856800&mlon=151.215300#map=16/-33.856800/151.215300"
    )
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(link).to_have_attribute("target", "_blank")


def test_photos_like_it_stand_in_a_strip_and_back_leads_back(page: Page, address: str) -> None:
    opened(page, address, name="coffee.png", query="?q=coffee")
    first = page.url
    strip = page.locator(".alike button")
    expect(strip).to_have_count(10)
    strip.first.click()
    expect(page).not_to_have_url(first)
    expect(page.locator(".alike button")).to_have_count(10)
    page.go_back()
    expect(page).to_have_url(first)
    page.locator(".alike button").last.click()
    expect(page).not_to_have_url(first)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(page).to_have_url(f"{address}?q=coffee")
    expect(page.get_by_role("link", name="coffee.png")).to_be_focused()


def test_whoever_goes_on_by_a_button_stays_on_it(page: Page, address: str) -> None:
    opened(page, address, name="coffee.png", query="?q=coffee&all=1")
    first = page.url
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.get_by_role("button", name="Next photo").focus()
    for _ in range(2):
        before = page.url
        page.keyboard.press("Enter")
        expect(page).not_to_have_url(before)
        expect(page.get_by_role("button", name="Next photo")).to_be_focused()
    for name in ("Where?", "Part", "Zoom in"):
        before = page.url
        page.locator(".stage").get_by_role("button", name=name).focus()
        page.keyboard.press("ArrowLeft" if before != first else "ArrowRight")
        expect(page).not_to_have_url(before)
        expect(page.locator(".stage").get_by_role("button", name=name)).to_be_focused()


def test_a_photo_that_did_not_come_comes_once_the_server_is_back(refused_page: Page, address: str) -> None:
    page = refused_page
    page.goto(address)
    expect(page.locator(".tile.shown")).to_have_count(11)
    page.route("**/api/**", lambda route: route.abort())
    page.get_by_role("link", name="rocket.jpg").click()
    expect(page.locator(".about > .notice")).to_contain_text("The server does not answer")
    expect(page.locator(".failed")).to_contain_text("The server does not answer")  # not that the file is gone
    page.unroute("**/api/**")
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator(".facts")).to_be_visible()
    expect(page.locator(".photo img")).to_be_visible()
    expect(page.locator(".about > .notice")).to_have_count(0)


def test_the_keys_and_the_wheel_wait_for_a_photo_whose_size_is_not_known(page: Page, address: str) -> None:
    opened(page, address)
    shared = page.url
    held: list[Route] = []
    page.route(re.compile(r"/api/(search|photos)"), lambda route: held.append(route))
    page.goto(shared, wait_until="commit")
    expect(page.locator(".stage")).to_be_visible()
    for key in "+-0":
        page.keyboard.press(key)
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -200)
    page.mouse.dblclick(400, 400)
    for route in held:
        route.continue_()
    page.unroute_all()
    expect(page.locator(".facts")).to_be_visible()
    expect(page.locator(".photo img")).to_be_visible()


def test_the_hits_come_to_a_shared_photo_without_disturbing_what_is_done_with_it(page: Page, address: str) -> None:
    opened(page, address, query="?q=a+rocket&all=1")
    shared = page.url
    held: list[Route] = []
    page.route("**/api/search?*", lambda route: held.append(route))
    page.goto(shared)
    expect(page.locator(".facts")).to_be_visible()
    expect(page.locator(".reasons, .where, .next:enabled")).to_have_count(0)
    page.get_by_role("button", name="Write a caption").click()
    page.locator(".caption textarea").fill("Half a sent")
    page.get_by_role("button", name="Part").click()
    for route in held:
        route.continue_()
    page.unroute_all()
    expect(page.locator(".reasons")).to_be_visible()
    expect(page.locator(".where, .next:enabled")).to_have_count(2)
    expect(page.locator(".drawing")).to_be_focused()
    expect(page.locator(".caption textarea")).to_have_value("Half a sent")


def test_a_full_picture_that_fails_is_explained_and_asked_for_again(refused_page: Page, address: str) -> None:
    page = make_larger(refused_page)
    page.route("**/picture", lambda route: route.fulfill(status=404, json={"detail": "It is gone."}))
    opened(page, address)
    page.keyboard.press("+")
    page.keyboard.press("+")
    expect(page.locator(".lack")).to_have_text("The photo cannot be shown any larger; its file may be gone.")
    page.unroute("**/picture")
    page.wait_for_timeout(2100)  # it is not asked for with every step
    page.keyboard.press("+")
    expect(page.locator(".photo .whole")).to_have_count(1)
    expect(page.locator(".lack")).to_have_text("")
