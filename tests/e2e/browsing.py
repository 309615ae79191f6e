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
    from playwright.sync_api import Browser, BrowserContext, Dialog, Page

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
    """A page in a context of its own, with these options of Playwright's `new_context`; see `watched`."""
    context = browser.new_context(**{"viewport": VIEWPORT, **options})
    try:
        with watched(context.new_page(), errors_expected=errors_expected) as page:
            yield page
    finally:
        context.close()


@contextlib.contextmanager
def page_in_common(context: BrowserContext, *, errors_expected: bool) -> Iterator[Page]:
    """A page in a context that serves many tests, which is little more than half the work of one in its own; see
    `watched`. What a page keeps is cleared behind it. A clock that is set, though, is set for the whole context."""
    cleaner, *_ = context.pages
    page = context.new_page()
    origins: set[str] = set()
    page.on("request", lambda asked: origins.add("{0.scheme}://{0.netloc}".format(urlsplit(asked.url))))
    try:
        with watched(page, errors_expected=errors_expected):
            yield page
    finally:
        for each in context.pages[1:]:
            each.close()
        context.clear_permissions()
        devtools = context.new_cdp_session(cleaner)
        for origin in origins:
            devtools.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        devtools.send("Network.clearBrowserCache")
        devtools.detach()


@contextlib.contextmanager
def watched(page: Page, *, errors_expected: bool) -> Iterator[Page]:
    """The page, which fails its test on any script error, dialog, request to elsewhere or unexpected console
    message; it is closed then."""
    page.set_default_timeout(20_000)
    said: list[str] = []
    trouble: list[str] = []
    hosts: set[str] = set()

    def on_dialog(dialog: Dialog) -> None:
        trouble.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", on_dialog)
    page.on("request", lambda asked: hosts.add(urlsplit(asked.url).hostname or ""))
    yield page
    page.close()
    assert hosts <= {"127.0.0.1", ""}  # blob: and data: have no host
    assert trouble == []
    # Of a refused or failed request the browser itself writes to the console.
    assert [text for text in said if not (errors_expected and text.startswith("Failed to load resource"))] == []


def tiles(page: Page) -> list[str]:
    """The alternative texts of the tiles, in order."""
    return [str(alt) for alt in page.locator(".tile img").evaluate_all("all => all.map(each => each.alt)")]
