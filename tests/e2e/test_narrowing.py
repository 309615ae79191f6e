"""What the hits have in common, beside the grid: counted, and a click away from narrowing the search."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect


def test_a_value_narrows_the_search_and_gives_it_back(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Filters", exact=True).click()
    panel = page.get_by_role("complementary", name="Filters")
    jpeg = panel.get_by_role("button", name=re.compile("^jpeg"))
    count = int(re.findall(r"\d+", jpeg.inner_text())[-1])
    jpeg.click()
    expect(page.locator("#q")).to_have_value("type:jpeg")
    expect(page.locator("#count")).to_contain_text(f"{count} photos")
    expect(jpeg).to_have_attribute("aria-pressed", "true")
    expect(jpeg).to_be_focused()
    page.reload()
    expect(panel).to_be_visible()  # as it was left
    jpeg.click()
    expect(page.locator("#q")).to_have_value("")
    panel.get_by_role("button", name="Close").click()
    expect(panel).to_be_hidden()


def test_six_years_of_months_have_bars_that_can_be_seen(page: Page, address: str) -> None:
    def dated(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        if "facets" in answer:
            months = [f"{year}-{month:02}" for year in range(2019, 2025) for month in range(1, 13)]
            answer["facets"]["dates"] = {
                "unit": "month",
                "counts": [{"on": on, "photos": 3} for on in months],
                "undated": 0,
            }
        route.fulfill(response=response, json=answer)

    page.route("**/api/search?*", dated)
    page.goto(address)
    page.get_by_role("button", name="Filters", exact=True).click()
    expect(page.locator(".bars i")).to_have_count(72)
    widths = page.evaluate("[...document.querySelectorAll('.bars i')].map((bar) => bar.getBoundingClientRect().width)")
    assert min(widths) > 2
    page.unroute_all(behavior="wait")


def test_dates_are_brushed_typed_and_taken_back(page: Page, address: str) -> None:
    def dated(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        if "facets" in answer:
            counts = [{"on": on, "photos": photos} for on, photos in (("2020-11", 4), ("2021-02", 8))]
            answer["facets"]["dates"] = {"unit": "month", "counts": counts, "undated": 3}
        route.fulfill(response=response, json=answer)

    page.route("**/api/search?*", dated)
    page.goto(address)
    page.get_by_role("button", name="Filters", exact=True).click()
    bars = page.locator(".bars")
    expect(bars.locator("span")).to_have_count(4)  # the two months without a photo, too
    expect(page.locator(".histogram .said")).to_have_text("Nov 2020 – Feb 2021 · 12 photos")
    expect(page.locator("#filters")).to_contain_text("3 without a date")
    box = bars.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=3)
    page.mouse.up()
    expect(page.locator("#q")).to_have_value("after:2020-12 before:2021-02")
    expect(page.get_by_role("textbox", name="From")).to_have_value("2020-12-01")
    expect(page.get_by_role("textbox", name="To")).to_have_value("2021-01-31")
    page.get_by_role("textbox", name="To").fill("2021-03-15")
    expect(page.locator("#q")).to_have_value("after:2020-12 before:2021-03-16")
    page.get_by_role("textbox", name="From").fill("")
    expect(page.locator("#q")).to_have_value("before:2021-03-16")
    page.locator("#q").fill("on:2020-12")
    expect(page.get_by_role("textbox", name="To")).to_have_value("2020-12-31")
