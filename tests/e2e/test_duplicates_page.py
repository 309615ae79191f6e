"""Copies of photos on the page: in groups, the best first, compared, and told apart."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import index, serving, watched_page
from PIL import Image
from support import picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an index in which one photo lies in two files, and another was saved twice more."""
    folder = tmp_path_factory.mktemp("copies")
    photos = folder / "photos"
    photos.mkdir()
    for seed in range(8):
        picture(photos / f"{seed}.jpg", seed, size=(320, 240))
    shutil.copy(photos / "1.jpg", photos / "one again.jpg")
    with Image.open(photos / "2.jpg") as original:
        for quality in (80, 60):
            original.save(photos / f"two, quality {quality}.jpg", quality=quality)
        original.resize((640, 480)).save(photos / "two, large.jpg", quality=95)
    index(folder / "home", photos)
    with serving(folder / "home") as address:
        yield address


def test_exact_copies_are_one_photo_with_the_paths_of_all(page: Page, copies: str) -> None:
    page.goto(copies)
    page.get_by_role("link", name="Duplicates").click()
    expect(page.get_by_role("heading", name="Duplicates", level=1)).to_be_focused()
    tabs = page.get_by_role("navigation", name="Kind of copies").get_by_role("link")
    expect(tabs).to_have_text([re.compile("^Exact copies1 group, .* to reclaim"), re.compile("^Near copies1 group, ")])
    expect(tabs.first).to_have_attribute("aria-current", "page")
    group = page.locator(".group")
    expect(group).to_have_count(1)
    expect(group.locator(".face")).to_have_count(1)
    expect(group.locator(".path")).to_contain_text([re.compile(r"1\.jpg|one again"), re.compile(r"1\.jpg|one again")])
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    group.get_by_role("button", name="Copy path of the other").click()
    expect(group.get_by_role("button", name="Copied")).to_be_visible()
    paths = group.locator(".path").all_inner_texts()
    assert page.evaluate("navigator.clipboard.readText()") == paths[1]


def test_near_copies_stand_beside_the_best_with_what_differs(page: Page, copies: str) -> None:
    page.goto(f"{copies}?view=duplicates")
    page.get_by_role("link", name=re.compile("^Near copies")).click()
    expect(page).to_have_url(re.compile(r"\?view=duplicates&kind=near$"))
    shown = page.locator(".copies > li")
    expect(shown).to_have_count(4)
    expect(shown.first).to_contain_text("Best")
    expect(shown.first).to_contain_text("two, large.jpg")
    expect(shown.first.locator(".differs")).to_have_count(0)
    expect(shown.nth(1)).to_contain_text("320 × 240")
    expect(shown.nth(1).locator(".differs").first).to_have_text("25 % of the best")
    page.go_back()
    expect(page.locator(".group.exact")).to_have_count(1)


def test_a_copy_opens_and_one_comes_back_to_where_one_was(page: Page, copies: str) -> None:
    page.set_viewport_size({"width": 390, "height": 500})
    page.goto(f"{copies}?view=duplicates&kind=near")
    last = page.locator(".copies .face").last
    last.scroll_into_view_if_needed()
    top = page.evaluate("scrollY")
    assert top > 200
    last.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(page).to_have_url(re.compile(r"\?view=duplicates&kind=near&photo=[0-9a-f]{32}$"))
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(last).to_be_focused()
    assert page.evaluate("scrollY") == top
    page.reload()
    expect(last).to_be_in_viewport()
    last.click()
    page.get_by_role("button", name="More like this").click()
    expect(page).to_have_url(re.compile(r"\?like=[0-9a-f]{32}$"))
    expect(page.locator("#view")).to_be_hidden()


def test_two_copies_are_compared_side_by_side_by_the_keys(page: Page, copies: str) -> None:
    page.goto(f"{copies}?view=duplicates&kind=near")
    opener = page.get_by_role("button", name="Compare")
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Side by side")
    expect(dialog.locator("figure")).to_contain_text(["two, large.jpg", "Copy 1 of 3"])
    first = dialog.locator("figure").last.inner_text()
    page.keyboard.press("ArrowRight")
    expect(dialog.locator("figure").last).to_contain_text("Copy 2 of 3")
    page.keyboard.press("ArrowLeft")
    assert dialog.locator("figure").last.inner_text() == first
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_what_is_said_to_be_no_duplicate_goes_and_comes_back(page: Page, copies: str) -> None:
    page.goto(f"{copies}?view=duplicates&kind=near")
    page.get_by_role("button", name="Not duplicates").click()
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_focused()
    expect(page.locator(".group")).to_contain_text("4 photos: not duplicates of each other")
    near = page.get_by_role("link", name=re.compile("^Near copies"))
    expect(near).to_contain_text("none")
    assert page.request.get(f"{copies}api/duplicates?kind=near").json()["total"] == 0
    undo.click()
    expect(page.get_by_role("button", name="Not duplicates")).to_be_focused()
    expect(near).to_contain_text("1 group")
    assert page.request.get(f"{copies}api/duplicates?kind=near").json()["total"] == 1


def test_where_there_are_none_that_is_said(page: Page, address: str) -> None:
    page.goto(f"{address}?view=duplicates")
    expect(page.locator(".duplicates .last")).to_contain_text("No photo lies in several files")
    page.goto(f"{address}?view=duplicates&kind=near")
    expect(page.locator(".duplicates .last")).to_contain_text("No two photos show the same picture")


def many_groups(route: Route) -> None:
    """As though there were 25 groups."""
    response = route.fetch(url=re.sub(r"offset=\d+", "offset=0", route.request.url))
    answer = response.json()
    offset = int(re.findall(r"offset=(\d+)", route.request.url)[0])
    [group] = answer["groups"]
    made = [{**group, "best": f"{offset + number:032}"} for number in range(min(20, 25 - offset))]
    kinds = {**answer["kinds"], "exact": {"total": 25, "reclaimable": 0}}
    route.fulfill(response=response, json={**answer, "total": 25, "kinds": kinds, "groups": made})


def test_more_groups_come_when_they_are_asked_for(page: Page, copies: str) -> None:
    page.route("**/api/duplicates?*", many_groups)
    page.goto(f"{copies}?view=duplicates&kind=exact")
    expect(page.locator(".group")).to_have_count(20)
    page.get_by_role("button", name="More groups").click()
    expect(page.locator(".group")).to_have_count(25)
    expect(page.locator(".group").nth(20).locator(".face")).to_be_focused()
    expect(page.get_by_role("button", name="More groups")).to_have_count(0)


def test_a_server_that_is_too_busy_can_be_asked_again(refused_page: Page, copies: str) -> None:
    problem = {"title": "Service Unavailable", "status": 503, "detail": "Too much is asked at once."}
    refused_page.route(
        "**/api/duplicates?*",
        lambda route: route.fulfill(status=503, json=problem, content_type="application/problem+json"),
    )
    refused_page.goto(f"{copies}?view=duplicates&kind=exact")
    expect(refused_page.get_by_role("alert")).to_contain_text("Too much is asked at once.")
    expect(refused_page.locator("#state")).to_contain_text("model: starter")
    refused_page.unroute("**/api/duplicates?*")
    refused_page.get_by_role("button", name="Try again").click()
    expect(refused_page.locator(".group")).to_have_count(1)
    expect(refused_page.get_by_role("alert")).to_have_count(0)


def test_a_path_that_is_more_than_one_line_is_left_out_of_a_list(page: Page, copies: str) -> None:
    def hostile(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        photo = answer["groups"][0]["photos"][0]
        photo["paths"] = ["/best.jpg", "/a\n/keep/this.jpg", "/b\u2028/keep/this.jpg", "/c\ufffd.jpg", "/other.jpg"]
        photo["files"] = 5
        route.fulfill(response=response, json=answer)

    page.route("**/api/duplicates?*", hostile)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{copies}?view=duplicates&kind=exact")
    for place in (".about-copies", ".group"):
        page.evaluate("navigator.clipboard.writeText('')")
        page.locator(place).get_by_role("button", name="Copy paths of the others (4)").click()
        said = page.get_by_role("status").filter(has_text="3 paths that no line of text can hold")
        expect(said).to_have_count(1 if place == ".about-copies" else 2)
        assert page.evaluate("navigator.clipboard.readText()") == "/other.jpg"


def test_the_keyboard_stays_on_the_tabs(page: Page, copies: str) -> None:
    page.goto(f"{copies}?view=duplicates&kind=foo")
    tabs = page.get_by_role("navigation", name="Kind of copies").get_by_role("link")
    expect(tabs.first).to_have_attribute("aria-current", "page")
    tabs.last.focus()
    page.route("**/api/duplicates?*", lambda route: None)  # no answer as yet
    page.keyboard.press("Enter")
    expect(tabs.last).to_have_attribute("aria-current", "page")
    expect(tabs.last).to_be_focused()
    page.unroute_all(behavior="ignoreErrors")


def test_back_closes_the_comparison(page: Page, copies: str) -> None:
    page.goto(f"{copies}?view=duplicates")
    page.get_by_role("link", name=re.compile("^Near copies")).click()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("dialog", name="Side by side")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".group.exact")).to_have_count(1)


def test_what_was_said_of_photos_elsewhere_is_seen_here(page: Page, copies: str) -> None:
    page.goto(f"{copies}?view=duplicates&kind=near")
    expect(page.locator(".group")).to_have_count(1)
    page.get_by_role("link", name="Library").click()
    [group] = page.request.get(f"{copies}api/duplicates?kind=near").json()["groups"]
    ids = [photo["id"] for photo in group["photos"]]
    say = "async ([what, ids]) => { await (await import('/static/js/page/api.js'))[what](ids); }"
    page.evaluate(say, ["dismiss", ids])
    try:
        page.go_back()
        expect(page.locator(".duplicates .last")).to_contain_text("No two photos show the same picture")
    finally:
        page.evaluate(say, ["takeBack", ids])


def test_what_could_not_be_done_is_not_promised(refused_page: Page, copies: str) -> None:
    refused_page.route("**/api/duplicates/dismissals", lambda route: route.abort())
    refused_page.goto(f"{copies}?view=duplicates&kind=near")
    refused_page.get_by_role("button", name="Not duplicates").click()
    expect(refused_page.locator(".group").get_by_role("alert")).to_have_text(
        "The server does not answer. Try again when it is back."
    )


def test_on_a_telephone_nothing_is_wider_than_it(browser: Browser, copies: str) -> None:
    small = {"width": 390, "height": 700}
    with watched_page(browser, errors_expected=False, viewport=small, has_touch=True, is_mobile=True) as page:
        page.route("**/api/duplicates?*", many_groups)
        page.goto(f"{copies}?view=duplicates&kind=exact")
        expect(page.locator(".group")).to_have_count(20)
        more = page.get_by_role("button", name="More groups")
        more.scroll_into_view_if_needed()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        more.tap()
        expect(page.locator(".group")).to_have_count(25)
