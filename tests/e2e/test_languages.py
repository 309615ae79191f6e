"""The page in the language of the browser: one table of texts for each, all of the same shape."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browsing import ROOT, tiles, watched_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

expect = pytest.importorskip("playwright.sync_api").expect
SCRIPTS = ROOT / "web" / "static" / "js"
TABLES = sorted(path.stem for path in (SCRIPTS / "page" / "languages").glob("*.js"))
# What is written the same in Chinese.
AS_IT_IS = {"api", "apiTitle", "noIndexCommand", "apiPlaces.cookie"}

# Where in a table there is what: a text, a function of so many arguments, a list of so many.
SHAPE = """async (language) => {
  const table = (await import(`/static/js/page/languages/${language}.js`))[language];
  const places = {};
  const walk = (value, place) => {
    if (typeof value === "function") places[place] = `function of ${value.length}`;
    else if (typeof value === "string") places[place] = "text";
    else {
      if (Array.isArray(value)) places[place] = `list of ${value.length}`;
      for (const [key, each] of Object.entries(value)) walk(each, place ? `${place}.${key}` : key);
    }
  };
  walk(table, "");
  return places;
}"""


@pytest.fixture
def chinese_page(browser: Browser) -> Iterator[Page]:
    with watched_page(browser, errors_expected=False, locale="zh-CN") as page:
        yield page


def test_all_tables_have_the_same_texts_and_functions(page: Page, address: str) -> None:
    page.goto(address)
    assert {"en", "zh"} <= set(TABLES)
    english = page.evaluate(SHAPE, "en")
    assert len(english) > 100
    for language in TABLES:
        assert page.evaluate(SHAPE, language) == english, language


def test_each_text_is_used_and_each_used_one_is_there(page: Page, address: str) -> None:
    page.goto(address)
    there = {place.split(".")[0] for place in page.evaluate(SHAPE, "en")}
    sources = "\n".join(
        path.read_text(encoding="utf-8") for path in SCRIPTS.rglob("*.js") if path.parent.name != "languages"
    )
    used = set(re.findall(r"\bS\.(\w+)", sources)) | set(re.findall(r"\{ (\w+)[^}]*\} = S;", sources))
    assert used == there


def test_no_chinese_text_is_left_in_english(page: Page, address: str) -> None:
    page.goto(address)
    texts = page.evaluate(
        """async () => {
          const { zh } = await import("/static/js/page/languages/zh.js");
          const inside = (value, at) => Object.entries(value).flatMap(([key, each]) => walk(each, `${at}.${key}`));
          const walk = (value, at) => typeof value === "string" ? [[at.slice(1), value]]
            : typeof value === "object" ? inside(value, at) : [];
          return walk({ ...zh, ideas: zh.ideas.map(([said]) => said) }, "");
        }"""
    )
    assert [place for place, text in texts if not re.search("[一-鿿]", text) and place not in AS_IT_IS] == []
    # Chinese has marks of its own.
    assert [text for _, text in texts if re.search("[一-鿿] ?[,;:?!(]", text)] == []


@pytest.mark.parametrize(("locale", "language"), [("zh-TW", "zh-CN"), ("fr-FR", "en"), ("en-GB", "en")])
def test_the_browser_chooses_the_language(browser: Browser, address: str, locale: str, language: str) -> None:
    with watched_page(browser, errors_expected=False, locale=locale) as page:
        page.goto(address)
        expect(page.locator("html")).to_have_attribute("lang", language)
        expect(page.locator("#count")).to_contain_text("11 ")


def test_a_search_in_chinese(chinese_page: Page, address: str) -> None:
    page = chinese_page
    page.goto(address)
    expect(page.locator("#count")).to_have_text("11 张照片，最新优先")
    expect(page.locator("#state")).to_contain_text("模型：starter")
    # The built-in model knows English words alone.
    page.get_by_role("link", name="红色的摩托车").click()
    expect(page.locator("#q")).to_have_value("a red motorcycle")
    expect(page.locator(".tile img").first).to_have_attribute("alt", "motorcycle_left.png")
    page.get_by_role("button", name="筛选").click()
    panel = page.get_by_role("complementary", name="筛选")
    expect(panel.get_by_role("heading", name="日期")).to_be_visible()
    page.locator("#q").fill("a red motorcycle orientation:landscape")
    expect(page.locator(".condition")).to_have_text("横向")
    expect(panel.get_by_role("button", name="横向")).to_have_attribute("aria-pressed", "true")
    page.locator(".tile").first.click()
    viewer = page.get_by_role("dialog")
    expect(viewer.get_by_role("heading", name="匹配原因")).to_be_visible()
    expect(viewer.locator(".facts")).to_contain_text("万像素")


def test_the_description_of_the_api_says_which_of_it_is_english(chinese_page: Page, address: str) -> None:
    chinese_page.goto(f"{address}docs")
    section = chinese_page.locator("section").first
    expect(section.get_by_role("columnheader").first).to_have_text("字段")
    expect(section.locator("> p").first).to_have_attribute("lang", "en")
    assert chinese_page.title() == "HTTP API – Sightline"


def test_what_is_still_composed_is_not_searched(chinese_page: Page, address: str) -> None:
    page = chinese_page
    page.goto(address)
    expect(page.locator(".tile")).to_have_count(11)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#q").focus()
    keyboard = page.context.new_cdp_session(page)
    for typed in ("m", "ma", "mao"):
        keyboard.send(
            "Input.imeSetComposition", {"text": typed, "selectionStart": len(typed), "selectionEnd": len(typed)}
        )
        page.wait_for_timeout(100)
    page.wait_for_timeout(300)
    assert [url for url in asked if "q=" in url] == []
    keyboard.send("Input.insertText", {"text": "猫"})
    expect(page).to_have_url(re.compile(r"\?q=%E7%8C%AB$"))
    expect(page.locator("#count strong")).to_have_text("0 张照片")
    assert tiles(page) == []


def test_early_and_late_years_are_shown_as_they_are(page: Page, address: str) -> None:
    page.goto(address)
    shown = page.evaluate(
        """async (days) => {
          const { formatDate, formatPeriod } = await import("/static/js/page/formats.js");
          return days.map((day) => [formatDate(day), formatPeriod(day.slice(0, 10))]);
        }""",
        ["0001-05-02", "0021-02-28", "2000-02-29T23:59:00", "9999-12-31"],
    )
    years = [[re.findall(r", (\d+)", text)[0] for text in each] for each in shown]
    assert years == [["1", "1"], ["21", "21"], ["2000", "2000"], ["9999", "9999"]]
    assert shown[2][0].startswith("February 29, 2000")
