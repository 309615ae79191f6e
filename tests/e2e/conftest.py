"""A real index of sample photographs, served, and a browser to look at it.

Needs Chromium (`apt-get install chromium`, or `CHROMIUM=/path/to/it`); without it these tests are skipped.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import ARGUMENTS, CHROMIUM, HOSTILE_NAME, VIEWPORT, index, page_in_common, serving, watched_page

from indexer.demo import gather_samples

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    gather_samples(folder)
    shutil.move(folder / "flower.jpg", folder / HOSTILE_NAME)
    return folder


@pytest.fixture(scope="session")
def address(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("home")
    index(home, photos)
    with serving(home) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    playwright_api = pytest.importorskip("playwright.sync_api")
    # The first search after a start waits for the model to be loaded.
    playwright_api.expect.set_options(timeout=30_000)
    with playwright_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        except playwright_api.Error as error:
            pytest.skip(f"Chromium does not run here: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def context(browser: Browser) -> BrowserContext:
    """The one that tests have in common; its first page stays for what has to be done between them."""
    context = browser.new_context(viewport=VIEWPORT)
    context.new_page()
    return context


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    with page_in_common(context, errors_expected=False) as page:
        yield page


@pytest.fixture
def refused_page(context: BrowserContext) -> Iterator[Page]:
    """A page some of whose requests are to fail."""
    with page_in_common(context, errors_expected=True) as page:
        yield page


@pytest.fixture
def timed_page(browser: Browser) -> Iterator[Page]:
    """A page whose clock may be set, and some of whose requests are to fail."""
    with watched_page(browser, errors_expected=True) as page:
        yield page
