"""The real command line, and a real browser that notices whatever goes wrong on a page."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT: Any = {"width": 1280, "height": 800}
HOSTILE_NAME = "<img src=x onerror=alert(1)>.jpg"


def sightline(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(ROOT / "sightline.py"), *map(str, arguments)]


def index(home: Path, photos: Path, captions: str = "off") -> None:
    """In this process, which has loaded what a new one would spend most of its time on."""
    run_index(Home(home), [photos], IndexOptions(model="starter", captions=captions))


@contextlib.contextmanager
def serving(home: Path, port: int = 0, *options: str) -> Iterator[str]:
    """`sightline serve` over `home`, with further `options`; gives its address."""
    command = sightline("serve", "--home", home, "--port", str(port), "--json", *options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        yield str(json.loads(process.stdout.readline())["address"])
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextlib.contextmanager
def watched_page(browser: Browser, *, errors_expected: bool, **options: Any) -> Iterator[Page]:
    """A page that fails its test on any script error, dialog, request to elsewhere or unexpected console message.

    `options` are those of Playwright's `new_context`. Where there are none, one context serves all tests, for a page in
    one of its own takes the browser twice as long; what the page of one test keeps, that of the next does not find.
    """
    said: list[str] = []
    trouble: list[str] = []
    hosts: set[str] = set()

    def on_dialog(dialog: Dialog) -> None:
        trouble.append(dialog.message)
        dialog.dismiss()

    with _page_of_its_own(browser, options) if options else _page_in_common(browser) as page:
        page.set_default_timeout(20_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", on_dialog)
        page.on("request", lambda asked: hosts.add(urlsplit(asked.url).hostname or ""))
        yield page
    assert hosts <= {"127.0.0.1", ""}  # blob: and data: have no host
    assert trouble == []
    # Of a refused or failed request the browser itself writes to the console.
    assert [text for text in said if not (errors_expected and text.startswith("Failed to load resource"))] == []


@contextlib.contextmanager
def _page_of_its_own(browser: Browser, options: dict[str, Any]) -> Iterator[Page]:
    context = browser.new_context(**{"viewport": VIEWPORT, **options})
    try:
        yield context.new_page()
    finally:
        context.close()


@contextlib.contextmanager
def _page_in_common(browser: Browser) -> Iterator[Page]:
    if not browser.contexts:
        browser.new_context(viewport=VIEWPORT).new_page()
    (context,) = browser.contexts
    cleaner, *_ = context.pages
    page = context.new_page()
    origins: set[str] = set()
    page.on("request", lambda asked: origins.add("{0.scheme}://{0.netloc}".format(urlsplit(asked.url))))
    try:
        yield page
    finally:
        for each in context.pages[1:]:
            each.close()
        context.clear_permissions()
        devtools = context.new_cdp_session(cleaner)
        for origin in origins:
            devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        devtools.detach()


def tiles(page: Page) -> list[str]:
    """The alternative texts of the tiles, in order."""
    return [str(alt) for alt in page.locator(".tile img").evaluate_all("all => all.map(each => each.alt)")]
