"""Where in a photo something was seen, laid over it on the page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect

# Of the map: where it lies from the photo's own corner, in CSS pixels, how large it is beside it, and the red and the
# opacity of its weakest and its strongest pixel.
_LOOK = """() => {
  const canvas = document.querySelector(".photo canvas"), image = document.querySelector(".photo img");
  const place = canvas.getBoundingClientRect(), whole = image.getBoundingClientRect();
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const pixels = Array.from({ length: data.length / 4 }, (_, i) => ({ red: data[4 * i], alpha: data[4 * i + 3] }));
  pixels.sort((one, other) => one.red - other.red);
  return {
    left: place.left - whole.left, top: place.top - whole.top,
    width: place.width / whole.width, height: place.height / whole.height,
    weakest: pixels[0], strongest: pixels.at(-1),
  };
}"""


def look(page: Page) -> Any:
    page.wait_for_function("document.querySelector('.photo img').complete")
    return page.evaluate(_LOOK)


def test_a_button_lays_the_map_over_the_photo_and_takes_it_away(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+motorcycle")
    page.locator(".tile").first.click()
    button = page.get_by_role("button", name="Where?")
    expect(button).to_have_attribute("aria-pressed", "false")
    assert page.locator("#viewer canvas").count() == 0
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("img", name="Where “a motorcycle” was seen: strongest")).to_be_visible()
    expect(page.locator(".legend")).to_contain_text("Where “a motorcycle” was seen")
    seen = look(page)
    assert abs(seen["left"]) < 1 and abs(seen["top"]) < 1
    assert abs(seen["width"] - 1) < 0.01 and abs(seen["height"] - 1) < 0.01
    # Veiled where nothing is, warm where the most is.
    assert seen["weakest"]["red"] < 60 and seen["weakest"]["alpha"] > 150
    assert seen["strongest"]["red"] > 200 and seen["strongest"]["alpha"] < 120
    button.click()
    expect(page.locator("#viewer canvas")).to_have_count(0)
    expect(page.locator(".legend")).to_be_hidden()


def test_the_key_w_does_the_same_and_the_map_follows_from_photo_to_photo(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+motorcycle&all=1")
    page.locator(".tile").first.click()
    expect(page.get_by_role("button", name="Where?")).to_be_visible()
    page.keyboard.press("w")
    expect(page.locator("#viewer canvas")).to_have_count(1)
    with page.expect_response(re.compile("/why")) as answered:
        page.keyboard.press("ArrowRight")
    assert answered.value.ok
    expect(page.locator("#viewer canvas")).to_have_count(1)
    expect(page.get_by_role("button", name="Where?")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("w")
    expect(page.locator("#viewer canvas")).to_have_count(0)
    page.keyboard.press("w")
    expect(page.locator("#viewer canvas")).to_have_count(1)
    page.keyboard.press("Escape")
    page.locator(".tile").first.click()  # opened anew, the photo is shown as it is
    expect(page.get_by_role("button", name="Where?")).to_have_attribute("aria-pressed", "false")
    assert page.locator("#viewer canvas").count() == 0


def test_a_photo_without_the_thing_says_that_nothing_stands_out(page: Page, address: str) -> None:
    page.goto(f"{address}?q=a+football+player&all=1&mode=meaning")
    page.get_by_alt_text("coffee.png").click()
    page.keyboard.press("w")
    expect(page.locator(".legend")).to_have_text("No place in this photo stands out for “a football player”")


def test_where_no_words_were_asked_for_there_is_no_button(page: Page, address: str) -> None:
    page.goto(f"{address}?q=type:png")
    page.locator(".tile").first.click()
    expect(page.get_by_role("dialog").locator(".facts")).to_be_visible()
    expect(page.get_by_role("button", name="Where?")).to_have_count(0)
    page.get_by_role("button", name="More like this").click()
    expect(page.locator("#count")).to_contain_text("10 photos")  # all but itself
    page.locator(".tile").first.click()
    expect(page.locator(".why")).to_contain_text("Looks alike")
    expect(page.get_by_role("button", name="Where?")).to_have_count(0)
    page.keyboard.press("w")


def test_a_map_of_a_part_lies_over_that_part(page: Page, address: str) -> None:
    def crop(route: Route) -> None:
        response = route.fetch()
        area = {"left": 0.25, "top": -0.1, "width": 0.5, "height": 1.2}
        route.fulfill(response=response, json={**response.json(), "area": area})

    page.route("**/why?*", crop)
    page.goto(f"{address}?q=a+motorcycle")
    page.locator(".tile").first.click()
    page.keyboard.press("w")
    expect(page.locator("#viewer canvas")).to_have_count(1)
    seen, frame = look(page), page.locator(".photo").bounding_box()
    assert frame is not None
    assert abs(seen["left"] - 0.25 * frame["width"]) < 1.5 and abs(seen["top"] + 0.1 * frame["height"]) < 1.5
    assert abs(seen["width"] - 0.5) < 0.01 and abs(seen["height"] - 1.2) < 0.01


def test_what_goes_wrong_is_said_and_can_be_tried_again(refused_page: Page, address: str) -> None:
    sentence = "Too much is asked of this server at once; try again in a moment."
    refused_page.route("**/why?*", lambda route: route.fulfill(status=503, json={"detail": sentence}))
    refused_page.goto(f"{address}?q=a+motorcycle")
    refused_page.locator(".tile").first.click()
    refused_page.keyboard.press("w")
    expect(refused_page.get_by_role("alert")).to_have_text(sentence)
    assert refused_page.locator("#viewer canvas").count() == 0
    refused_page.unroute("**/why?*")
    refused_page.keyboard.press("w")
    refused_page.keyboard.press("w")
    expect(refused_page.locator("#viewer canvas")).to_have_count(1)


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_map_keeps_to_the_photo_at_every_width(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(f"{address}?q=a+motorcycle")
    page.locator(".tile").first.click()
    page.keyboard.press("w")
    expect(page.locator("#viewer canvas")).to_have_count(1)
    seen, box = look(page), page.locator(".photo").bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert abs(seen["width"] - 1) < 0.01 and abs(seen["height"] - 1) < 0.01
    assert page.evaluate("document.querySelector('.viewer').scrollWidth <= innerWidth")
