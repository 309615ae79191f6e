"""The library without a query: by date, with the index beside it, its runs, what failed and which models there are."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import index, serving
from PIL import Image
from support import picture

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

expect = pytest.importorskip("playwright.sync_api").expect


def dated(path: Path, when: str, seed: int) -> None:
    picture(path, seed)
    with Image.open(path) as opened:
        opened.load()
    exif = Image.Exif()
    exif[0x0132] = when
    opened.save(path, exif=exif)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def library(folder: Path) -> Iterator[str]:
    """The address of an index of seven photos of three years, one without a date, and a file that is none."""
    photos = folder / "photos"
    photos.mkdir()
    days = ("2008:05:02", "2017:07:01", "2017:07:02", "2017:07:30", "2017:12:24", "2023:01:01")
    for seed, day in enumerate(days):
        dated(photos / f"{seed}.jpg", f"{day} 12:00:00", seed)
    picture(photos / "undated.jpg", 50)
    (photos / "<img src=x onerror=alert(1)>.jpg").write_bytes(b"no picture")
    index(folder / "home", photos)
    with serving(folder / "home") as address:
        yield address


def test_the_way_there_and_back_stands_in_the_address(page: Page, address: str) -> None:
    page.goto(f"{address}?q=motorcycle")
    expect(page.locator(".tile").first).to_be_visible()
    way = page.get_by_role("link", name="Library")
    way.click()
    expect(page).to_have_url(re.compile(r"/\?view=library$"))
    expect(page.get_by_role("heading", name="Library", level=1)).to_be_focused()
    expect(page).to_have_title("Library – Sightline")
    expect(way).to_have_attribute("aria-current", "page")
    expect(page.locator("#grid")).to_be_hidden()
    expect(page.locator("#q")).to_have_value("")
    page.reload()
    expect(page.get_by_role("heading", name="Library", level=1)).to_be_visible()
    page.go_back()
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
    expect(page).to_have_title("motorcycle – Sightline")
    expect(way).not_to_have_attribute("aria-current", "page")
    page.go_forward()
    expect(page.get_by_role("heading", name="Library", level=1)).to_be_visible()
    page.locator("#q").press_sequentially("coffee")
    expect(page).to_have_url(re.compile(r"/\?q=coffee$"))
    expect(page.locator("#view")).to_be_hidden()
    expect(page.locator(".tile img").first).to_have_attribute("alt", "coffee.png")


def test_years_and_months_are_counted_and_lead_to_their_photos(page: Page, library: str) -> None:
    page.goto(f"{library}?view=library")
    expect(page.locator("#library-total")).to_have_text("7 photos, 2008 – 2023")
    expect(page.locator(".dated h2 a")).to_have_text(["2023", "2017", "2008", "Without a date"])
    month = page.get_by_role("link", name="July 2017, 3 photos")
    expect(month.locator("img")).to_have_count(3)
    expect(page.get_by_role("link", name="December 2017, 1 photo")).to_be_visible()
    month.click()
    expect(page.locator("#q")).to_have_value("on:2017-07")
    expect(page.locator(".tile")).to_have_count(3)
    page.go_back()
    page.get_by_role("link", name="Without a date, 1 photo").click()
    expect(page.locator(".tile img")).to_have_attribute("alt", "undated.jpg")
    expect(page.locator(".condition")).to_have_text("Without a date")


def test_one_comes_back_to_the_month_that_one_left(page: Page, library: str) -> None:
    page.set_viewport_size({"width": 390, "height": 600})
    page.goto(f"{library}?view=library")
    month = page.get_by_role("link", name="May 2008, 1 photo")
    month.scroll_into_view_if_needed()
    expect(month.locator("img")).to_have_count(1)
    top = page.evaluate("scrollY")
    assert top > 300
    month.click()
    expect(page.locator(".tile")).to_have_count(1)
    page.go_back()
    expect(month).to_be_in_viewport()
    expect(month).to_be_focused()
    assert abs(page.evaluate("scrollY") - top) < 60
    page.reload()
    expect(month).to_be_in_viewport()


def test_what_could_not_be_read_is_said_as_text(page: Page, library: str) -> None:
    page.goto(library)
    page.locator("#state").get_by_role("link", name="1 could not be read").click()
    page.get_by_role("heading", name="1 could not be read").click()
    expect(page.locator(".index")).to_contain_text("<img src=x onerror=alert(1)>.jpg")
    assert page.locator("img[src=x]").count() == 0
    expect(page.locator(".index")).to_contain_text("7 photos · 1 unreadable")


def test_a_run_shows_its_progress_and_what_it_did(page: Page, library: str, folder: Path) -> None:
    page.goto(f"{library}?view=library")
    expect(page.get_by_role("link", name="January 2023, 1 photo")).to_be_visible()
    dated(folder / "photos" / "later.jpg", "2023:01:05 12:00:00", 77)
    page.get_by_role("button", name="Re-index").click()
    expect(page.get_by_role("progressbar", name="Indexing")).to_be_visible()
    expect(page.locator(".job")).to_contain_text("1 added")
    expect(page.get_by_role("button", name="Re-index")).to_be_focused()
    expect(page.get_by_role("link", name="January 2023, 2 photos")).to_be_visible()
    expect(page.locator("#library-total")).to_contain_text("8 photos")
    page.get_by_role("heading", name="Runs").click()
    expect(page.locator("details[open] .plain").filter(has_text="took")).to_contain_text("Done · 1 added")


def test_a_run_that_somebody_else_has_started_is_explained(refused_page: Page, library: str) -> None:
    def busy(route: Route) -> None:
        if route.request.method != "POST":
            return route.fallback()
        problem = {"title": "Conflict", "status": 409, "detail": "Job 7 is at work already."}
        route.fulfill(status=409, json=problem, content_type="application/problem+json")
        return None

    refused_page.route("**/api/jobs", busy)
    refused_page.goto(f"{library}?view=library")
    refused_page.get_by_role("button", name="Re-index").click()
    expect(refused_page.get_by_role("alert")).to_have_text("Job 7 is at work already.")


def test_each_model_says_what_it_costs_and_how_to_change_to_it(page: Page, library: str) -> None:
    page.goto(f"{library}?view=library")
    page.get_by_role("heading", name="Models").click()
    models = page.locator(".plain > li", has=page.locator("strong"))
    expect(models.filter(has_text="starter")).to_contain_text("in use")
    better = models.filter(has=page.get_by_text("balanced", exact=True))
    expect(better).to_contain_text(re.compile(r"\d photos to embed .* to download"))
    expect(better.locator("code")).to_have_text("sightline index --model balanced")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    better.get_by_role("button", name="Copy the command for balanced").click()
    expect(page.get_by_role("status").filter(has_text="Copied")).to_have_count(1)
    assert page.evaluate("navigator.clipboard.readText()") == "sightline index --model balanced"


def test_without_events_the_page_still_hears_of_changes(refused_page: Page, photos: Path, tmp_path: Path) -> None:
    refused_page.route("**/api/events", lambda route: route.fulfill(status=503, body="{}"))
    home = tmp_path / "home"
    (tmp_path / "photos").mkdir()
    with serving(home) as address:
        refused_page.goto(address)
        expect(refused_page.get_by_role("heading", name="No photos are indexed yet")).to_be_visible()
        shutil.copy(photos / "coffee.png", tmp_path / "photos")
        index(home, tmp_path / "photos")
        expect(refused_page.locator(".tile")).to_have_count(1)
        expect(refused_page.locator("#state")).to_contain_text("model: starter")


def test_nobody_listens_while_the_tab_is_hidden(page: Page, address: str) -> None:
    page.add_init_script(
        """window.streams = []; window.EventSource = class extends EventSource {
          constructor(...all) { super(...all); window.streams.push(this); }
        };
        window.hide = (hidden) => {
          Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
          document.dispatchEvent(new Event("visibilitychange"));
        };"""
    )
    page.goto(address)
    expect(page.locator("#state")).to_contain_text("11 photos")
    states = "window.streams.map((each) => each.readyState === EventSource.CLOSED)"
    assert page.evaluate(states) == [False]
    page.evaluate("hide(true)")
    assert page.evaluate(states) == [True]
    page.evaluate("hide(false)")
    assert page.evaluate(states) == [True, False]


def busy(route: Route) -> None:
    problem = {"title": "Service Unavailable", "status": 503, "detail": "Too much is asked at once."}
    route.fulfill(status=503, json=problem, content_type="application/problem+json")


def test_a_busy_server_is_asked_again(timed_page: Page, library: str) -> None:
    page = timed_page
    page.clock.install()
    page.route("**/api/search?*", busy)
    page.goto(f"{library}?view=library")
    expect(page.locator(".overview").get_by_role("alert")).to_have_text("Too much is asked at once.")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.route(re.compile(r"/api/search\?.*q="), busy)
    undated = page.get_by_role("link", name="Without a date, 1 photo")
    with page.expect_response(lambda response: "q=" in response.url):
        page.unroute("**/api/search?*")
        page.clock.fast_forward(6000)  # it tries again by itself
    expect(undated).to_be_visible()
    expect(undated.locator("img")).to_have_count(0)
    page.unroute_all()
    page.clock.fast_forward(6000)
    expect(undated.locator("img")).to_have_count(1)
    expect(page.get_by_role("link", name="July 2017, 3 photos").locator("img")).to_have_count(3)


def test_a_list_of_failures_that_broke_goes_on(refused_page: Page, library: str) -> None:
    page = refused_page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.route("**/api/failures?*", busy)
    page.goto(f"{library}?view=library")
    page.get_by_role("heading", name="1 could not be read").click()
    expect(page.locator("details[open] .wrong")).to_have_text("Too much is asked at once.")
    page.unroute("**/api/failures?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".index")).to_contain_text("<img src=x onerror=alert(1)>.jpg")
    expect(page.locator("details[open] .wrong")).to_have_text("")
    assert all(url.endswith("offset=0") for url in asked if "/api/failures" in url)


def test_without_an_index_it_says_what_to_type(refused_page: Page, tmp_path: Path) -> None:
    with serving(tmp_path / "home") as address:
        refused_page.goto(f"{address}?view=library")
        expect(refused_page.locator(".overview code")).to_have_text("sightline index ~/Pictures")
        expect(refused_page.get_by_role("button", name="Copy the command")).to_be_visible()
        expect(refused_page.get_by_role("button", name="Re-index")).to_be_hidden()
        expect(refused_page.locator(".card:visible h2")).to_have_text("Models")


def test_a_server_that_goes_and_comes_back(refused_page: Page, folder: Path, library: str) -> None:
    page = refused_page
    with serving(folder / "home") as address:
        page.goto(f"{address}?view=library")
        expect(page.get_by_role("link", name="July 2017, 3 photos")).to_be_visible()
    expect(page.locator("#state")).to_contain_text("The server does not answer")
    page.get_by_role("button", name="Re-index").click()
    expect(page.get_by_role("alert")).to_have_text("The server does not answer. Try again when it is back.")
    with serving(folder / "home", int(address.rsplit(":", 1)[1].strip("/"))):
        expect(page.locator("#state")).to_contain_text("model: starter")
        expect(page.get_by_role("alert")).to_have_count(0)
