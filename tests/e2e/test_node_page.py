"""The page of a node, which answers from Milvus and keeps nothing: it offers what there is, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import serving
from milvus_lite_server import MilvusLite

from indexer.report import IndexOptions
from indexer.run import run_index
from search.home import Home

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def node(photos: Path, milvus: MilvusLite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a node over the sample photos."""
    vectors = milvus.vectors()
    home = Home(tmp_path_factory.mktemp("indexed"))
    run_index(home, [photos], IndexOptions(model="starter", captions="off", vectors=vectors))
    with serving(tmp_path_factory.mktemp("node"), 0, "--vectors", vectors) as address:
        yield address


def test_a_node_searches_and_does_not_offer_what_needs_a_home(node: str, page: Page) -> None:
    page.goto(f"{node}?view=library")
    expect(page.locator("html.node")).to_have_count(1)
    expect(page.locator("#library-total")).to_contain_text("11")
    for what in (".card.job", ".card.models", "nav a[href*=duplicates]"):
        expect(page.locator(what)).to_be_hidden()
    page.goto(f"{node}?q=a+cat")
    first = page.locator("#grid img, .grid img, li img").first
    expect(first).to_be_visible()
    expect(page.locator("#save")).to_be_hidden()
    first.click()
    expect(page.locator("#viewer-title")).to_be_visible()
    expect(page.locator(".title .icon.edit")).to_be_hidden()
